//! Benchmarks of scan-gate, each compared with a peer in the same run on the same machine. Prints Markdown tables.
//!
//! `cargo build --release -p scangate-bench` builds the bench, its peer and the program of the memory table.
//! `target/release/scangate-bench` prints all tables; with table names as arguments it prints only those. `scangate-bench
//! compare PROGRAM…` compares the warm call of several builds of the bench.

mod build_comparison;
mod deciding;
mod fixtures;
mod grpc_bench;
mod load;
mod markdown_table;
mod noop_log;
mod process;
mod recording;
mod request_check;
mod seeded_store;
mod transport;

use std::process::Command;

use scangate_test_postgres::Cluster;
use tokio::runtime::{Builder, Runtime};

use self::grpc_bench::Gate;

/// The same allocator as the server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLES: [&str; 6] = ["deciding", "calls", "transports", "memory", "growth", "recording"];

fn main() {
    // Without a subscriber, tracing would query the log crate for every event. A server with logging does not.
    tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new()).unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve-gate", state, ..] => multi_thread().block_on(grpc_bench::serve_gate(state, &arguments[2..])),
        ["compare", programs @ ..] => over_sockets(build_comparison::run(programs)),
        [] => run_in_processes(),
        names => TABLES.iter().filter(|table| names.contains(table)).for_each(|table| run(table)),
    }
}

/// Prints all tables, each in its own process, so that memory from one does not affect the next.
fn run_in_processes() {
    for table in TABLES {
        let status = Command::new(std::env::current_exe().unwrap()).arg(table).status().unwrap();
        assert!(status.success(), "{table}: {status}");
    }
}

fn run(table: &str) {
    match table {
        "deciding" => deciding::run(),
        "calls" => over_sockets(run_calls()),
        "transports" => over_sockets(grpc_bench::run_transports()),
        "memory" => process::run_program("scangate-bench-memory"),
        "growth" => over_sockets(grpc_bench::run_store_sizes()),
        "recording" => multi_thread().block_on(recording::run()),
        _ => unreachable!("{table} is not in TABLES"),
    }
}

async fn run_calls() {
    let cluster = Cluster::start();
    let postgres = vec!["--store".to_owned(), cluster.database()];
    let gates = [
        Gate::plaintext("gate, decisions not recorded", vec!["--log-off".to_owned()]),
        Gate::plaintext("gate, decisions in SQLite", Vec::new()),
        Gate::plaintext("gate, decisions in PostgreSQL", postgres),
    ];
    let cheapest_call_micros = grpc_bench::run("Warm EvaluateGate over sockets", &gates).await;
    request_check::print(cheapest_call_micros);
}

/// Runs a load generator, with one thread.
fn over_sockets(load: impl Future<Output = ()>) {
    process::leave_first_core();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(load);
}

/// The runtime of the server: as many threads as cores.
fn multi_thread() -> Runtime {
    Builder::new_multi_thread().enable_all().build().unwrap()
}
