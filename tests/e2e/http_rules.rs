//! HTTP: only gRPC calls reach a method.

use http::{Method, StatusCode};
use prost::Message as _;
use prost_reflect::DescriptorPool;
use scangate_client::v1::{ListPoliciesRequest, Policy};
use scangate_ecr_simulator::World;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    Gate, create_policy_request, gate,
    raw::{LIST_POLICIES, RawResponse, connect, frame},
};

/// A request's method and headers, and the status of its response.
type Case = (Method, &'static [(&'static str, &'static str)], u16);

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// The paths of all methods, health and reflection included.
fn methods() -> Vec<String> {
    let sets = [
        scangate_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let pools = sets.map(|set| DescriptorPool::decode(set).unwrap());
    let services = pools.iter().flat_map(DescriptorPool::services);
    let paths = services.flat_map(|service| {
        let path = |method: prost_reflect::MethodDescriptor| {
            format!("/{}/{}", method.parent_service().full_name(), method.name())
        };
        service.methods().map(path).collect::<Vec<_>>()
    });
    paths.collect()
}

async fn policies(gate: &Gate) -> usize {
    gate.client.policies().list_policies(ListPoliciesRequest::default()).await.unwrap().into_inner().policies.len()
}

#[tokio::test]
async fn only_grpc_calls_reach_a_method() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;
    let before = policies(&gate).await;
    // Under CreatePolicy, these bytes would write a policy.
    let body = frame(0, &create_policy_request("from-a-form", Policy::default()).encode_to_vec());
    let cases: [Case; 11] = [
        (Method::POST, &[], 415),
        (Method::POST, &[("content-type", "text/plain")], 415),
        (Method::POST, &[("content-type", "application/x-www-form-urlencoded")], 415),
        (Method::POST, &[("content-type", "multipart/form-data; boundary=a")], 415),
        (Method::POST, &[("content-type", "application/json")], 415),
        (Method::POST, &[("content-type", "application/grpc-web+proto")], 415),
        (Method::POST, &[("content-type", "application/grpc+json")], 415),
        (Method::GET, &[GRPC], 405),
        (Method::PUT, &[GRPC], 405),
        (Method::OPTIONS, &[], 405),
        (Method::POST, &[GRPC, ("origin", "https://attacker.example")], 403),
    ];

    assert!(methods().len() > 25);
    for path in methods() {
        for (method, headers, expected) in &cases {
            let response = connection.send(method.clone(), &path, headers, &[&body]).await;

            let context = format!("{method} {path} {headers:?}: {response:?}");
            let text = String::from_utf8(response.body).unwrap();
            assert_eq!(response.status.as_u16(), *expected, "{context}");
            assert!(text.ends_with('\n') && text.lines().count() == 1, "{context}");
            assert_eq!(response.headers["content-type"], "text/plain; charset=utf-8", "{context}");
            assert_eq!(response.headers.contains_key("allow"), *expected == 405, "{context}");
            assert!(!response.headers.contains_key("grpc-status"), "{context}");
        }
    }
    assert_eq!((policies(&gate).await, gate.ecr.calls().total()), (before, 0));
}

#[tokio::test]
async fn grpc_content_type_may_have_parameters() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;

    for content_type in
        ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8", "application/grpc+proto;v=1"]
    {
        let headers = [("content-type", content_type), ("te", "trailers")];
        let response = connection.send(Method::POST, LIST_POLICIES, &headers, &[&frame(0, b"")]).await;

        assert_eq!(response.grpc_status().code(), tonic::Code::Ok, "{content_type}: {response:?}");
    }
}

#[tokio::test]
async fn unknown_method_is_unimplemented_with_reason() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;

    for path in ["/scangate.v1.ScanGateService/Nothing", "/other.Service/Method", "/grpc.health.v1.Health/Nothing", "/"]
    {
        let response = connection.call(path, &[], &[&frame(0, b"")]).await;

        let refused = response.rejection();
        assert_eq!(response.status, StatusCode::OK, "{path}");
        assert_eq!((refused.code, refused.reason.as_str()), (tonic::Code::Unimplemented, "UNKNOWN_METHOD"), "{path}");
        assert_eq!(refused.metadata["method"], path.trim_start_matches('/'));
    }
    let missing: RawResponse = connection.send(Method::GET, "/healthz", &[], &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn http_1_reaches_no_method() {
    let gate = gate(World::demo()).start().await;
    let mut socket = TcpStream::connect(gate.address).await.unwrap();

    let request =
        format!("POST {LIST_POLICIES} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The server closes the connection, possibly with a reset.
    socket.read_to_end(&mut answer).await.ok();

    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}
