//! What a warm EvaluateGate costs over real sockets, beside a stock tonic call whose answer is made beforehand and as long.
//!
//! Servers and generator are processes of their own, pinned to a core each where there are two.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use clap::{Parser, ValueEnum as _};
use prost::Message;
use scangate_ecr_simulator::{ImageSpec, ScanScript, Simulator, World, generate};
use scangate_proto::v1::EvaluateGateRequest;
use scangate_server::{config::Config, decision_log::sql::SqlDecisionLog, registry::ecr::Credentials, sql::Database};
use tokio::net::TcpListener;

use crate::{
    filled,
    load::{Load, Outcome, framed},
    memory::Likeness,
    table,
    unrecorded::Unrecorded,
};

const METHOD: &str = "/scangate.v1.ScanGateService/EvaluateGate";
const IMAGE: &str = "shop/api:2.0.0";
/// An image with two thousand findings, few of which any policy minds.
const CROWD: &str = "bench/crowd:1";
/// Images that are served where there shall be many.
pub(crate) const MANY: usize = 120;
/// Clock ticks of `/proc`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const ROUNDS: usize = 5;

/// A server in a process of its own, stopped when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
}

impl Process {
    /// Starts this very program as something else.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::run(&std::env::current_exe().unwrap(), arguments)
    }

    /// Starts the peer, which answers what the file holds.
    fn peer(file: &Path) -> Self {
        let program = std::env::current_exe().unwrap().with_file_name("scangate-bench-peer");
        assert!(program.exists(), "`cargo build --release -p scangate-bench` makes the peer, too");
        Self::run(&program, &[file.to_str().unwrap()])
    }

    /// Starts a program on the first core, which says where it listens.
    fn run(program: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset, of util-linux, pins the servers to a core");
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    /// Its number, as `/proc` names it.
    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn cpu(&self) -> f64 {
        cpu(&self.pid())
    }
}

/// Seconds of CPU that a process has taken, by its number or `self`.
pub(crate) fn cpu(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which may hold anything, `utime` and `stime` are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
    /// Decisions go nowhere: what is left is what the rest costs.
    #[arg(long)]
    log_off: bool,
    /// Serves many images with many findings each, too.
    #[arg(long)]
    many: Option<Likeness>,
}

/// The gate over a simulated ECR, as a process.
pub(crate) async fn serve_gate(state: &str, flags: &[String]) {
    let mut world = World::demo();
    world.push(ImageSpec::single("bench/crowd", "1").scan(ScanScript::complete(generate::basic_of(
        &["LOW"],
        2_000,
        7,
    ))));
    let many = flags.iter().skip_while(|flag| *flag != "--many").nth(1);
    if let Some(likeness) = many.map(|word| Likeness::from_str(word, false).unwrap()) {
        for number in 0..MANY {
            let image = ImageSpec::single("bench/many", &number.to_string());
            world.push(image.scan(ScanScript::complete(likeness.findings(number))));
        }
    }
    let ecr = Simulator::start_local(world).await.unwrap();
    let store = Path::new(state).join("scangate.db").display().to_string();
    let mut arguments = vec!["serve".to_owned(), "--registry".to_owned(), "123456789012/eu-west-1".to_owned()];
    arguments.extend(["--ecr-endpoint".to_owned(), ecr.endpoint()]);
    if !flags.iter().any(|flag| flag == "--store") {
        arguments.extend(["--store".to_owned(), store]);
    }
    arguments.extend_from_slice(flags);
    let flags = Flags::parse_from(arguments);
    let config = Config { ecr_credentials: Credentials::Placeholder, ..flags.config };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    if flags.log_off {
        let store = Database::open(&config.store).await.unwrap();
        let log = Arc::new(Unrecorded::over(SqlDecisionLog::new(&store)));
        scangate_server::serve_over(config, &store, log, listener, std::future::pending()).await.unwrap();
    } else {
        scangate_server::serve(config, listener, std::future::pending()).await.unwrap();
    }
}

/// The message that asks about an image.
pub(crate) fn question(image: &str) -> bytes::Bytes {
    let question =
        EvaluateGateRequest { image: image.to_owned(), environment: "prod".to_owned(), ..Default::default() };
    framed(&question.encode_to_vec())
}

/// As much as will go, and at half of that.
fn load(process: &Process, image: &str, rate: Option<f64>) -> Load {
    Load {
        address: process.address.clone(),
        method: METHOD.to_owned(),
        message: question(image),
        connections: 8,
        calls: 16,
        lasts: Duration::from_secs(3),
        rate,
    }
}

struct Measured {
    outcome: Outcome,
    cpu_per_call: f64,
}

async fn measure(process: &Process, image: &str, rate: Option<f64>) -> Measured {
    let before = process.cpu();
    let outcome = load(process, image, rate).run().await;
    let calls = outcome.per_second * 3.0;
    Measured { cpu_per_call: (process.cpu() - before) / calls * 1e6, outcome }
}

