//! `scangate scan`: starts scans and watches their progress.

use std::{
    io::{self, ErrorKind, Write},
    time::Duration,
};

use clap::Subcommand;
use scangate_client::{
    Watch,
    v1::{
        ScanProgress, StartScanRequest, StartScanResponse, WatchScanRequest, WatchScanResponse,
        watch_scan_response::Event,
    },
};

use crate::{
    args::{ImageArgs, OutputFormat},
    error::CliError,
    format, json,
    outcome::CommandOutput,
    progress,
    report::{Report, Table},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ScanCommand {
    /// Start a scan of an image, or join the running one.
    Start(ImageArgs),
    /// Watch the scan of an image until it ends. Shows a progress bar on a terminal, one line per change otherwise. With
    /// --output json, prints one message per line.
    Watch(ImageArgs),
}

impl ScanCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        match self {
            Self::Start(image) => start(image, session).await,
            Self::Watch(image) => watch(image, session).await,
        }
    }
}

async fn start(image: ImageArgs, session: &Session) -> Result<CommandOutput, CliError> {
    let request = StartScanRequest { image: image.image, platforms: image.platform };
    let response = session.client.start_scan(request).await?;
    Ok(CommandOutput::success(session.render(&response, start_report)?))
}

fn start_report(response: &StartScanResponse) -> Report {
    let mut table = Table::new(&["PLATFORM", "DIGEST", "OUTCOME", "NEXT SCAN FROM", "DETAIL"]);
    for scan in &response.scans {
        table.row([
            format::platform(scan.platform.as_ref()),
            format::short_digest(&scan.digest),
            format::start_scan_outcome(scan.outcome),
            format::time(scan.next_scan_time),
            scan.detail.clone(),
        ]);
    }
    let mut report = Report::default();
    report.table(&table);
    report
}

async fn watch(image: ImageArgs, session: &Session) -> Result<CommandOutput, CliError> {
    let request = WatchScanRequest { image: image.image, platforms: image.platform };
    let mut watch = session.client.watch(request).await?;
    if session.is_interactive && session.output == OutputFormat::Table {
        show_progress_bar(&mut watch).await?;
    } else {
        print_lines(&mut watch, session.output).await?;
    }
    Ok(CommandOutput::success(String::new()))
}

/// Shows a bar while the scans run, and prints a line for each scan that has ended.
async fn show_progress_bar(watch: &mut Watch<WatchScanRequest>) -> Result<(), CliError> {
    let bar = progress::new_bar();
    while let Some(message) = watch.next().await? {
        progress::update(&bar, &message);
        if let Some(Event::Progress(progress)) = &message.event
            && progress.ended
        {
            match bar.suspend(|| print_line(&progress_line(&message, progress))) {
                Ok(Stdout::Open) => {}
                Ok(Stdout::Closed) => break,
                Err(error) => return Err(error),
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

async fn print_lines(watch: &mut Watch<WatchScanRequest>, output: OutputFormat) -> Result<(), CliError> {
    while let Some(message) = watch.next().await? {
        let text = match (output, &message.event) {
            (OutputFormat::Table, Some(Event::Progress(progress))) => progress_line(&message, progress),
            (OutputFormat::Table, Some(Event::Heartbeat(_)) | None) => continue,
            (OutputFormat::Json, _) => json::compact(&message)? + "\n",
        };
        if print_line(&text)? == Stdout::Closed {
            break;
        }
    }
    Ok(())
}

/// The state of standard output after a write.
#[derive(Debug, PartialEq, Eq)]
enum Stdout {
    Open,
    Closed,
}

fn print_line(text: &str) -> Result<Stdout, CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Stdout::Open),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Stdout::Closed),
        Err(error) => Err(CliError::Output(error)),
    }
}

/// Returns a line such as `1/2 ended  linux/amd64 sha256:0123456789ab COMPLETE  PROVEN  2 CRITICAL  after 1m 5s`.
fn progress_line(message: &WatchScanResponse, progress: &ScanProgress) -> String {
    let mut report = Report::default();
    let watched_for = progress.watched_for.and_then(|watched| Duration::try_from(watched).ok()).unwrap_or_default();
    let manifest = progress::describe(progress);
    let scan = progress.manifest.as_ref().and_then(|manifest| manifest.scan.clone()).unwrap_or_default();
    let parts = [
        format!("{}/{} ended", message.ended_count, message.total_count),
        manifest,
        format::evidence(scan.evidence),
        format::severity_counts(&scan.severity_counts),
        format!("after {}", format::duration(watched_for)),
    ];
    report.line(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  "));
    report.into_text()
}
