//! The memory of a cached finding, compared with the same finding as a decoded message that a client holds. The images
//! share all of their findings, some values, or nothing.

use prost::Message;
use scangate_ecr_simulator::{BasicFinding, generate, seed};
use scangate_proto::v1::{GetFindingsRequest, GetFindingsResponse};

use crate::{
    grpc_bench::MEMORY_IMAGES,
    load::{Load, unframe},
    markdown_table::{print_header, print_row},
    process::{ServerProcess, resident_bytes},
};

const METHOD: &str = "/scangate.v1.ScanGateService/GetFindings";
const FINDINGS_PER_IMAGE: usize = 2_000;
/// Images that are read before the measurement, so that the memory for reading itself is already allocated.
const WARM_UP_IMAGES: usize = 20;
/// Copies of a page of findings that are held as messages.
const MESSAGE_COPIES: usize = 100;
const PAGE_SIZE: i32 = 1_000;

/// The overlap between the findings of different images.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum FindingOverlap {
    /// All findings, as in images with a common base.
    Identical,
    /// All findings, and they come from a real scan, with descriptions of real length.
    Recorded,
    /// A vulnerability with all its texts is in every ninth image, each time in another version of a package.
    Partial,
    /// Only the names of packages.
    Distinct,
}

/// Each overlap with its name in the table.
const OVERLAPS: [(FindingOverlap, &str); 4] = [
    (FindingOverlap::Identical, "identical findings"),
    (FindingOverlap::Recorded, "identical findings, from a real scan"),
    (FindingOverlap::Partial, "each vulnerability in every ninth image, random packages"),
    (FindingOverlap::Distinct, "no shared findings"),
];

impl FindingOverlap {
    /// The findings of an image.
    pub(crate) fn findings(self, image: usize) -> Vec<BasicFinding> {
        let generated = |seed: usize| generate::basic_of(&["LOW"], FINDINGS_PER_IMAGE, u64::try_from(seed).unwrap());
        match self {
            Self::Identical => generated(0),
            Self::Recorded => seed::debian10_257(),
            Self::Partial => generated(image),
            Self::Distinct => {
                let make_unique = |(number, finding): (usize, BasicFinding)| {
                    let id = format!("CVE-{image:04}-{number:06}");
                    let uri = format!("https://security-tracker.debian.org/tracker/{id}");
                    let description = format!("Made up by the simulator for {id}.");
                    finding.field("/name", id).field("/uri", uri).description(&description)
                };
                generated(image).into_iter().enumerate().map(make_unique).collect()
            }
        }
    }

    fn flag_value(self) -> String {
        clap::ValueEnum::to_possible_value(&self).unwrap().get_name().to_owned()
    }
}

pub(crate) async fn run() {
    let columns = [
        "overlap of the images",
        "findings",
        "bytes per finding, decoded messages (peer)",
        "bytes per finding, server cache",
        "ratio to peer",
    ];
    print_header("Memory of a finding", &columns);
    // Held until the end: reused memory would not show as growth.
    let mut held = Vec::new();
    for (overlap, name) in OVERLAPS {
        let directory = tempfile::tempdir().unwrap();
        let flags = ["--memory-images", &overlap.flag_value(), "--findings-cache-mib", "4096"].map(str::to_owned);
        let gate = ServerProcess::start_gate(directory.path(), &flags);
        let growth = fill_cache(&gate).await;
        let findings = overlap.findings(0).len() * (MEMORY_IMAGES - WARM_UP_IMAGES);
        let cached = growth as f64 / findings as f64;
        let page = get_findings(&gate.address, 0, PAGE_SIZE).await;
        let before = resident_bytes("self");
        held.extend((0..MESSAGE_COPIES).map(|_| page.clone()));
        let messages = (resident_bytes("self") - before) as f64 / (MESSAGE_COPIES * page.findings.len()) as f64;
        print_row(&[
            name.to_owned(),
            findings.to_string(),
            format!("{messages:.0}"),
            format!("{cached:.0}"),
            format!("{:.2}", cached / messages),
        ]);
    }
}

/// Reads all images, and returns the growth of the gate's memory in bytes after the warm-up.
async fn fill_cache(gate: &ServerProcess) -> u64 {
    for number in 0..WARM_UP_IMAGES {
        get_findings(&gate.address, number, 1).await;
    }
    let before = resident_bytes(&gate.pid());
    for number in WARM_UP_IMAGES..MEMORY_IMAGES {
        get_findings(&gate.address, number, 1).await;
    }
    resident_bytes(&gate.pid()).saturating_sub(before)
}

/// Returns the first page of an image's findings.
async fn get_findings(address: &str, number: usize, page_size: i32) -> GetFindingsResponse {
    let request = GetFindingsRequest { image: format!("bench/memory:{number}"), page_size, ..Default::default() };
    let framed = Load::single(address, METHOD, &request).call_once().await;
    GetFindingsResponse::decode(unframe(&framed)).unwrap()
}
