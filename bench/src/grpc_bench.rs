//! The cost of a warm EvaluateGate over real sockets, compared with a stock tonic call that returns a canned response of
//! the same size.
//!
//! Each server runs in its own process, pinned to the first core. The load generator and PostgreSQL have the other cores.

use std::{path::Path, sync::Arc, time::Duration};

use clap::Parser;
use scangate_ecr_simulator::{ImageSpec, ScanScript, Simulator, World, generate};
use scangate_proto::v1::EvaluateGateRequest;
use scangate_server::{
    config::Config, decision_log::sql::SqlDecisionLog, ops::OpsListen, registry::ecr::Credentials, sql::Database,
};
use tokio::net::TcpListener;

use crate::{
    load::{Load, LoadResult, unframe},
    markdown_table::{print_header, print_row},
    noop_log::NoopLog,
    process::{ServerProcess, cpu_seconds},
    seeded_store,
    transport::{ClientCredentials, Identities, Transport},
};

pub(crate) const METHOD: &str = "/scangate.v1.ScanGateService/EvaluateGate";
pub(crate) const CLEAN_IMAGE: &str = "shop/api:2.0.0";
/// An image with 2,000 findings, few of which match a policy.
const LARGE_IMAGE: &str = "bench/large:1";
const LOAD_DURATION: Duration = Duration::from_secs(3);
pub(crate) const ROUNDS: usize = 5;

/// The arguments of a gate process: those of the server, and one of the bench.
#[derive(Parser)]
struct GateArgs {
    #[command(flatten)]
    config: Config,
    /// Acknowledges decisions without recording them, to measure the other costs alone.
    #[arg(long)]
    log_off: bool,
}

/// Runs the gate over a simulated ECR.
pub(crate) async fn serve_gate(state: &str, flags: &[String]) {
    let ecr = Simulator::start_local(world()).await.unwrap();
    let store = Path::new(state).join("scangate.db").display().to_string();
    let mut arguments = vec!["serve".to_owned(), "--registry".to_owned(), "123456789012/eu-west-1".to_owned()];
    arguments.extend(["--ecr-endpoint".to_owned(), ecr.endpoint()]);
    if !flags.iter().any(|flag| flag == "--store") {
        arguments.extend(["--store".to_owned(), store]);
    }
    arguments.extend_from_slice(flags);
    let flags = GateArgs::parse_from(arguments);
    let config = Config { ecr_credentials: Credentials::Placeholder, ops_listen: OpsListen::None, ..flags.config };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    if flags.log_off {
        let store = Database::open(&config.store).await.unwrap();
        let log = Arc::new(NoopLog::new(SqlDecisionLog::new(&store)));
        scangate_server::serve_over(config, &store, log, listener, std::future::pending()).await.unwrap();
    } else {
        scangate_server::serve(config, listener, std::future::pending()).await.unwrap();
    }
}

/// The registry's content.
fn world() -> World {
    let mut world = World::demo();
    let findings = generate::basic_of(&["LOW"], 2_000, 7);
    world.push(ImageSpec::single("bench/large", "1").scan(ScanScript::complete(findings)));
    world
}

/// A server process and the image that is requested from it.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) process: &'a ServerProcess,
    pub(crate) image: &'a str,
    pub(crate) credentials: &'a ClientCredentials,
}

/// The credentials for a server without TLS.
pub(crate) const NO_CREDENTIALS: ClientCredentials = ClientCredentials { tls: None, authorization: None };

pub(crate) struct Measurement {
    pub(crate) load: LoadResult,
    pub(crate) cpu_micros_per_call: f64,
}

/// The request of a warm call.
pub(crate) fn evaluate_request(image: &str) -> EvaluateGateRequest {
    EvaluateGateRequest { image: image.to_owned(), environment: "prod".to_owned(), ..Default::default() }
}

