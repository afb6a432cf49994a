//! Requests that no method receives: each error has its reason.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use scangate_client::{
    Code,
    v1::{CreateWaiverRequest, ListWaiversRequest, Waiver, WaiverScope},
};
use scangate_ecr_simulator::World;

use crate::harness::{
    evaluate_request, gate,
    raw::{Connection, EVALUATE, LIST_POLICIES, connect, frame},
};

/// A number that no message of the contract uses.
const UNKNOWN: u32 = 12_345;

/// Checks that a call ends with this code and reason.
#[track_caller]
fn assert_refused(response: &crate::harness::raw::RawResponse, code: Code, reason: &str, context: &str) {
    let refused = response.rejection();
    assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{context}: {response:?}");
    assert!(!refused.message.is_empty(), "{context}");
}

async fn assert_malformed(connection: &Connection, headers: &[(&str, &str)], pieces: &[&[u8]], context: &str) {
    for path in [EVALUATE, LIST_POLICIES] {
        let response = connection.call(path, headers, pieces).await;

        assert_refused(&response, Code::InvalidArgument, "MALFORMED_REQUEST", context);
    }
}

#[tokio::test]
async fn malformed_body_is_refused_with_reason() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;
    let (empty, garbage) = (frame(0, b""), frame(0, b"\x0a\x05ab"));
    let twice = [empty.clone(), empty.clone()].concat();

    assert_malformed(&connection, &[], &[], "no message").await;
    assert_malformed(&connection, &[], &[&empty[..3]], "truncated header").await;
    assert_malformed(&connection, &[], &[&frame(0, b"abc")[..6]], "truncated message").await;
    assert_malformed(&connection, &[], &[&garbage], "no protobuf").await;
    assert_malformed(&connection, &[], &[&twice], "two messages at once").await;
    assert_malformed(&connection, &[], &[&empty, &empty], "a second message").await;
    assert_malformed(&connection, &[], &[&frame(1, b"")], "compressed without an encoding").await;
    assert_malformed(&connection, &[], &[&frame(7, b"")], "unknown flag").await;
    for encoding in ["gzip", "zstd"] {
        let headers = [("grpc-encoding", encoding)];
        assert_malformed(&connection, &headers, &[&frame(1, b"not compressed")], encoding).await;
    }
    let trailing = [gzip(b""), b"more".to_vec()].concat();
    assert_malformed(&connection, &[("grpc-encoding", "gzip")], &[&frame(1, &trailing)], "trailing bytes").await;
}

#[tokio::test]
async fn malformed_timeout_is_refused() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;

    for timeout in ["", "1", "S", "1x", "-1S", "+1S", "123456789S", "1 S", "soon"] {
        assert_malformed(&connection, &[("grpc-timeout", timeout)], &[&frame(0, b"")], timeout).await;
    }
}

#[tokio::test]
async fn message_in_pieces_is_accepted() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;
    let message = frame(0, &evaluate_request("shop/api:2.0.0").encode_to_vec());
    let pieces: Vec<&[u8]> = message.chunks(1).collect();

    let response = connection.call(EVALUATE, &[], &pieces).await;

    assert_eq!(response.grpc_status().code(), Code::Ok, "{response:?}");
}

#[tokio::test]
async fn large_request_is_resource_exhausted() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;
    let zeros = vec![0; 64 * 1024 * 1024];
    let bombs = [("gzip", gzip(&zeros)), ("zstd", zstd::bulk::compress(&zeros, 1).unwrap())];
    // The header of a message of 5 MiB: its bytes need not arrive.
    let header = [&[0], (5_u32 << 20).to_be_bytes().as_slice()].concat();

    for path in [EVALUATE, LIST_POLICIES] {
        let response = connection.call(path, &[], &[&header]).await;
        assert_refused(&response, Code::ResourceExhausted, "REQUEST_TOO_LARGE", path);
        assert_eq!(response.rejection().metadata["limit_bytes"], "4194304");
        for (encoding, bomb) in &bombs {
            let response = connection.call(path, &[("grpc-encoding", encoding)], &[&frame(1, bomb)]).await;
            assert_refused(&response, Code::ResourceExhausted, "REQUEST_TOO_LARGE", encoding);
        }
    }
}

