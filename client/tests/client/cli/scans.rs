//! `scangate findings`, `scangate scan` and `scangate scanning`.

use scangate_client::v1::{watch_scan_response::Event, *};
use serde_json::json;

use super::{run, status, stderr, stdout};
use crate::{
    fake_server,
    fixtures::{DIGEST, IMAGE, denied},
};

#[tokio::test]
async fn findings_are_listed_with_their_total() {
    let server = fake_server::start().await;
    server.service.findings.respond_with([Ok(GetFindingsResponse {
        findings: denied().violations[0].findings.clone(),
        total_size: 9,
        ..Default::default()
    })]);
    let command = "findings team/app:2 --min-severity high --package openssl --fix available --limit 1";

    let output = run(&server, &command.split_whitespace().collect::<Vec<_>>()).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).ends_with("CRITICAL  CVE-2024-0001  openssl 3.0.1  3.0.7\n1 of 9 findings\n"));
    let request = &server.service.findings.requests()[0];
    let filter = request.filter.as_ref().unwrap();
    assert_eq!((filter.min_severity(), filter.fix()), (Severity::High, FixFilter::Available));
    assert_eq!((filter.packages.as_slice(), request.page_size), (["openssl".to_owned()].as_slice(), 1));
}

#[tokio::test]
async fn limit_spans_pages_that_end_early() {
    let server = fake_server::start().await;
    let page = |findings: usize, next: &str| GetFindingsResponse {
        findings: vec![Finding::default(); findings],
        total_size: 5,
        next_page_token: next.into(),
        ..Default::default()
    };
    server.service.findings.respond_with([Ok(page(2, "2")), Ok(page(2, "2")), Ok(page(3, ""))]);

    let output = run(&server, &["findings", IMAGE, "--limit", "4"]).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).ends_with("4 of 5 findings\n"), "{}", stdout(&output));
}

#[tokio::test]
async fn scan_start_prints_outcome() {
    let server = fake_server::start().await;
    let scan = StartedScan {
        digest: DIGEST.into(),
        outcome: StartScanOutcome::AlreadyInProgress.into(),
        ..Default::default()
    };
    server.service.start.respond_with([Ok(StartScanResponse { scans: vec![scan], ..Default::default() })]);

    let output = run(&server, &["scan", "start", IMAGE]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains("ALREADY_IN_PROGRESS"), "{}", stdout(&output));
}

#[tokio::test]
async fn scan_watch_prints_a_line_per_message() {
    let server = fake_server::start().await;
    let message = |ended_count, status: ScanStatus| {
        let scan = Some(ScanState { status: status.into(), ..Default::default() });
        let manifest = Some(ManifestScan { digest: DIGEST.into(), scan, ..Default::default() });
        let event = Some(Event::Progress(ScanProgress { manifest, ..Default::default() }));
        Ok(WatchScanResponse { event, ended_count, total_count: 1, ..Default::default() })
    };
    let heartbeat = Ok(WatchScanResponse { event: Some(Event::Heartbeat(Heartbeat {})), ..Default::default() });
    let messages = vec![message(0, ScanStatus::InProgress), heartbeat, message(1, ScanStatus::Complete)];
    server.service.watch.respond_with([Ok(messages)]);

    let lines = run(&server, &["scan", "watch", IMAGE]).await;
    let json = run(&server, &["scan", "watch", IMAGE, "-o", "json"]).await;

    assert_eq!(
        stdout(&lines).lines().map(|line| line.contains("COMPLETE")).collect::<Vec<_>>(),
        [false, true],
        "{}",
        stdout(&lines)
    );
    let parsed: Vec<serde_json::Value> =
        stdout(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&parsed[1]["heartbeat"], &parsed[2]["endedCount"]), (&json!({}), &json!(1)));
    assert_eq!((status(&lines), status(&json)), (0, 0));
}

#[tokio::test]
async fn scanning_options_reach_the_request() {
    let server = fake_server::start().await;
    let after = ScanningConfiguration {
        registry: Some(RegistryScanning { scan_type: ScanType::Enhanced.into(), rules: Vec::new() }),
        ..Default::default()
    };
    server.service.configure.respond_with([Ok(ConfigureScanningResponse {
        after: Some(after),
        changed: true,
        notes: vec!["team/b drops out".into()],
        ..Default::default()
    })]);
    let command = "scanning configure registry --type enhanced --rule on-push=team/*,base --rule continuous=prod/* \
        --mode replace --report team/b --validate-only";

    let output = run(&server, &command.split_whitespace().collect::<Vec<_>>()).await;
    run(&server, &["scanning", "configure", "repository", "team/a", "--scan-on-push", "true"]).await;

    assert_eq!(stdout(&output), "would change\n\nregistry after\n  ENHANCED\n\nnotes\n  team/b drops out\n");
    let [registry, repository] = &server.service.configure.requests()[..] else { panic!("two requests") };
    let Some(configure_scanning_request::Target::Registry(target)) = &registry.target else { panic!("a registry") };
    assert!(registry.validate_only);
    assert_eq!((target.mode(), target.scanning.as_ref().unwrap().rules.len()), (ConfigureMode::Replace, 2));
    let target = RepositoryTarget { repository: "team/a".into(), scan_on_push: Some(true) };
    assert_eq!(repository.target, Some(configure_scanning_request::Target::Repository(target)));
}
