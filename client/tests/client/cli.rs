//! `scangate` as pipelines use it: exit status, what is printed where, and what never reaches a terminal.

use std::process::{Output, Stdio};

use scangate_client::v1::*;
use tokio::process::Command;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    answers::{DEPLOY, DIGEST, IMAGE, decision, denied, evaluated, failed_item, item, malformed, refused},
    fake_gate::{self, Running},
};

pub fn scangate(fake: &Running) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scangate"));
    command.env_remove("SCANGATE_TOKEN").env("SCANGATE_SERVER", fake.url()).stdin(Stdio::null());
    command
}

pub async fn run(fake: &Running, arguments: &[&str]) -> Output {
    scangate(fake).args(arguments).output().await.unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

async fn check(answer: Decision, arguments: &[&str]) -> Output {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(answer))]);
    run(&fake, &[&["check", IMAGE], arguments].concat()).await
}

async fn check_batch(items: Vec<BatchEvaluateGateItem>, arguments: &[&str]) -> Output {
    let fake = fake_gate::start().await;
    fake.gate.batch.will([Ok(BatchEvaluateGateResponse { items, ..Default::default() })]);
    run(&fake, &[&["check", "team/a:1", "team/b:1"], arguments].concat()).await
}

#[tokio::test]
async fn an_allowed_image_exits_0_and_prints_what_to_deploy() {
    let output = check(decision(Verdict::Allow), &[]).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains(&format!("deploy  {DEPLOY}\n")), "{}", stdout(&output));
}

#[tokio::test]
async fn a_denied_image_exits_1_and_says_what_to_do() {
    let output = check(denied(), &[]).await;

    assert_eq!(status(&output), 1);
    let text = stdout(&output);
    assert!(text.contains("policies/default/no-critical: 12 findings, 0 allowed: upgrade them\n"), "{text}");
    assert!(text.contains("CRITICAL  CVE-2024-0001  openssl 3.0.1  fixed in 3.0.7\n"), "{text}");
    assert!(text.contains("and 11 more"), "{text}");
    assert!(text.contains("upgrade openssl 3.0.1 to 3.0.7\n"), "{text}");
    assert!(!text.contains("deploy"), "{text}");
}

#[tokio::test]
async fn an_indeterminate_image_exits_2_and_says_when_to_ask_again() {
    let retry_after = Some(scangate_client::prost_types::Duration { seconds: 90, nanos: 0 });

    let output = check(Decision { retry_after, ..decision(Verdict::Indeterminate) }, &[]).await;

    assert_eq!(status(&output), 2);
    assert!(stdout(&output).contains("ask again in 1m 30s"), "{}", stdout(&output));
}

#[tokio::test]
async fn a_verdict_that_nobody_knows_exits_2_and_names_nothing_to_deploy() {
    let output = check(Decision { verdict: 4, ..decision(Verdict::Allow) }, &[]).await;

    assert_eq!(status(&output), 2);
    assert!(stdout(&output).starts_with("NOT ALLOWED"), "{}", stdout(&output));
    assert!(!stdout(&output).contains(DEPLOY));
}

#[tokio::test]
async fn an_allow_that_cannot_be_trusted_exits_3() {
    let broken = [
        Decision { deploy_image: String::new(), ..decision(Verdict::Allow) },
        Decision { deploy_image: IMAGE.into(), ..decision(Verdict::Allow) },
        Decision { authoritative: false, ..decision(Verdict::Allow) },
        Decision { manifests: Vec::new(), ..decision(Verdict::Allow) },
    ];
    for decision in broken {
        let output = check(decision, &[]).await;

        assert_eq!(status(&output), 3, "{}", stdout(&output));
        assert!(stdout(&output).starts_with("NOT ALLOWED"), "{}", stdout(&output));
    }
}

#[tokio::test]
async fn the_same_verdict_exits_the_same_as_json() {
    for (verdict, expected) in [(Verdict::Allow, 0), (Verdict::Deny, 1), (Verdict::Indeterminate, 2)] {
        let output = check(decision(verdict), &["--output", "json"]).await;

        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["verdict"], verdict.as_str_name());
        assert_eq!(json["image"]["digest"], DIGEST);
        assert_eq!(status(&output), expected);
    }
}

