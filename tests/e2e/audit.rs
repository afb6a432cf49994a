//! The audit trail of a server process, whatever its log filter.

use std::process::Stdio;

use scangate_client::{Client, Code, ConnectOptions, RetryPolicy, v1::Severity};
use scangate_ecr_simulator::{Simulator, World};
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{
    REGISTRY,
    callers::{Callers, grant},
    create_policy_request, deny_findings_from, evaluate_request, rejection,
    tools::{Server, binary, free_address, with_test_credentials},
};

#[tokio::test]
async fn writes_and_refusals_are_recorded_at_any_log_level() {
    let callers = Callers::new(&(grant("author", "author", "") + &grant("reader", "reader", "")));
    let (ecr, state, address) =
        (Simulator::start_local(World::demo()).await.unwrap(), tempfile::tempdir().unwrap(), free_address());
    let log = state.path().join("log");
    let mut command = with_test_credentials(Command::new(binary("scangate-server")));
    command.args(["serve", "--log", "error", "--log-format", "json", "--ops-listen", "none", "--registry", REGISTRY]);
    command.args(["--ecr-endpoint", &ecr.endpoint(), "--listen", &address.to_string(), "--config"]);
    command.arg(callers.config()).arg("--store").arg(state.path().join("scangate.db"));
    command.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let server = Server::start(command, address).await;
    let client = async |token: String| {
        let options = ConnectOptions::new(format!("http://{address}")).bearer_token(token).retry(RetryPolicy::none());
        Client::connect(options).await.unwrap()
    };
    let (author, reader) = (client(callers.token("author")).await, client(callers.token("reader")).await);
    let stranger = client("secret-token".to_owned()).await;

    let policy = || create_policy_request("high", deny_findings_from(Severity::High));
    author.create_policy(policy()).await.unwrap();
    assert_eq!(rejection(reader.create_policy(policy()).await).code, Code::PermissionDenied);
    assert_eq!(rejection(stranger.evaluate(evaluate_request("shop/api:2.0.0")).await).code, Code::Unauthenticated);
    server.kill().await;

    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<[&str; 5]> = lines
        .iter()
        .filter(|line| line["target"] == "audit")
        .map(|line| {
            ["method", "caller", "resource", "outcome", "reason"]
                .map(|field| line["fields"][field].as_str().unwrap_or_default())
        })
        .collect();
    let (create, evaluate) = ("scangate.v1.PolicyService/CreatePolicy", "scangate.v1.ScanGateService/EvaluateGate");
    assert_eq!(
        lines,
        [
            ["start", "", &*address.to_string(), "Ok", ""],
            [create, "test:author", "policies/high", "Ok", ""],
            [create, "test:reader", "", "PermissionDenied", "permission"],
            [evaluate, "", "", "Unauthenticated", "malformed"],
        ]
    );
    assert!(!log.contains("secret-token"));
}