#[tokio::test]
async fn unsupported_compression_lists_supported_ones() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;

    for path in [EVALUATE, LIST_POLICIES] {
        let response = connection.call(path, &[("grpc-encoding", "deflate")], &[&frame(1, b"")]).await;

        assert_refused(&response, Code::Unimplemented, "UNSUPPORTED_COMPRESSION", path);
        assert_eq!(response.headers["grpc-accept-encoding"], "gzip,zstd,identity");
    }
}

#[tokio::test]
async fn unknown_field_is_refused_on_every_method() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;
    let pool = DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services: Vec<_> = pool.services().filter(|service| service.package_name() == "scangate.v1").collect();

    let mut requests = 0;
    for method in services.iter().flat_map(prost_reflect::ServiceDescriptor::methods) {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let mut messages = Vec::new();
        with_unknown_field(&method.input(), &mut Vec::new(), &mut messages);
        for (message, place) in messages {
            let response = connection.call(&path, &[], &[&frame(0, &message)]).await;

            assert_refused(&response, Code::InvalidArgument, "UNKNOWN_FIELD", &format!("{path} {place}"));
            let metadata = response.rejection().metadata;
            assert_eq!(metadata["number"], UNKNOWN.to_string());
            assert!(metadata["path"].ends_with("12345") && metadata["message"].contains('.'), "{metadata:?}");
            assert!(metadata.contains_key("server_version"));
            requests += 1;
        }
    }
    assert!(requests > 100, "{requests}");
    assert_eq!(gate.ecr.calls().total(), 0);
}

/// Adds the bytes of a request with an unknown field for each message that the request can contain.
fn with_unknown_field(message: &MessageDescriptor, parents: &mut Vec<(String, u32)>, out: &mut Vec<(Vec<u8>, String)>) {
    let mut bytes = Vec::new();
    encode_key(UNKNOWN, WireType::Varint, &mut bytes);
    encode_varint(1, &mut bytes);
    for (_, number) in parents.iter().rev() {
        let inner = std::mem::take(&mut bytes);
        encode_key(*number, WireType::LengthDelimited, &mut bytes);
        encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
    }
    out.push((bytes, format!("{parents:?}")));
    // A message within itself adds nothing new.
    if parents.len() > 8 {
        return;
    }
    for field in message.fields() {
        if let Kind::Message(child) = field.kind() {
            parents.push((field.name().to_owned(), field.number()));
            with_unknown_field(&child, parents, out);
            parents.pop();
        }
    }
}

#[tokio::test]
async fn waiver_with_unknown_scope_field_is_not_written() {
    let gate = gate(World::demo()).start().await;
    let connection = connect(gate.address).await;
    let scope = WaiverScope { vulnerability_id: "CVE-2019-19814".into(), everywhere: Some(true), ..Default::default() };
    let waiver = Waiver { scope: Some(scope), reason: "narrow".into(), ..Default::default() };
    let mut request = CreateWaiverRequest { waiver_id: "narrow".into(), ..Default::default() }.encode_to_vec();
    // A newer client's scope ends with a field that narrows it.
    let mut scope = waiver.scope.unwrap().encode_to_vec();
    encode_key(UNKNOWN, WireType::LengthDelimited, &mut scope);
    scope.extend(b"\x04only");
    let rest = Waiver { scope: None, ..waiver }.encode_to_vec();
    let scope = field("Waiver", "scope", &scope);
    request.extend(field("CreateWaiverRequest", "waiver", &[rest, scope].concat()));

    let response = connection.call("/scangate.v1.PolicyService/CreateWaiver", &[], &[&frame(0, &request)]).await;

    assert_refused(&response, Code::InvalidArgument, "UNKNOWN_FIELD", "scope");
    let metadata = response.rejection().metadata;
    assert_eq!(
        (metadata["message"].as_str(), metadata["path"].as_str()),
        ("scangate.v1.WaiverScope", "waiver.scope.12345")
    );
    let waivers = gate.client.policies().list_waivers(ListWaiversRequest::default()).await.unwrap();
    assert!(waivers.into_inner().waivers.is_empty());
}

/// The bytes of a message field.
fn field(message: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let pool = DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).unwrap();
    let message = pool.get_message_by_name(&format!("scangate.v1.{message}")).unwrap();
    let mut bytes = Vec::new();
    encode_key(message.get_field_by_name(name).unwrap().number(), WireType::LengthDelimited, &mut bytes);
    encode_varint(value.len() as u64, &mut bytes);
    bytes.extend(value);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