#[tokio::test]
async fn json_that_says_allow_and_is_not_to_be_trusted_comes_with_a_warning() {
    let broken = Decision { deploy_image: IMAGE.into(), ..decision(Verdict::Allow) };

    let output = check(broken, &["--output", "json"]).await;

    assert_eq!(status(&output), 3);
    assert!(
        stderr(&output).starts_with("error: team/app:2.3.0: \"team/app:2.3.0\" is not pinned"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_gate_that_is_not_there_exits_3() {
    let fake = fake_gate::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let output = run(&fake, &["check", IMAGE, "--server", &format!("http://{nobody}")]).await;

    assert_eq!(status(&output), 3);
    assert!(stderr(&output).starts_with(&format!("error: cannot reach the gate at http://{nobody}")));
    assert_eq!(stdout(&output), "");
}

#[tokio::test]
async fn a_gate_that_takes_too_long_exits_3() {
    let fake = fake_gate::start().await;

    let output = run(&fake, &["check", IMAGE, "--timeout", "80ms"]).await;

    assert_eq!(status(&output), 3);
    assert_eq!(stderr(&output), "error: the gate did not answer within 80 ms\n");
}

#[tokio::test]
async fn a_refusal_of_the_gate_exits_3_and_says_why() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Err(refused(Code::NotFound, "IMAGE_NOT_FOUND"))]);

    let output = run(&fake, &["check", IMAGE]).await;

    assert_eq!(status(&output), 3);
    assert_eq!(stderr(&output), "error: IMAGE_NOT_FOUND happened (IMAGE_NOT_FOUND)\n");
}

#[tokio::test]
async fn what_the_gate_calls_malformed_exits_64_field_by_field() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Err(malformed("image", "has no tag"))]);

    let output = run(&fake, &["check", "???"]).await;

    assert_eq!(status(&output), 64);
    assert_eq!(stderr(&output), "error: mend the fields (INVALID_FIELDS)\n  image: has no tag\n");
}

#[tokio::test]
async fn fields_that_the_message_names_already_are_told_once() {
    let fake = fake_gate::start().await;
    let mut details = tonic_types::ErrorDetails::with_bad_request_violation("image", "has no tag");
    details.set_error_info("INVALID_FIELDS", "scangate", std::collections::HashMap::new());
    let message = "image has no tag";
    fake.gate.evaluate.will([Err(Status::with_error_details(Code::InvalidArgument, message, details))]);

    let output = run(&fake, &["check", "???"]).await;

    assert_eq!(stderr(&output), "error: the gate refuses these values (INVALID_FIELDS)\n  image: has no tag\n");
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_exits_64() {
    let fake = fake_gate::start().await;
    let lines: [&[&str]; 9] = [
        &[],
        &["check"],
        &["deploy", IMAGE],
        &["check", IMAGE, "--wait", "soon"],
        &["check", IMAGE, "--platform", "linux"],
        &["check", IMAGE, "--label", "nothing"],
        &["check", IMAGE, "--output", "yaml"],
        &["check", IMAGE, "--server", "gate:50051"],
        &["scanning", "configure", "registry", "--type", "basic", "--rule", "daily=a"],
    ];
    for line in lines {
        assert_eq!(status(&run(&fake, line).await), 64, "{line:?}");
    }
}

#[tokio::test]
async fn help_exits_0_and_tells_the_exit_status() {
    let fake = fake_gate::start().await;

    let output = run(&fake, &["--help"]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains("Exit status:"));
}

#[tokio::test]
async fn of_several_images_the_worst_counts() {
    let item_of = |verdict| item(decision(verdict));
    let not_found = || failed_item(&refused(Code::NotFound, "IMAGE_NOT_FOUND"));
    let cases = [
        (vec![item_of(Verdict::Allow), item_of(Verdict::Allow)], 0),
        (vec![item_of(Verdict::Allow), item_of(Verdict::Indeterminate)], 2),
        (vec![item_of(Verdict::Indeterminate), not_found()], 3),
        (vec![not_found(), item_of(Verdict::Deny)], 1),
        (vec![item_of(Verdict::Deny), item_of(Verdict::Allow)], 1),
    ];
    for (items, expected) in cases {
        let output = check_batch(items, &[]).await;

        assert_eq!(status(&output), expected, "{}", stdout(&output));
    }
}

#[tokio::test]
async fn a_release_as_json_has_the_details_of_its_errors() {
    let failed = failed_item(&refused(Code::NotFound, "IMAGE_NOT_FOUND"));

    let output = check_batch(vec![item(decision(Verdict::Allow)), failed], &["--output", "json"]).await;

    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["items"][0]["decision"]["verdict"], "VERDICT_ALLOW");
    assert_eq!(json["items"][1]["error"]["details"][0]["reason"], "IMAGE_NOT_FOUND");
}

