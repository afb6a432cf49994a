//! Collecting the findings of an image over several pages.

use scangate_client::{Error, v1::*};
use tonic::{Code, Status};

use crate::{fake_server, fixtures::error_status};

fn page(findings: usize, next: &str) -> GetFindingsResponse {
    GetFindingsResponse {
        findings: vec![Finding::default(); findings],
        total_size: 3,
        next_page_token: next.into(),
        ..Default::default()
    }
}

fn findings_changed() -> Status {
    error_status(Code::Aborted, "FINDINGS_CHANGED")
}

#[tokio::test]
async fn pages_are_collected_into_one_response() {
    let server = fake_server::start().await;
    server.service.findings.respond_with([Ok(page(2, "2")), Ok(page(1, ""))]);

    let all = server.client().await.all_findings(GetFindingsRequest::default()).await.unwrap();

    assert_eq!((all.findings.len(), all.next_page_token.as_str()), (3, ""));
    assert_eq!(server.service.findings.requests()[1].page_token, "2");
}

#[tokio::test]
async fn changed_scan_restarts_from_the_first_page() {
    let server = fake_server::start().await;
    server.service.findings.respond_with([
        Ok(page(2, "2")),
        Err(findings_changed()),
        Ok(page(2, "2")),
        Ok(page(1, "")),
    ]);

    let all = server.client().await.all_findings(GetFindingsRequest::default()).await.unwrap();

    assert_eq!(all.findings.len(), 3);
    assert_eq!(server.service.findings.requests()[2].page_token, "");
}

#[tokio::test]
async fn repeatedly_changed_scan_is_an_error() {
    let server = fake_server::start().await;
    server.service.findings.respond_with([
        Ok(page(2, "2")),
        Err(findings_changed()),
        Ok(page(2, "2")),
        Err(findings_changed()),
    ]);

    let error = server.client().await.all_findings(GetFindingsRequest::default()).await.unwrap_err();

    assert_eq!(error.rejection().unwrap().error_reason(), ErrorReason::FindingsChanged);
    assert_eq!(server.service.findings.requests().len(), 4);
}

#[tokio::test]
async fn inconsistent_pages_are_an_error() {
    let scripts = [
        vec![Ok(page(2, "2")), Ok(page(0, ""))],
        vec![Ok(page(2, "2")), Ok(page(0, "3"))],
        vec![Ok(page(2, "2"))],
        vec![Ok(page(2, ""))],
    ];
    for script in scripts {
        let server = fake_server::start().await;
        server.service.findings.respond_with(script);

        let error = server.client().await.all_findings(GetFindingsRequest::default()).await.unwrap_err();

        assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
    }
}
