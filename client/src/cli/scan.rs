//! `scangate scan`: start scans and follow them.

use std::{
    io::{self, ErrorKind, Write},
    time::Duration,
};

use clap::Subcommand;
use scangate_client::{
    ScanWatch,
    v1::{StartScanRequest, StartScanResponse, WatchScanRequest, WatchScanResponse},
};

use crate::{
    args::{ImageArgs, Output},
    failure::Failure,
    json,
    outcome::Answer,
    page::{Page, Table},
    progress,
    session::Session,
    words,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ScanCommand {
    /// Start a scan of an image, or join the one that runs.
    Start(ImageArgs),
    /// Follow the scan of an image to its end: a bar on a terminal, lines otherwise; with JSON one message a line.
    Watch(ImageArgs),
}

impl ScanCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<Answer, Failure> {
        match self {
            Self::Start(image) => start(image, session).await,
            Self::Watch(image) => watch(image, session).await,
        }
    }
}

async fn start(image: ImageArgs, session: &Session) -> Result<Answer, Failure> {
    let request = StartScanRequest { image: image.image, platforms: image.platform };
    let answer = session.client.start_scan(request).await?;
    Ok(Answer::success(session.render(&answer, start_page)?))
}

fn start_page(answer: &StartScanResponse) -> Page {
    let mut table = Table::new(&["PLATFORM", "DIGEST", "OUTCOME", "NEXT SCAN FROM", "DETAIL"]);
    for scan in &answer.scans {
        table.row([
            words::platform(scan.platform.as_ref()),
            words::short_digest(&scan.digest),
            words::start_scan_outcome(scan.outcome),
            words::time(scan.next_scan_possible_at),
            scan.detail.clone(),
        ]);
    }
    let mut page = Page::default();
    page.table(&table);
    page
}

async fn watch(image: ImageArgs, session: &Session) -> Result<Answer, Failure> {
    let request = WatchScanRequest { image: image.image, platforms: image.platform };
    let mut watch = session.client.watch_scan(request).await?;
    if session.watched && session.output == Output::Table {
        draw(&mut watch).await?;
    } else {
        print_lines(&mut watch, session.output).await?;
    }
    Ok(Answer::success(String::new()))
}

/// The bar moves while the scans run; what has ended stays, line by line.
async fn draw(watch: &mut ScanWatch) -> Result<(), Failure> {
    let bar = progress::bar();
    while let Some(message) = watch.next().await? {
        progress::show(&bar, &message);
        if message.progress.as_ref().is_some_and(|progress| progress.ended) {
            match bar.suspend(|| print_line(&line(&message))) {
                Ok(Reader::Listens) => {}
                Ok(Reader::Gone) => break,
                Err(error) => return Err(error),
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

async fn print_lines(watch: &mut ScanWatch, output: Output) -> Result<(), Failure> {
    while let Some(message) = watch.next().await? {
        let text = match output {
            Output::Table => line(&message),
            Output::Json => json::compact(&message)? + "\n",
        };
        if print_line(&text)? == Reader::Gone {
            break;
        }
    }
    Ok(())
}

/// Whether anybody still reads what is printed.
#[derive(Debug, PartialEq, Eq)]
enum Reader {
    Listens,
    Gone,
}

fn print_line(text: &str) -> Result<Reader, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::Output(error)),
    }
}

/// E.g. `1/2 ended  linux/amd64 sha256:0123456789ab COMPLETE  PROVEN  2 CRITICAL  after 1m 5s`.
fn line(message: &WatchScanResponse) -> String {
    let mut page = Page::default();
    let progress = message.progress.clone().unwrap_or_default();
    let watched_for = progress.watched_for.and_then(|watched| Duration::try_from(watched).ok()).unwrap_or_default();
    let described = progress::describe(&progress);
    let scan = progress.manifest.and_then(|manifest| manifest.scan).unwrap_or_default();
    let words = [
        format!("{}/{} ended", message.ended, message.total),
        described,
        words::evidence(scan.evidence),
        words::severity_counts(&scan.severity_counts),
        format!("after {}", words::duration(watched_for)),
    ];
    page.line(&words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  "));
    page.into_text()
}
