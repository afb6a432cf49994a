//! Aspects of every call: reflection, health, metadata and graceful shutdown.

use std::time::Duration;

use scangate_client::{
    Code, Rejection,
    v1::{EvaluateGateRequest, Verdict},
};
use scangate_ecr_simulator::{Fault, World};
use scangate_proto::v1::scan_gate_service_client::ScanGateServiceClient;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::harness::{Gate, evaluate_request, gate};

async fn channel(gate: &Gate) -> Channel {
    Endpoint::from_shared(format!("http://{}", gate.address)).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn health_covers_server_and_each_service() {
    let gate = gate(World::demo()).start().await;
    let mut health = HealthClient::new(channel(&gate).await);

    for service in ["", "scangate.v1.ScanGateService", "scangate.v1.PolicyService", "scangate.v1.DecisionService"] {
        let response = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(response.into_inner().status(), ServingStatus::Serving, "{service}");
    }
}

#[tokio::test]
async fn watch_of_unknown_service_stays_open() {
    let gate = gate(World::demo()).start().await;
    let mut health = HealthClient::new(channel(&gate).await);
    let watch = |service: &str| HealthCheckRequest { service: service.to_owned() };

    let mut unknown = health.watch(watch("other.Service")).await.unwrap().into_inner();
    let mut known = health.watch(watch("scangate.v1.ScanGateService")).await.unwrap().into_inner();
    let missing = health.check(watch("other.Service")).await.unwrap_err();

    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    assert_eq!(known.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(missing.code(), tonic::Code::NotFound);
    let end = tokio::time::timeout(Duration::from_millis(300), unknown.message()).await;
    assert!(end.is_err(), "the stream ended: {end:?}");
}

#[tokio::test]
async fn health_watches_are_bounded() {
    let gate = gate(World::demo()).start().await;
    // One connection has fewer streams than the server has places.
    let mut clients = [HealthClient::new(channel(&gate).await), HealthClient::new(channel(&gate).await)];
    let mut watches = Vec::new();
    let refused = loop {
        match clients[watches.len() % 2].watch(HealthCheckRequest::default()).await {
            Ok(watch) => watches.push(watch.into_inner()),
            Err(refused) => break refused,
        }
        assert!(watches.len() <= 1_100, "watches have no limit");
    };

    let checked = clients[0].check(HealthCheckRequest::default()).await.unwrap();
    let rejection = Rejection::from(&refused);
    assert_eq!((rejection.code, rejection.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"));
    assert_eq!(checked.into_inner().status(), ServingStatus::Serving);
    watches.clear();
    while clients[0].watch(HealthCheckRequest::default()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_health_watches_end_at_shutdown() {
    let gate = gate(World::demo()).flag("--shutdown-grace", "1h").start().await;
    let mut health = HealthClient::new(channel(&gate).await);
    let mut watches = Vec::new();
    for service in ["", "other.Service"] {
        let mut watch = health.watch(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap();
        watches.push(watch);
    }

    let stopped = tokio::time::timeout(Duration::from_mins(1), gate.stop()).await;

    stopped.expect("the server waits for open watches").unwrap();
    for mut watch in watches {
        let end = loop {
            match watch.message().await {
                Ok(message) => assert!(message.is_some(), "the stream ends with OK"),
                Err(end) => break Rejection::from(&end),
            }
        };
        assert_eq!((end.code, end.reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    }
}

#[tokio::test]
async fn frequent_pings_keep_the_connection() {
    let gate = gate(World::demo()).start().await;
    let socket = TcpStream::connect(gate.address).await.unwrap();
    let (_sender, mut connection) = h2::client::handshake(socket).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let connection = tokio::spawn(connection);

    for _ in 0..100 {
        pings.ping(h2::Ping::opaque()).await.unwrap();
    }

    assert!(!connection.is_finished());
}

#[tokio::test]
async fn reflection_lists_every_service_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let gate = gate(World::demo()).start().await;
    let channel = channel(&gate).await;

    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut responses = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let listed = format!("{:?}", responses.next().await.unwrap().unwrap());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut responses = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let listed_alpha = format!("{:?}", responses.next().await.unwrap().unwrap());

    for service in ["scangate.v1.ScanGateService", "scangate.v1.PolicyService", "scangate.v1.DecisionService"] {
        assert!(listed.contains(service), "{listed}");
        assert!(listed_alpha.contains(service), "{listed_alpha}");
    }
}

#[tokio::test]
async fn response_metadata_has_request_id_and_version() {
    let gate = gate(World::demo()).start().await;
    let mut raw = ScanGateServiceClient::new(channel(&gate).await);
    let mut request = Request::new(evaluate_request("shop/api:2.0.0"));
    request.metadata_mut().insert("x-request-id", "deploy-42".parse().unwrap());

    let named = raw.evaluate_gate(request).await.unwrap();
    let unnamed = raw.evaluate_gate(evaluate_request("shop/api:2.0.0")).await.unwrap();

    assert_eq!(named.metadata().get("x-request-id").unwrap(), "deploy-42");
    assert_eq!(unnamed.metadata().get("x-request-id").unwrap().len(), 32);
    assert!(named.metadata().contains_key("scangate-version"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_lets_running_call_finish() {
    let gate = gate(World::demo()).start().await;
    gate.ecr.faults().script(Fault::Delay(Duration::from_millis(600)).on("DescribeImages"));
    let client = gate.client.clone();
    let call = tokio::spawn(async move { client.evaluate(evaluate_request("shop/api:2.0.0")).await });
    while gate.ecr.calls().count("DescribeImages") == 0 {
        tokio::task::yield_now().await;
    }

    let stopped = gate.stop().await;

    assert!(stopped.is_ok());
    assert_eq!(call.await.unwrap().unwrap().verdict(), Verdict::Allow);
}

#[tokio::test]
async fn decision_repeats_request_labels() {
    let gate = gate(World::demo()).start().await;
    let labels = std::collections::BTreeMap::from([("pipeline".to_owned(), "release-7".to_owned())]);

    let request = EvaluateGateRequest { labels: labels.clone(), ..evaluate_request("shop/api:2.0.0") };

    assert_eq!(gate.client.evaluate(request).await.unwrap().into_message().labels, labels);
}
