//! What a finding in the cache takes, beside the same finding as the message that a client holds: where images have all their
//! findings in common, some of what they say, or nothing at all.

use std::{path::Path, time::Duration};

use prost::Message;
use scangate_ecr_simulator::{BasicFinding, generate, seed};
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
const COPIES: usize = 100;
const PAGE_SIZE: i32 = 1_000;

/// What the findings of an image have in common with those of others.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Likeness {
    /// Everything, as in images built on one base.
    Alike,
    /// Everything, and they are those of a real scan, with descriptions as long as those are.
    Recorded,
    /// A vulnerability with all its texts is in every ninth image, each time in another version of a package.
    Mixed,
    /// Nothing but the names of packages.
    Unlike,
}

/// Each with the words of the table.
const LIKENESSES: [(Likeness, &str); 4] = [
    (Likeness::Alike, "alike"),
    (Likeness::Recorded, "alike, with the findings of a real scan"),
    (Likeness::Mixed, "a vulnerability in every ninth, packages at random"),
    (Likeness::Unlike, "nothing in common"),
];

impl Likeness {
    /// The findings of an image.
    pub(crate) fn findings(self, image: usize) -> Vec<BasicFinding> {
        let made_up = |seed: usize| generate::basic_of(&["LOW"], EACH, u64::try_from(seed).unwrap());
        match self {
            Self::Alike => made_up(0),
            Self::Recorded => seed::debian10_257(),
            Self::Mixed => made_up(image),
            Self::Unlike => {
                let own = |(number, finding): (usize, BasicFinding)| {
                    let id = format!("CVE-{image:04}-{number:06}");
                    let uri = format!("https://security-tracker.debian.org/tracker/{id}");
                    let description = format!("Made up by the simulator for {id}.");
                    finding.field("/name", id).field("/uri", uri).description(&description)
                };
                made_up(image).into_iter().enumerate().map(own).collect()
            }
        }
    }

    fn word(self) -> String {
        clap::ValueEnum::to_possible_value(&self).unwrap().get_name().to_owned()
    }
}

pub(crate) async fn run() {
    let columns =
        ["images", "findings", "bytes each, decoded messages (peer)", "bytes each, the server's cache", "of the peer"];
    table::head("A finding in memory", &columns);
    // Held until the end: what was freed would be taken again without a trace.
    let mut held = Vec::new();
    for (likeness, name) in LIKENESSES {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_str().unwrap();
        let gate = Process::start(&["serve-gate", state, "--many", &likeness.word(), "--findings-cache-mib", "4096"]);
        for number in 0..FIRST {
            read(&gate.address, number, 1).await;
        }
        let before = resident(&gate.pid());
        for number in FIRST..MANY {
            read(&gate.address, number, 1).await;
        }
        let findings = likeness.findings(0).len() * (MANY - FIRST);
        let cached = resident(&gate.pid()).saturating_sub(before) as f64 / findings as f64;
        let page = read(&gate.address, 0, PAGE_SIZE).await;
        let before = resident("self");
        held.extend((0..COPIES).map(|_| page.clone()));
        let messages = (resident("self") - before) as f64 / (COPIES * page.findings.len()) as f64;
        table::row(&[
            name.to_owned(),
            findings.to_string(),
            format!("{messages:.0}"),
            format!("{cached:.0}"),
            format!("{:.2}", cached / messages),
        ]);
    }
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
