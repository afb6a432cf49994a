//! Compression: requests in gzip and zstd, and large answers in what the client accepts.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use prost::Message as _;
use scangate_client::{
    Code,
    v1::{EvaluateGateResponse, GetFindingsRequest, GetFindingsResponse, Verdict},
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World, generate};

use crate::harness::{
    evaluate_request, gate,
    raw::{EVALUATE, RawResponse, connect, frame},
};

const FINDINGS: &str = "/scangate.v1.ScanGateService/GetFindings";

fn world() -> World {
    let mut world = World::demo();
    let findings = generate::basic_of(&["LOW"], 500, 7);
    world.push(ImageSpec::single("team/large", "1").scan(ScanScript::complete(findings)));
    world
}

fn compress(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::bulk::compress(bytes, 1).unwrap();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn decompress(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::stream::decode_all(bytes).unwrap();
    }
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// The flag and the message of a response.
#[track_caller]
fn message(response: &RawResponse) -> (u8, &[u8]) {
    assert_eq!(response.grpc_status().code(), Code::Ok, "{response:?}");
    let ([flag, length @ ..], message) = response.body.split_first_chunk::<5>().unwrap();
    assert_eq!(u32::from_be_bytes(*length) as usize, message.len());
    (*flag, message)
}

#[tokio::test]
async fn compressed_request_is_answered() {
    let gate = gate(world()).start().await;
    let connection = connect(gate.address).await;
    let request = evaluate_request("shop/api:2.0.0").encode_to_vec();

    for encoding in ["gzip", "zstd"] {
        let body = frame(1, &compress(encoding, &request));
        let response = connection.call(EVALUATE, &[("grpc-encoding", encoding)], &[&body]).await;

        let decision = EvaluateGateResponse::decode(message(&response).1).unwrap().decision.unwrap();
        assert_eq!(decision.verdict(), Verdict::Allow, "{encoding}");
    }
    let plain = connection.call(EVALUATE, &[("grpc-encoding", "gzip")], &[&frame(0, &request)]).await;
    assert_eq!(message(&plain).0, 0);
}

#[tokio::test]
async fn large_answer_is_compressed_if_accepted() {
    let gate = gate(world()).start().await;
    let connection = connect(gate.address).await;
    let request = GetFindingsRequest { image: "team/large:1".into(), page_size: 500, ..Default::default() };
    let body = frame(0, &request.encode_to_vec());
    let plain = connection.call(FINDINGS, &[], &[&body]).await;
    let (flag, expected) = message(&plain);
    assert!(flag == 0 && expected.len() > 16 * 1024 && !plain.headers.contains_key("grpc-encoding"));

    // C-core and Java accept gzip on every call. Of several, zstd takes the least time.
    for (accepted, encoding) in
        [("identity, deflate, gzip", "gzip"), ("gzip", "gzip"), ("gzip,zstd", "zstd"), ("zstd", "zstd")]
    {
        let response = connection.call(FINDINGS, &[("grpc-accept-encoding", accepted)], &[&body]).await;

        let (flag, compressed) = message(&response);
        assert_eq!((flag, response.headers["grpc-encoding"].to_str().unwrap()), (1, encoding), "{accepted}");
        assert!(compressed.len() * 2 < expected.len(), "{accepted}: {}", compressed.len());
        let page = GetFindingsResponse::decode(decompress(encoding, compressed).as_slice()).unwrap();
        assert_eq!(page.findings.len(), 500);
    }
    let response = connection.call(FINDINGS, &[("grpc-accept-encoding", "deflate,identity")], &[&body]).await;
    assert_eq!(message(&response).0, 0);
}

#[tokio::test]
async fn small_answer_is_never_compressed() {
    let gate = gate(world()).start().await;
    let connection = connect(gate.address).await;
    let body = frame(0, &evaluate_request("shop/api:2.0.0").encode_to_vec());

    let response = connection.call(EVALUATE, &[("grpc-accept-encoding", "gzip,zstd")], &[&body]).await;

    let (flag, message) = message(&response);
    assert_eq!(flag, 0);
    assert!(EvaluateGateResponse::decode(message).unwrap().decision.is_some());
}
