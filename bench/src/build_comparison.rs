//! The warm EvaluateGate of several builds of the bench, measured in turn, to decide about a measure that only some of them
//! have.

use std::path::Path;

use scangate_test_postgres::Cluster;

use crate::{
    grpc_bench::{CLEAN_IMAGE, Measurement, NO_CREDENTIALS, ROUNDS, Target, cpu_ratio, throughput_ratio},
    markdown_table::{print_header, print_row},
    process::ServerProcess,
};

/// Prints a row for each build: without recording, with SQLite and with PostgreSQL. Each round measures the peer and all builds.
pub(crate) async fn run(programs: &[&str]) {
    let cluster = Cluster::start();
    let columns = ["build", "calls/s", "ratio to peer", "server CPU µs per call", "CPU ratio to first build"];
    for store in ["not recorded", "recorded in SQLite", "recorded in PostgreSQL"] {
        let flags = || match store {
            "not recorded" => vec!["--log-off".to_owned()],
            "recorded in PostgreSQL" => vec!["--store".to_owned(), cluster.database()],
            _ => Vec::new(),
        };
        print_header(&format!("Warm EvaluateGate by build, {store}"), &columns);
        compare(programs, flags).await;
    }
}

/// Measures builds, each started with flags of its own.
async fn compare(programs: &[&str], flags: impl Fn() -> Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let start = |(index, program): (usize, &&str)| {
        let state = directory.path().join(index.to_string());
        std::fs::create_dir(&state).unwrap();
        ServerProcess::start_gate_of(Path::new(program), &state, &flags())
    };
    let mut servers: Vec<ServerProcess> = programs.iter().enumerate().map(start).collect();
    let file = directory.path().join("response");
    for process in &servers {
        Target { process, image: CLEAN_IMAGE, credentials: &NO_CREDENTIALS }.record_response(&file).await;
    }
    servers.insert(0, ServerProcess::start_peer(&file, &[]));

    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = Vec::new();
        for process in &servers {
            round.push(Target { process, image: CLEAN_IMAGE, credentials: &NO_CREDENTIALS }.measure(None).await);
        }
        rounds.push(round);
    }
    for (index, name) in ["peer"].iter().chain(programs).enumerate() {
        let median_of = |figure: &dyn Fn(&[Measurement]) -> f64| median(rounds.iter().map(|round| figure(round)));
        print_row(&[
            (*name).to_owned(),
            format!("{:.0}", median_of(&|round| round[index].load.calls_per_second)),
            format!("{:.2}", median_of(&|round| throughput_ratio(&round[0], &round[index]))),
            format!("{:.1}", median_of(&|round| round[index].cpu_micros_per_call)),
            format!("{:.2}", median_of(&|round| cpu_ratio(&round[1], &round[index]))),
        ]);
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