/// Both in turn, each about its image, so that they meet the same neighbours; the pair with the median ratio counts.
async fn compare(
    (peer, peers): (&Process, &str),
    (gate, gates): (&Process, &str),
    rate: Option<f64>,
    ratio: impl Fn(&Measured, &Measured) -> f64,
) -> (Measured, Measured) {
    let mut pairs = Vec::new();
    for _ in 0..ROUNDS {
        pairs.push((measure(peer, peers, rate).await, measure(gate, gates, rate).await));
    }
    pairs.sort_by(|(a, b), (c, d)| ratio(a, b).total_cmp(&ratio(c, d)));
    pairs.swap_remove(ROUNDS / 2)
}

/// Asks once, and keeps the answer for the peer.
async fn record(process: &Process, image: &str, file: &Path) -> usize {
    let once = Load { connections: 1, calls: 1, lasts: Duration::ZERO, ..load(process, image, None) };
    let socket = tokio::net::TcpStream::connect(&process.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    let answer = once.call(&mut sender).await;
    std::fs::write(file, &answer[5..]).unwrap();
    answer.len() - 5
}

/// A row for each of some gates, each a name and the flags that it is started with.
pub(crate) async fn run(gates: &[(&str, Vec<String>)]) {
    let folder = tempfile::tempdir().unwrap();
    table::head(
        "A warm EvaluateGate over sockets",
        &[
            "server",
            "calls/s",
            "of the peer",
            "server CPU µs per call",
            "p50 µs",
            "p99 µs",
            "p99 at half load µs",
            "of the peer",
        ],
    );
    for (index, (name, flags)) in gates.iter().enumerate() {
        let state = folder.path().join(index.to_string());
        std::fs::create_dir(&state).unwrap();
        let mut arguments = vec!["serve-gate", state.to_str().unwrap()];
        arguments.extend(flags.iter().map(String::as_str));
        let gate = Process::start(&arguments);
        let file = folder.path().join("answer");
        let bytes = record(&gate, IMAGE, &file).await;
        let peer = Process::peer(&file);
        let throughput = |peer: &Measured, gate: &Measured| gate.outcome.per_second / peer.outcome.per_second;
        let (canned, warm) = compare((&peer, IMAGE), (&gate, IMAGE), None, throughput).await;
        let half = canned.outcome.per_second.min(warm.outcome.per_second) / 2.0;
        let latency =
            |peer: &Measured, gate: &Measured| gate.outcome.p99.as_secs_f64() / peer.outcome.p99.as_secs_f64();
        let (canned_half, warm_half) = compare((&peer, IMAGE), (&gate, IMAGE), Some(half), latency).await;
        let line = |name: String, measured: &Measured, half: &Measured| {
            vec![
                name,
                format!("{:.0}", measured.outcome.per_second),
                format!("{:.2}", measured.outcome.per_second / canned.outcome.per_second),
                format!("{:.1}", measured.cpu_per_call),
                measured.outcome.p50.as_micros().to_string(),
                measured.outcome.p99.as_micros().to_string(),
                half.outcome.p99.as_micros().to_string(),
                format!("{:.2}", half.outcome.p99.as_secs_f64() / canned_half.outcome.p99.as_secs_f64()),
            ]
        };
        table::row(&line(format!("stock tonic, canned answer of {bytes} bytes (peer)"), &canned, &canned_half));
        table::row(&line((*name).to_owned(), &warm, &warm_half));
    }
}

/// What a warm call costs as the store grows: servers over stores that were filled beforehand, each in turn with
/// the first, which is the peer.
pub(crate) async fn growth() {
    let folder = tempfile::tempdir().unwrap();
    table::head(
        "A warm EvaluateGate as the store grows",
        &[
            "policies",
            "of them govern",
            "waivers",
            "findings of the image",
            "answer, bytes",
            "server CPU µs per call",
            "of the first",
        ],
    );
    let stores = [
        (10, 10, 100, IMAGE),
        (200, 10, 10_000, IMAGE),
        (200, 10, 10_000, CROWD),
        (10_000, 10, 100, IMAGE),
        (10, 10, 100_000, IMAGE),
        (200, 200, 10_000, IMAGE),
    ];
    let mut first = None;
    for (index, (policies, governing, waivers, image)) in stores.into_iter().enumerate() {
        let state = folder.path().join(index.to_string());
        std::fs::create_dir(&state).unwrap();
        filled::fill(&state.join("scangate.db"), policies, governing, waivers).await;
        let gate = Process::start(&["serve-gate", state.to_str().unwrap()]);
        // The first call decides, the others have it from there.
        let bytes = record(&gate, image, &folder.path().join("answer")).await;
        let cost = |one: &Measured, other: &Measured| other.cpu_per_call / one.cpu_per_call;
        let (each, times) = match &first {
            None => (measure(&gate, image, None).await.cpu_per_call, 1.0),
            Some(first) => {
                let (one, other) = compare((first, IMAGE), (&gate, image), None, cost).await;
                (other.cpu_per_call, cost(&one, &other))
            }
        };
        table::row(&[
            policies.to_string(),
            governing.to_string(),
            waivers.to_string(),
            (if image == CROWD { "2,000" } else { "0" }).to_owned(),
            bytes.to_string(),
            format!("{each:.1}"),
            format!("{times:.2}"),
        ]);
        first.get_or_insert(gate);
    }
}
