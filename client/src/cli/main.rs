//! `scangate`: the command line client of scan-gate. Its exit status is part of its interface: see [`outcome`].

mod args;
mod check;
mod decision_report;
mod error;
mod findings;
mod format;
mod json;
mod outcome;
mod policy;
mod policy_file;
mod policy_report;
mod progress;
mod report;
mod scan;
mod scanning;
mod session;
mod simulate;

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    args::{Cli, Command},
    error::CliError,
    outcome::{CommandOutput, Outcome},
    report::Report,
    session::Session,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If the help or usage text cannot be written, the exit status remains.
            let _ = error.print();
            return if error.use_stderr() { Outcome::Usage } else { Outcome::Success }.into();
        }
    };
    let outcome = match run(cli) {
        Ok(output) => print_output(&output),
        Err(error) => print_error(&error),
    };
    outcome.into()
}

fn run(cli: Cli) -> Result<CommandOutput, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(async {
        let session = Session::open(&cli.global)?;
        match cli.command {
            Command::Check(check) => check.run(&session).await,
            Command::Simulate(simulate) => simulate.run(&session).await,
            Command::Findings(findings) => findings.run(&session).await,
            Command::Scan(scan) => scan.run(&session).await,
            Command::Scanning(scanning) => scanning.run(&session).await,
            Command::Policy(policy) => policy.run(&session).await,
        }
    })
}

/// Prints the output. A reader that closes the pipe does not change the outcome; any other write error is a failure.
fn print_output(output: &CommandOutput) -> Outcome {
    let mut warnings = Report::default();
    for warning in &output.warnings {
        warnings.line(&format!("error: {warning}"));
    }
    print_stderr(warnings);
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(output.text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Ok(()) => output.outcome,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => output.outcome,
        Err(error) => output.outcome.max(print_error(&CliError::Output(error))),
    }
}

fn print_error(error: &CliError) -> Outcome {
    print_stderr(error.report());
    error.outcome()
}

fn print_stderr(report: Report) {
    // If standard error cannot be written, the exit status remains.
    let _ = io::stderr().lock().write_all(report.into_text().as_bytes());
}