impl Target<'_> {
    fn load(&self, rate: Option<f64>) -> Load {
        let request = evaluate_request(self.image);
        Load {
            connections: 8,
            calls_per_connection: 16,
            duration: LOAD_DURATION,
            rate,
            credentials: self.credentials.clone(),
            ..Load::single(&self.process.address, METHOD, &request)
        }
    }

    pub(crate) async fn measure(&self, rate: Option<f64>) -> Measurement {
        let cpu_before = cpu_seconds(&self.process.pid());
        let load = self.load(rate).run().await;
        let calls = load.calls_per_second * LOAD_DURATION.as_secs_f64();
        let cpu = cpu_seconds(&self.process.pid()) - cpu_before;
        Measurement { cpu_micros_per_call: cpu / calls * 1e6, load }
    }

    /// Makes one call, writes its response to a file for the peer, and returns its size in bytes.
    pub(crate) async fn record_response(&self, file: &Path) -> usize {
        let framed = self.load(None).call_once().await;
        let response = unframe(&framed);
        std::fs::write(file, response).unwrap();
        response.len()
    }
}

/// Measures two targets in turn, so that both share the machine with the same neighbours. Returns the pair with the
/// median ratio.
async fn compare(
    peer: Target<'_>,
    gate: Target<'_>,
    rate: Option<f64>,
    ratio: impl Fn(&Measurement, &Measurement) -> f64,
) -> (Measurement, Measurement) {
    let mut pairs = Vec::new();
    for _ in 0..ROUNDS {
        pairs.push((peer.measure(rate).await, gate.measure(rate).await));
    }
    pairs.sort_by(|(a, b), (c, d)| ratio(a, b).total_cmp(&ratio(c, d)));
    pairs.swap_remove(ROUNDS / 2)
}

pub(crate) fn throughput_ratio(peer: &Measurement, gate: &Measurement) -> f64 {
    gate.load.calls_per_second / peer.load.calls_per_second
}

fn p99_ratio(peer: &Measurement, gate: &Measurement) -> f64 {
    gate.load.p99.as_secs_f64() / peer.load.p99.as_secs_f64()
}

pub(crate) fn cpu_ratio(peer: &Measurement, gate: &Measurement) -> f64 {
    gate.cpu_micros_per_call / peer.cpu_micros_per_call
}

/// A gate to measure.
pub(crate) struct Gate<'a> {
    pub(crate) name: &'a str,
    /// The flags to start it with.
    pub(crate) flags: Vec<String>,
    /// The arguments of the peer that it is compared with, for TLS.
    pub(crate) peer_tls: Vec<String>,
    pub(crate) credentials: ClientCredentials,
}

impl<'a> Gate<'a> {
    /// A gate without TLS.
    pub(crate) fn plaintext(name: &'a str, flags: Vec<String>) -> Self {
        Self { name, flags, peer_tls: Vec::new(), credentials: NO_CREDENTIALS }
    }
}

