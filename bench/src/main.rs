//! What scan-gate costs, beside a peer measured in the same run on the same machine. Prints tables in Markdown.
//!
//! `cargo build --release -p scangate-bench` makes it and its peer, `target/release/scangate-bench` prints all tables, and with the
//! names of some, only those.

mod calls;
mod deciding;
mod filled;
mod given;
mod load;
mod memory;
mod recording;
mod table;
mod unrecorded;

use std::process::Command;

use scangate_test_postgres::Cluster;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLES: [&str; 5] = ["deciding", "calls", "memory", "growth", "recording"];

fn main() {
    // Without one, tracing would ask the log crate about everything, which a program that logs does not.
    tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new()).unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve-gate", state, ..] => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(calls::serve_gate(state, &arguments[2..]));
        }
        // Each table in a process of its own, so that none has what another one left in memory.
        [] => {
            for table in TABLES {
                let ended = Command::new(std::env::current_exe().unwrap()).arg(table).status().unwrap();
                assert!(ended.success(), "{table}: {ended}");
            }
        }
        tables => {
            let asked = |name: &str| tables.contains(&name);
            if asked("deciding") {
                deciding::run();
            }
            if asked("calls") {
                runtime().block_on(async {
                    let cluster = Cluster::start();
                    let on_postgres = vec!["--store".to_owned(), cluster.database()];
                    calls::run(&[
                        ("the gate, decisions recorded nowhere", vec!["--log-off".to_owned()]),
                        ("the gate, decisions in SQLite", Vec::new()),
                        ("the gate, decisions in PostgreSQL", on_postgres),
                    ])
                    .await;
                });
            }
            if asked("memory") {
                runtime().block_on(memory::run());
            }
            if asked("growth") {
                runtime().block_on(calls::growth());
            }
            if asked("recording") {
                // As the server runs: on as many threads as there are processors.
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
                runtime.block_on(recording::run());
            }
        }
    }
}
