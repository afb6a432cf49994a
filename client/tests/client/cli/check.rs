//! `scangate check` with one image: exit status and output for each kind of decision.

use scangate_client::v1::*;

use super::{check, run, status, stderr, stdout};
use crate::{
    fake_server,
    fixtures::{DEPLOY, DIGEST, IMAGE, decision, denied, evaluate_response},
};

#[tokio::test]
async fn allowed_image_exits_0_with_reference() {
    let output = check(decision(Verdict::Allow), &[]).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains(&format!("deploy  {DEPLOY}\n")), "{}", stdout(&output));
}

#[tokio::test]
async fn denied_image_exits_1_with_next_steps() {
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
async fn omitted_details_are_counted() {
    let next_step = "use GetFindings".to_owned();
    let omitted = Omitted { finding_count: 1400, waived_finding_count: 7, next_step, ..Default::default() };

    let output = check(Decision { omitted: Some(omitted), ..denied() }, &[]).await;

    let text = stdout(&output);
    assert!(text.contains("omitted\n  1400 more findings omitted\n  7 more waived findings omitted\n"), "{text}");
    assert!(text.contains("  use GetFindings\n"), "{text}");
}

#[tokio::test]
async fn indeterminate_image_exits_2_with_retry_delay() {
    let retry_after = Some(scangate_client::prost_types::Duration { seconds: 90, nanos: 0 });

    let output = check(Decision { retry_after, ..decision(Verdict::Indeterminate) }, &[]).await;

    assert_eq!(status(&output), 2);
    assert!(stdout(&output).contains("retry in 1m 30s"), "{}", stdout(&output));
}

#[tokio::test]
async fn unknown_verdict_exits_2_without_reference() {
    let output = check(Decision { verdict: 4, ..decision(Verdict::Allow) }, &[]).await;

    assert_eq!(status(&output), 2);
    assert!(stdout(&output).starts_with("NOT ALLOWED"), "{}", stdout(&output));
    assert!(!stdout(&output).contains(DEPLOY));
}

#[tokio::test]
async fn inconsistent_allow_exits_3() {
    let inconsistent = [
        Decision { deploy_image: String::new(), ..decision(Verdict::Allow) },
        Decision { deploy_image: IMAGE.into(), ..decision(Verdict::Allow) },
        Decision { manifests: Vec::new(), ..decision(Verdict::Allow) },
    ];
    for decision in inconsistent {
        let output = check(decision, &[]).await;

        assert_eq!(status(&output), 3, "{}", stdout(&output));
        assert!(stdout(&output).starts_with("NOT ALLOWED"), "{}", stdout(&output));
    }
}

#[tokio::test]
async fn json_output_has_the_same_exit_status() {
    for (verdict, expected) in [(Verdict::Allow, 0), (Verdict::Deny, 1), (Verdict::Indeterminate, 2)] {
        let output = check(decision(verdict), &["--output", "json"]).await;

        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["verdict"], verdict.as_str_name());
        assert_eq!(json["image"]["digest"], DIGEST);
        assert_eq!(status(&output), expected);
    }
}

#[tokio::test]
async fn json_of_inconsistent_allow_has_a_warning() {
    let inconsistent = Decision { deploy_image: IMAGE.into(), ..decision(Verdict::Allow) };

    let output = check(inconsistent, &["--output", "json"]).await;

    assert_eq!(status(&output), 3);
    assert!(
        stderr(&output).starts_with("error: team/app:2.3.0: \"team/app:2.3.0\" is not pinned"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn check_options_reach_the_request() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let command = "check team/app:2 --env prod --platform linux/arm64/v8 --wait 5m --max-findings-age 0s \
        --label a=b=c --at-least-as-fresh token";

    let output = run(&server, &command.split_whitespace().collect::<Vec<_>>()).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let seconds = |seconds| Some(scangate_client::prost_types::Duration { seconds, nanos: 0 });
    let expected = EvaluateGateRequest {
        image: "team/app:2".into(),
        environment: "prod".into(),
        platforms: vec![Platform {
            os: "linux".into(),
            architecture: "arm64".into(),
            variant: "v8".into(),
            ..Default::default()
        }],
        wait: seconds(300),
        max_findings_age: seconds(0),
        at_least_as_fresh: "token".into(),
        labels: [("a".to_owned(), "b=c".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(server.service.evaluate.requests(), [expected]);
}

#[tokio::test]
async fn selected_platforms_print_their_references() {
    let partial = Decision { deploy_image: String::new(), ..decision(Verdict::Allow) };

    let output = check(partial, &["--platform", "linux/amd64"]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains(&format!("deploy on linux/amd64  {DEPLOY}\n")), "{}", stdout(&output));
}