#[tokio::test]
async fn an_error_detail_that_nobody_knows_does_not_hide_the_answer() {
    let Some(batch_evaluate_gate_item::Result::Error(mut error)) =
        failed_item(&refused(Code::NotFound, "IMAGE_NOT_FOUND")).result
    else {
        panic!("no error");
    };
    error.details[0].type_url = "type.example/of.the.Future".into();
    let failed = BatchEvaluateGateItem { result: Some(batch_evaluate_gate_item::Result::Error(error)) };

    let output = check_batch(vec![item(denied()), failed], &["--output", "json"]).await;

    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["items"][1]["error"]["message"], "IMAGE_NOT_FOUND happened");
    assert_eq!(status(&output), 1);
}

#[tokio::test]
async fn what_was_typed_is_what_is_asked() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);
    let line = "check team/app:2 --env prod --platform linux/arm64/v8 --wait 5m --max-findings-age 0s \
        --label a=b=c --at-least-as-fresh token";

    let output = run(&fake, &line.split_whitespace().collect::<Vec<_>>()).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let seconds = |seconds| Some(scangate_client::prost_types::Duration { seconds, nanos: 0 });
    let expected = EvaluateGateRequest {
        image: "team/app:2".into(),
        environment: "prod".into(),
        platforms: vec![Platform { os: "linux".into(), architecture: "arm64".into(), variant: "v8".into() }],
        wait: seconds(300),
        max_findings_age: seconds(0),
        at_least_as_fresh: "token".into(),
        labels: [("a".to_owned(), "b=c".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(fake.gate.evaluate.requests(), [expected]);
}

#[tokio::test]
async fn advice_is_called_advice_and_names_nothing_to_deploy() {
    let advice = Decision { authoritative: false, ..decision(Verdict::Allow) };

    let output = check(advice, &["--policy", "strict"]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).starts_with("ALLOW (advice only)"), "{}", stdout(&output));
    assert!(!stdout(&output).contains("deploy"), "{}", stdout(&output));
}

#[tokio::test]
async fn some_platforms_are_deployed_by_their_own_references() {
    let part = Decision { deploy_image: String::new(), ..decision(Verdict::Allow) };

    let output = check(part, &["--platform", "linux/amd64"]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains(&format!("deploy on linux/amd64  {DEPLOY}\n")), "{}", stdout(&output));
}

#[tokio::test]
async fn nothing_that_steers_a_terminal_is_printed() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1A\rALLOW\u{202e}";
    let fake = fake_gate::start().await;
    fake.gate.findings.will([Ok(GetFindingsResponse {
        findings: vec![Finding { title: evil.into(), vulnerability_id: evil.into(), ..Default::default() }],
        total_size: 1,
        ..Default::default()
    })]);
    fake.gate.evaluate.will([Err(Status::internal(evil))]);
    let denied = Decision { reasons: vec![evil.into()], environment: evil.into(), ..denied() };

    let outputs = [
        check(denied.clone(), &[]).await,
        check(denied, &["--output", "json"]).await,
        run(&fake, &["findings", IMAGE]).await,
        run(&fake, &["findings", IMAGE, "--output", "json"]).await,
        run(&fake, &["check", IMAGE]).await,
    ];

    for output in outputs {
        let printed = stdout(&output) + &stderr(&output);
        let steers = |char: &char| (char.is_control() && *char != '\n') || *char == '\u{202e}';
        assert!(printed.contains("owned") && !printed.chars().any(|char| steers(&char)), "{printed:?}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_change_a_verdict() {
    for (verdict, expected) in [(Verdict::Allow, 0), (Verdict::Deny, 1)] {
        let fake = fake_gate::start().await;
        fake.gate.evaluate.will([Ok(evaluated(decision(verdict)))]);
        let mut child =
            scangate(&fake).args(["check", IMAGE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());

        let output = child.wait_with_output().await.unwrap();

        assert_eq!((status(&output), stderr(&output).as_str()), (expected, ""));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn output_that_is_lost_fails_unless_the_image_is_denied() {
    for (verdict, expected) in [(Verdict::Allow, 3), (Verdict::Deny, 1)] {
        let fake = fake_gate::start().await;
        fake.gate.evaluate.will([Ok(evaluated(decision(verdict)))]);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();

        let status = scangate(&fake).args(["check", IMAGE]).stdout(full).stderr(Stdio::null()).status().await.unwrap();

        assert_eq!(status.code(), Some(expected));
    }
}

#[tokio::test]
async fn the_token_comes_from_the_environment_and_is_never_shown() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);

    scangate(&fake).env("SCANGATE_TOKEN", "tok-123\n").args(["check", IMAGE]).output().await.unwrap();
    let help = scangate(&fake).env("SCANGATE_TOKEN", "tok-123").arg("--help").output().await.unwrap();

    assert_eq!(fake.gate.evaluate.header("authorization").as_deref(), Some("Bearer tok-123"));
    assert!(!stdout(&help).contains("tok-123"));
}

#[tokio::test]
async fn findings_are_shown_worst_first_with_their_number() {
    let fake = fake_gate::start().await;
    fake.gate.findings.will([Ok(GetFindingsResponse {
        findings: denied().violations[0].findings.clone(),
        total_size: 9,
        ..Default::default()
    })]);
    let line = "findings team/app:2 --min-severity high --package openssl --fix available --limit 1";

    let output = run(&fake, &line.split_whitespace().collect::<Vec<_>>()).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).ends_with("CRITICAL  CVE-2024-0001  openssl 3.0.1  3.0.7\n1 of 9 findings\n"));
    let request = &fake.gate.findings.requests()[0];
    let filter = request.filter.as_ref().unwrap();
    assert_eq!((filter.min_severity(), filter.fix()), (Severity::High, FixAvailability::Available));
    assert_eq!((filter.package.as_str(), request.page_size), ("openssl", 1));
}

#[tokio::test]
async fn a_scan_is_started() {
    let fake = fake_gate::start().await;
    let scan = StartedScan {
        digest: DIGEST.into(),
        outcome: StartScanOutcome::AlreadyInProgress.into(),
        ..Default::default()
    };
    fake.gate.start.will([Ok(StartScanResponse { scans: vec![scan], ..Default::default() })]);

    let output = run(&fake, &["scan", "start", IMAGE]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains("ALREADY_IN_PROGRESS"), "{}", stdout(&output));
}

#[tokio::test]
async fn a_watched_scan_prints_a_line_for_each_message() {
    let fake = fake_gate::start().await;
    let message = |ended, status: ScanStatus| {
        let scan = Some(ScanState { status: status.into(), ..Default::default() });
        let manifest = Some(ManifestScan { digest: DIGEST.into(), scan, ..Default::default() });
        let progress = Some(ScanProgress { manifest, ..Default::default() });
        WatchScanResponse { progress, ended, total: 1, ..Default::default() }
    };
    fake.gate.watch.will([Ok(vec![message(0, ScanStatus::InProgress), message(1, ScanStatus::Complete)])]);

    let lines = run(&fake, &["scan", "watch", IMAGE]).await;
    let json = run(&fake, &["scan", "watch", IMAGE, "-o", "json"]).await;

    assert_eq!(
        stdout(&lines).lines().map(|line| line.contains("COMPLETE")).collect::<Vec<_>>(),
        [false, true],
        "{}",
        stdout(&lines)
    );
    let parsed: Vec<serde_json::Value> =
        stdout(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed[1]["ended"], 1);
    assert_eq!((status(&lines), status(&json)), (0, 0));
}

#[tokio::test]
async fn scanning_is_configured_as_typed() {
    let fake = fake_gate::start().await;
    let after = ScanningConfiguration {
        registry: Some(RegistryScanning { scan_type: ScanType::Enhanced.into(), rules: Vec::new() }),
        ..Default::default()
    };
    fake.gate.configure.will([Ok(ConfigureScanningResponse {
        after: Some(after),
        changed: true,
        notes: vec!["team/b drops out".into()],
        ..Default::default()
    })]);
    let line = "scanning configure registry --type enhanced --rule on-push=team/*,base --rule continuous=prod/* \
        --mode replace --report team/b --validate-only";

    let output = run(&fake, &line.split_whitespace().collect::<Vec<_>>()).await;
    run(&fake, &["scanning", "configure", "repository", "team/a", "--scan-on-push", "true"]).await;

    assert_eq!(stdout(&output), "would change\n\nregistry after\n  ENHANCED\n\nnotes\n  team/b drops out\n");
    let [registry, repository] = &fake.gate.configure.requests()[..] else { panic!("two requests") };
    let Some(configure_scanning_request::Target::Registry(target)) = &registry.target else { panic!("a registry") };
    assert!(registry.validate_only);
    assert_eq!((target.mode(), target.scanning.as_ref().unwrap().rules.len()), (ConfigureMode::Replace, 2));
    let target = RepositoryTarget { repository: "team/a".into(), scan_on_push: true };
    assert_eq!(repository.target, Some(configure_scanning_request::Target::Repository(target)));
}
