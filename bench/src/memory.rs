//! What a finding in the cache takes, beside the same finding as the message that a client holds.

use std::{path::Path, time::Duration};

use prost::Message;
use scangate_proto::v1::{GetFindingsRequest, GetFindingsResponse};

use crate::{
    calls::{MANY, Process},
    load::{Load, framed},
    table,
};

const METHOD: &str = "/scangate.v1.ScanGateService/GetFindings";
/// Bytes of a page of memory: the same on every Linux for x86-64 and most for ARM.
const PAGE: u64 = 4096;
/// Findings of each image.
const EACH: usize = 2_000;
/// Images that are read before anything is measured, so that what reading itself needs is there.
const FIRST: usize = 20;
/// Copies of a page of findings that are held as messages.
const COPIES: usize = 200;
const PAGE_SIZE: i32 = 1_000;

pub(crate) async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let gate = Process::start(&["serve-gate", state, "--many", "--findings-cache-mib", "4096"]);
    for number in 0..FIRST {
        read(&gate.address, number, 1).await;
    }
    let before = resident(&gate.pid());
    for number in FIRST..MANY {
        read(&gate.address, number, 1).await;
    }
    let cached = (resident(&gate.pid()) - before) as f64 / ((MANY - FIRST) * EACH) as f64;

    let page = read(&gate.address, 0, PAGE_SIZE).await;
    let before = resident("self");
    let held: Vec<GetFindingsResponse> = (0..COPIES).map(|_| page.clone()).collect();
    let findings = held.iter().map(|page| page.findings.len()).sum::<usize>();
    let messages = (resident("self") - before) as f64 / findings as f64;

    table::head("A finding in memory", &["held as", "findings", "bytes each", "of the peer"]);
    let row = |name: &str, findings: usize, bytes: f64| {
        table::row(&[name.to_owned(), findings.to_string(), format!("{bytes:.0}"), format!("{:.2}", bytes / messages)]);
    };
    row("decoded protobuf messages (peer)", findings, messages);
    row("the server's cache, all of the process that grew with it", (MANY - FIRST) * EACH, cached);
}

/// A page of an image's findings.
async fn read(address: &str, number: usize, page_size: i32) -> GetFindingsResponse {
    let request = GetFindingsRequest { image: format!("bench/many:{number}"), page_size, ..Default::default() };
    let load = Load {
        address: address.to_owned(),
        method: METHOD.to_owned(),
        message: framed(&request.encode_to_vec()),
        connections: 1,
        calls: 1,
        lasts: Duration::ZERO,
        rate: None,
    };
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    GetFindingsResponse::decode(&load.call(&mut sender).await[5..]).unwrap()
}

/// Bytes of memory that a process has.
fn resident(process: &str) -> u64 {
    let statm = std::fs::read_to_string(Path::new("/proc").join(process).join("statm")).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * PAGE
}
