//! `scangate` as a pipeline runs it: exit status, standard output and standard error.

mod batch;
mod check;
mod errors;
mod hostile_text;
mod identity;
mod policies;
mod scans;
mod simulate;
mod terminal;

use std::process::{Output, Stdio};

use scangate_client::v1::*;
use tokio::process::Command;

use crate::{
    fake_server::{self, FakeServer},
    fixtures::{IMAGE, evaluate_response},
};

fn scangate(server: &FakeServer) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scangate"));
    command.env_remove("SCANGATE_TOKEN").env("SCANGATE_SERVER", server.url()).stdin(Stdio::null());
    command
}

async fn run(server: &FakeServer, arguments: &[&str]) -> Output {
    scangate(server).args(arguments).output().await.unwrap()
}

/// Runs `scangate check` with one image against a server that responds with the decision.
async fn check(decision: Decision, arguments: &[&str]) -> Output {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision))]);
    run(&server, &[&["check", IMAGE], arguments].concat()).await
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}
