//! The memory of a cached finding, compared with the same finding in the form that the core reads, and the time to cache
//! a scan and to read it. The images share all of their findings, some values, or nothing.
//!
//! `scangate-bench-memory` prints the table. Each row runs in a process of its own, and the bytes are those that the
//! allocator has given out: neither depends on pages that were used before.

mod markdown_table;
mod prepared_registry;

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use cap::Cap;
use mimalloc::MiMalloc;
use scangate_core::{
    finding::Finding,
    image::{ImageReference, Repository},
    registry::Registry as RegistryId,
    scan::{Manifest, Scan},
};
use scangate_ecr_simulator::{
    ACCOUNT, BasicFinding, ImageSpec, REGION, ScanScript, ScanningConfig, Simulator, World, generate, seed,
};
use scangate_server::registry::{
    Freshness, Registry,
    cache::{CachedRegistry, Config},
    ecr::{self, Credentials, Ecr},
};

use self::{
    markdown_table::{print_header, print_row},
    prepared_registry::PreparedRegistry,
};

/// The allocator of the server, with a count of the bytes that are in use.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

const IMAGES: usize = 100;
/// Images without findings. They are read last, so that no decoded scan of the others is left in the cache.
const EMPTY_IMAGES: usize = 2;
const FINDINGS_PER_IMAGE: usize = 1_000;
const READ_ROUNDS: usize = 5;

/// The findings of the images in a row of the table.
struct Row {
    name: &'static str,
    /// The findings of an image.
    findings: fn(usize) -> Vec<BasicFinding>,
    /// The number of images that have the same ids, links and descriptions.
    sharing: usize,
}

const ROWS: [Row; 6] = [
    Row { name: "identical findings, from a real scan", findings: |_| seed::debian10_257(), sharing: IMAGES },
    Row { name: "findings of a real scan, identical in ten images", findings: |_| seed::debian10_257(), sharing: 10 },
    Row { name: "findings of a real scan, no shared descriptions", findings: |_| seed::debian10_257(), sharing: 1 },
    Row { name: "identical findings", findings: |_| generated(0), sharing: IMAGES },
    Row { name: "each vulnerability in every eleventh image, random packages", findings: generated, sharing: IMAGES },
    Row { name: "no shared findings", findings: generated, sharing: 1 },
];

fn generated(image: usize) -> Vec<BasicFinding> {
    generate::basic_of(&["LOW"], FINDINGS_PER_IMAGE, u64::try_from(image).unwrap())
}

fn main() {
    let argument = std::env::args().nth(1);
    if let Some(row) = argument {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run_row(&ROWS[row.parse::<usize>().unwrap()]));
        return;
    }
    let columns = [
        "overlap of the images",
        "findings",
        "bytes per finding, as the core reads it (peer)",
        "bytes per finding, cached",
        "ratio to peer",
        "µs to cache a scan and read it",
        "µs to read a cached scan",
    ];
    print_header("Memory of a finding", &columns);
    for row in 0..ROWS.len() {
        let status = Command::new(std::env::current_exe().unwrap()).arg(row.to_string()).status().unwrap();
        assert!(status.success(), "row {row}: {status}");
    }
}

/// Caches the scans of all images, and prints the row.
async fn run_row(row: &Row) {
    let (repository, scans) = read_scans(row).await;
    let prepared = PreparedRegistry::new(registry_id(), scans.len());
    let config = Config { max_scan_bytes: u64::MAX / 2, ..Config::default() };
    let cached = CachedRegistry::new(prepared.clone(), config);
    let (images, empty) = scans.split_at(IMAGES);
    prepared.insert(empty);
    time_reads(&cached, &repository, empty).await;

    let bytes_before = ALLOCATOR.allocated();
    prepared.insert(images);
    let plain_bytes = ALLOCATOR.allocated() - bytes_before;
    let insertion = median(time_reads(&cached, &repository, images).await);
    time_reads(&cached, &repository, empty).await;
    cached.bytes();
    let cached_bytes = ALLOCATOR.allocated() - bytes_before;

    let mut reads = Vec::new();
    for _ in 0..READ_ROUNDS {
        reads.extend(time_reads(&cached, &repository, images).await);
    }
    let findings: usize = images.iter().map(|(_, scan)| scan.findings().len()).sum();
    let per_finding = |bytes: usize| format!("{:.0}", bytes as f64 / findings as f64);
    print_row(&[
        row.name.to_owned(),
        findings.to_string(),
        per_finding(plain_bytes),
        per_finding(cached_bytes),
        format!("{:.2}", cached_bytes as f64 / plain_bytes as f64),
        insertion.as_micros().to_string(),
        median(reads).as_micros().to_string(),
    ]);
}

/// Reads the scans of all images from a simulated ECR, as the server does. The last ones have no findings.
async fn read_scans(row: &Row) -> (Repository, Vec<(Manifest, Scan)>) {
    let mut world = World::new().with_scanning(ScanningConfig::basic_on_push(&["*"]));
    for image in 0..IMAGES + EMPTY_IMAGES {
        let findings = if image < IMAGES { (row.findings)(image) } else { Vec::new() };
        world.push(ImageSpec::single("bench/memory", &image.to_string()).scan(ScanScript::complete(findings)));
    }
    let simulator = Simulator::start_local(world).await.unwrap();
    let config = ecr::Config {
        registries: vec![registry_id()],
        endpoint: Some(simulator.endpoint()),
        credentials: Credentials::Placeholder,
        ..ecr::Config::default()
    };
    let ecr = Ecr::connect(config).await.unwrap();
    let mut scans = Vec::new();
    for image in 0..IMAGES + EMPTY_IMAGES {
        let reference = ImageReference::parse(&format!("bench/memory:{image}")).unwrap();
        let resolved = ecr.resolve(&reference, &[], Freshness::default()).await.unwrap();
        let manifest = resolved.manifests[0].clone();
        let scan = ecr.scan(&resolved.repository(), &manifest, Freshness::default()).await.unwrap();
        let mut scan = Arc::unwrap_or_clone(scan);
        for finding in scan.report.iter_mut().flat_map(|report| report.findings.iter_mut().flatten()) {
            make_distinct(finding, image / row.sharing);
        }
        scans.push((manifest, scan));
    }
    let repository =
        Repository { registry: registry_id(), name: ImageReference::parse("bench/memory:0").unwrap().repository };
    (repository, scans)
}

/// Makes the id, the link and the description of a finding those of one group of images.
fn make_distinct(finding: &mut Finding, group: usize) {
    for text in [Some(&mut finding.id), finding.uri.as_mut(), finding.description.as_mut()].into_iter().flatten() {
        *text = format!("{group}-{text}").into();
    }
}

async fn time_reads(cached: &CachedRegistry, repository: &Repository, images: &[(Manifest, Scan)]) -> Vec<Duration> {
    let mut times = Vec::new();
    for (manifest, expected) in images {
        let start = Instant::now();
        let scan = cached.scan(repository, manifest, Freshness::default()).await.unwrap();
        times.push(start.elapsed());
        assert_eq!(scan.findings().len(), expected.findings().len());
    }
    times
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn registry_id() -> RegistryId {
    RegistryId::new(ACCOUNT, REGION).unwrap()
}
