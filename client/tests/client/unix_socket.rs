//! A server on a Unix socket.

use scangate_client::{Client, ConnectOptions, v1::*};

use crate::{
    fake_server,
    fixtures::{DEPLOY, decision, evaluate_request, evaluate_response},
};

#[tokio::test]
async fn call_over_unix_socket_may_have_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate");
    let service = fake_server::start_at_socket(&path);
    service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let options = ConnectOptions::new(format!("unix:{}", path.display())).bearer_token("tok-123");

    let decision = Client::connect(options).await.unwrap().evaluate(evaluate_request()).await.unwrap();

    assert_eq!(decision.require_allowed(), Ok(DEPLOY));
    assert_eq!(service.evaluate.header("authorization").as_deref(), Some("Bearer tok-123"));
}
