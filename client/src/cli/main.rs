//! `scangate`: the gate for people and pipelines. Its exit status is part of its interface: see [`outcome`].

mod args;
mod check;
mod decision_page;
mod failure;
mod findings;
mod json;
mod outcome;
mod page;
mod policy;
mod policy_file;
mod policy_page;
mod progress;
mod scan;
mod scanning;
mod session;
mod words;

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    args::{Cli, Command},
    failure::Failure,
    outcome::{Answer, Outcome},
    page::Page,
    session::Session,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where nobody reads the help, nothing is lost.
            let _ = error.print();
            return if error.use_stderr() { Outcome::Usage } else { Outcome::Success }.into();
        }
    };
    let outcome = match run(cli) {
        Ok(answer) => print(&answer),
        Err(failure) => complain(&failure),
    };
    outcome.into()
}

fn run(cli: Cli) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    runtime.block_on(async {
        let session = Session::open(&cli.global)?;
        match cli.command {
            Command::Check(check) => check.run(&session).await,
            Command::Findings(findings) => findings.run(&session).await,
            Command::Scan(scan) => scan.run(&session).await,
            Command::Scanning(scanning) => scanning.run(&session).await,
            Command::Policy(policy) => policy.run(&session).await,
        }
    })
}

/// Prints the answer. Its outcome stands whether or not anybody reads it; output that is lost for another reason fails.
fn print(answer: &Answer) -> Outcome {
    let mut remarks = Page::default();
    for remark in &answer.remarks {
        remarks.line(&format!("error: {remark}"));
    }
    tell(remarks);
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(answer.text.as_bytes()).and_then(|()| stdout.flush());
    match printed {
        Ok(()) => answer.outcome,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => answer.outcome,
        Err(error) => answer.outcome.max(complain(&Failure::Output(error))),
    }
}

fn complain(failure: &Failure) -> Outcome {
    tell(failure.page());
    failure.outcome()
}

fn tell(page: Page) {
    // Without a standard error there is nobody to tell; the exit status still does.
    let _ = io::stderr().lock().write_all(page.into_text().as_bytes());
}
