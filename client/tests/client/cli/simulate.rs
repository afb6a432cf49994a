//! `scangate simulate`: exit statuses that no pipeline mistakes for a permission.

use scangate_client::v1::{simulate_gate_request::SimulatedPolicy, *};

use super::{run, status, stderr, stdout};
use crate::{
    fake_server,
    fixtures::{DIGEST, IMAGE},
};

fn simulation(verdict: Verdict) -> Simulation {
    let platform = Some(Platform { os: "linux".into(), architecture: "amd64".into(), ..Default::default() });
    let digest = DIGEST.into();
    let manifest = ManifestSimulation { digest, platform, verdict: verdict.into(), ..Default::default() };
    Simulation {
        verdict: verdict.into(),
        reasons: vec![format!("because {verdict:?}")],
        environment: "prod".into(),
        manifests: vec![manifest],
        policies: vec![PolicyReference { policy: "policies/strict".into(), ..Default::default() }],
        ..Default::default()
    }
}

/// Runs `scangate simulate` against a server that responds with the simulation.
async fn simulate(simulation: Simulation, arguments: &[&str]) -> std::process::Output {
    let server = fake_server::start().await;
    server.service.simulate.respond_with([Ok(SimulateGateResponse { simulation: Some(simulation) })]);
    run(&server, &[&["simulate", IMAGE, "--policy", "strict"], arguments].concat()).await
}

#[tokio::test]
async fn no_simulated_verdict_exits_0() {
    let unproven = Simulation { manifests: Vec::new(), ..simulation(Verdict::Allow) };
    let cases = [
        (simulation(Verdict::Allow), 10),
        (simulation(Verdict::Deny), 1),
        (simulation(Verdict::Indeterminate), 2),
        (Simulation { verdict: 99, ..simulation(Verdict::Allow) }, 2),
        (unproven, 3),
    ];
    for (simulation, expected) in cases {
        for arguments in [&[][..], &["--output", "json"]] {
            let output = simulate(simulation.clone(), arguments).await;

            assert_eq!(status(&output), expected, "{}{}", stdout(&output), stderr(&output));
        }
    }
}

#[tokio::test]
async fn simulation_is_labelled_and_has_no_reference() {
    let text = stdout(&simulate(simulation(Verdict::Allow), &[]).await);

    assert!(text.starts_with("SIMULATED ALLOW  team/app:2.3.0 in prod\n"), "{text}");
    assert!(text.contains("simulated by policies/strict"), "{text}");
    assert!(!text.contains("deploy  ") && !text.contains('@'), "{text}");
}

#[tokio::test]
async fn simulate_options_reach_the_request() {
    let server = fake_server::start().await;
    let response = SimulateGateResponse { simulation: Some(simulation(Verdict::Allow)) };
    server.service.simulate.respond_with([Ok(response)]);
    let command = "simulate team/app:2 --policy strict --env prod --platform linux/arm64/v8 --wait 5m \
        --max-findings-age 0s --at-least-as-fresh token";

    let output = run(&server, &command.split_whitespace().collect::<Vec<_>>()).await;

    assert_eq!(status(&output), 10, "{}", stderr(&output));
    let seconds = |seconds| Some(scangate_client::prost_types::Duration { seconds, nanos: 0 });
    let expected = SimulateGateRequest {
        image: "team/app:2".into(),
        environment: "prod".into(),
        platforms: vec![Platform {
            os: "linux".into(),
            architecture: "arm64".into(),
            variant: "v8".into(),
            ..Default::default()
        }],
        simulated_policy: Some(SimulatedPolicy::Policy("policies/strict".into())),
        wait: seconds(300),
        max_findings_age: seconds(0),
        at_least_as_fresh: "token".into(),
    };
    assert_eq!(server.service.simulate.requests(), [expected]);
}

#[tokio::test]
async fn draft_comes_from_file() {
    let server = fake_server::start().await;
    let response = SimulateGateResponse { simulation: Some(simulation(Verdict::Deny)) };
    server.service.simulate.respond_with([Ok(response)]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, r#"{"unratedAs": "SEVERITY_LOW"}"#).unwrap();

    let output = run(&server, &["simulate", IMAGE, "--file", file.path().to_str().unwrap()]).await;

    assert_eq!(status(&output), 1, "{}", stderr(&output));
    let draft = Policy { unrated_as: Severity::Low.into(), ..Default::default() };
    assert_eq!(server.service.simulate.requests()[0].simulated_policy, Some(SimulatedPolicy::Draft(draft)));
}

#[tokio::test]
async fn exactly_one_policy_is_required() {
    let server = fake_server::start().await;

    for policy in [&[][..], &["--policy", "strict", "--file", "strict.json"]] {
        let output = run(&server, &[&["simulate", IMAGE], policy].concat()).await;

        assert_eq!(status(&output), 64, "{policy:?}");
    }
    assert_eq!(server.service.simulate.requests(), []);
}
