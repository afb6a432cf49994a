//! Watches the scan of an image until it ends.
//!
//! Usage: `cargo run -p scangate-client --example watch_scan -- IMAGE`
//!
//! Exit status: 0 if the scan of every manifest ended with proven findings, 1 in every other case. Status 0 does not permit
//! a deployment: evaluate the image next, as the example `check_image` does.
#![expect(clippy::print_stdout, reason = "the output of a program")]

use std::{collections::BTreeMap, env, process::ExitCode};

use scangate_client::{
    Client, ConnectOptions, Error,
    v1::{Evidence, WatchScanRequest, watch_scan_response::Event},
};

const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(image) = env::args().nth(1) else {
        eprintln!("usage: watch_scan IMAGE");
        return ExitCode::FAILURE;
    };
    match watch(image).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("the findings of the image are not proven");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cannot watch the scan: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns true if the findings of every manifest are proven when the stream ends.
async fn watch(image: String) -> Result<bool, Error> {
    let address = env::var("SCANGATE_ADDRESS").unwrap_or_else(|_| DEFAULT_ADDRESS.to_owned());
    let client = Client::connect(ConnectOptions::new(address)).await?;
    let mut watch = client.watch(WatchScanRequest { image, ..Default::default() }).await?;
    let mut evidence = BTreeMap::new();
    while let Some(message) = watch.next().await? {
        let Some(Event::Progress(progress)) = message.event else { continue };
        let manifest = progress.manifest.unwrap_or_default();
        let scan = manifest.scan.unwrap_or_default();
        println!(
            "{} of {} ended  {}  {}",
            message.ended_count,
            message.total_count,
            manifest.digest,
            scan.status().as_str_name()
        );
        evidence.insert(manifest.digest, scan.evidence());
    }
    // A stream without messages proves nothing.
    Ok(!evidence.is_empty() && evidence.values().all(|evidence| *evidence == Evidence::Proven))
}
