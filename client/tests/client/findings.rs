//! All findings of an image, page after page.

use scangate_client::{Error, v1::*};
use tonic::{Code, Status};

use crate::{answers::refused, fake_gate};

fn page(findings: usize, next: &str) -> GetFindingsResponse {
    GetFindingsResponse {
        findings: vec![Finding::default(); findings],
        total_size: 3,
        next_page_token: next.into(),
        ..Default::default()
    }
}

fn changed() -> Status {
    refused(Code::Aborted, "FINDINGS_CHANGED")
}

#[tokio::test]
async fn all_pages_become_one_answer() {
    let fake = fake_gate::start().await;
    fake.gate.findings.will([Ok(page(2, "2")), Ok(page(1, ""))]);

    let all = fake.client().await.all_findings(GetFindingsRequest::default()).await.unwrap();

    assert_eq!((all.findings.len(), all.next_page_token.as_str()), (3, ""));
    assert_eq!(fake.gate.findings.requests()[1].page_token, "2");
}

#[tokio::test]
async fn a_scan_that_changes_between_pages_is_read_again_from_the_first() {
    let fake = fake_gate::start().await;
    fake.gate.findings.will([Ok(page(2, "2")), Err(changed()), Ok(page(2, "2")), Ok(page(1, ""))]);

    let all = fake.client().await.all_findings(GetFindingsRequest::default()).await.unwrap();

    assert_eq!(all.findings.len(), 3);
    assert_eq!(fake.gate.findings.requests()[2].page_token, "");
}

#[tokio::test]
async fn a_scan_that_keeps_changing_is_an_error() {
    let fake = fake_gate::start().await;
    fake.gate.findings.will([Ok(page(2, "2")), Err(changed()), Ok(page(2, "2")), Err(changed())]);

    let error = fake.client().await.all_findings(GetFindingsRequest::default()).await.unwrap_err();

    assert_eq!(error.rejection().unwrap().error_reason(), ErrorReason::FindingsChanged);
    assert_eq!(fake.gate.findings.requests().len(), 4);
}

#[tokio::test]
async fn pages_that_do_not_add_up_are_an_error() {
    let scripts = [
        vec![Ok(page(2, "2")), Ok(page(0, ""))],
        vec![Ok(page(2, "2")), Ok(page(0, "3"))],
        vec![Ok(page(2, "2"))],
        vec![Ok(page(2, ""))],
    ];
    for script in scripts {
        let fake = fake_gate::start().await;
        fake.gate.findings.will(script);

        let error = fake.client().await.all_findings(GetFindingsRequest::default()).await.unwrap_err();

        assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
    }
}