/// Prints a table with a peer row and a gate row for each gate. Returns the least server CPU of a warm call, in µs.
pub(crate) async fn run(title: &str, gates: &[Gate<'_>]) -> f64 {
    let mut cheapest = f64::INFINITY;
    let directory = tempfile::tempdir().unwrap();
    let columns = [
        "server",
        "calls/s",
        "ratio to peer",
        "server CPU µs per call",
        "p50 µs",
        "p99 µs",
        "p99 at half load µs",
        "ratio to peer",
    ];
    print_header(title, &columns);
    for (index, gate) in gates.iter().enumerate() {
        let state = directory.path().join(index.to_string());
        std::fs::create_dir(&state).unwrap();
        let target = |process| Target { process, image: CLEAN_IMAGE, credentials: &gate.credentials };
        let process = ServerProcess::start_gate(&state, &gate.flags);
        let file = directory.path().join("response");
        let bytes = target(&process).record_response(&file).await;
        let peer = ServerProcess::start_peer(&file, &gate.peer_tls);
        let (peer, measured) = (target(&peer), target(&process));
        let full = compare(peer, measured, None, throughput_ratio).await;
        let half_rate = full.0.load.calls_per_second.min(full.1.load.calls_per_second) / 2.0;
        let half = compare(peer, measured, Some(half_rate), p99_ratio).await;
        let peer_name = format!("stock tonic, canned response of {bytes} bytes (peer)");
        print_server_row(&peer_name, (&full.0, &full.0), (&half.0, &half.0));
        print_server_row(gate.name, (&full.0, &full.1), (&half.0, &half.1));
        cheapest = cheapest.min(full.1.cpu_micros_per_call);
    }
    cheapest
}

/// Prints the cost of a warm call over each transport, against stock tonic over the same one.
pub(crate) async fn run_transports() {
    let identities = Identities::new();
    let gate = |transport: Transport| Gate {
        name: transport.name(),
        flags: identities.gate_flags(transport),
        peer_tls: identities.peer_arguments(transport),
        credentials: identities.client(transport),
    };
    run("Warm EvaluateGate by transport, decisions in SQLite", &Transport::ALL.map(gate)).await;
}

/// Prints the measurements of a server at full and at half load, each after that of the peer.
fn print_server_row(
    name: &str,
    (full_peer, full): (&Measurement, &Measurement),
    (half_peer, half): (&Measurement, &Measurement),
) {
    print_row(&[
        name.to_owned(),
        format!("{:.0}", full.load.calls_per_second),
        format!("{:.2}", throughput_ratio(full_peer, full)),
        format!("{:.1}", full.cpu_micros_per_call),
        full.load.p50.as_micros().to_string(),
        full.load.p99.as_micros().to_string(),
        half.load.p99.as_micros().to_string(),
        format!("{:.2}", p99_ratio(half_peer, half)),
    ]);
}

/// Returns the server CPU in µs per call, and its ratio to the first server's.
async fn cpu_against_first(gate: Target<'_>, first: Option<&ServerProcess>) -> (f64, f64) {
    let Some(process) = first else { return (gate.measure(None).await.cpu_micros_per_call, 1.0) };
    let peer = Target { process, image: CLEAN_IMAGE, credentials: &NO_CREDENTIALS };
    let (peer, gate) = compare(peer, gate, None, cpu_ratio).await;
    (gate.cpu_micros_per_call, cpu_ratio(&peer, &gate))
}

struct StoreSize {
    policies: usize,
    governing: usize,
    waivers: usize,
    image: &'static str,
}

const STORE_SIZES: [StoreSize; 6] = [
    StoreSize { policies: 10, governing: 10, waivers: 100, image: CLEAN_IMAGE },
    StoreSize { policies: 200, governing: 10, waivers: 10_000, image: CLEAN_IMAGE },
    StoreSize { policies: 200, governing: 10, waivers: 10_000, image: LARGE_IMAGE },
    StoreSize { policies: 10_000, governing: 10, waivers: 100, image: CLEAN_IMAGE },
    StoreSize { policies: 10, governing: 10, waivers: 100_000, image: CLEAN_IMAGE },
    StoreSize { policies: 200, governing: 200, waivers: 10_000, image: CLEAN_IMAGE },
];

/// Prints the cost of a warm call by store size. Each server is measured in turn with the first one, which is the peer.
pub(crate) async fn run_store_sizes() {
    let directory = tempfile::tempdir().unwrap();
    let columns = [
        "policies",
        "governing policies",
        "waivers",
        "findings in the image",
        "response bytes",
        "server CPU µs per call",
        "ratio to first row",
    ];
    print_header("Warm EvaluateGate by store size", &columns);
    let mut first = None;
    for (index, size) in STORE_SIZES.iter().enumerate() {
        let state = directory.path().join(index.to_string());
        std::fs::create_dir(&state).unwrap();
        let StoreSize { policies, governing, waivers, image } = *size;
        seeded_store::create(&state.join("scangate.db"), policies, governing, waivers).await;
        let process = ServerProcess::start_gate(&state, &[]);
        let gate = Target { process: &process, image, credentials: &NO_CREDENTIALS };
        // The first call fills the decision cache for the others.
        let bytes = gate.record_response(&directory.path().join("response")).await;
        let (cpu_micros, ratio) = cpu_against_first(gate, first.as_ref()).await;
        print_row(&[
            policies.to_string(),
            governing.to_string(),
            waivers.to_string(),
            (if image == LARGE_IMAGE { "2,000" } else { "0" }).to_owned(),
            bytes.to_string(),
            format!("{cpu_micros:.1}"),
            format!("{ratio:.2}"),
        ]);
        first.get_or_insert(process);
    }
}
