//! Checks one image and prints the reference to deploy, or the reasons against the deployment.
//!
//! Usage: `cargo run -p scangate-client --example check_image -- IMAGE [ENVIRONMENT]`
//!
//! Exit status: 0 if the image is allowed, 1 in every other case.
#![expect(clippy::print_stdout, reason = "the output of a program")]

use std::{env, process::ExitCode};

use scangate_client::{Client, ConnectOptions, Error, v1::EvaluateGateRequest};

const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(image) = arguments.next() else {
        eprintln!("usage: check_image IMAGE [ENVIRONMENT]");
        return ExitCode::FAILURE;
    };
    // Without an environment, the policies of every environment apply.
    let environment = arguments.next().unwrap_or_default();
    match check(EvaluateGateRequest { image, environment, ..Default::default() }).await {
        Ok(reference) => {
            println!("{reference}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("not allowed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the reference pinned by digest. A failure of any kind is an error: only an ALLOW permits a deployment.
async fn check(request: EvaluateGateRequest) -> Result<String, Error> {
    let address = env::var("SCANGATE_ADDRESS").unwrap_or_else(|_| DEFAULT_ADDRESS.to_owned());
    let client = Client::connect(ConnectOptions::new(address)).await?;
    let decision = client.evaluate(request).await?;
    Ok(decision.require_allowed()?.to_owned())
}
