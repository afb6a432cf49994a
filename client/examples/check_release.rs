//! Checks the images of a release and deploys them only if all of them are allowed.
//!
//! Usage: `cargo run -p scangate-client --example check_release -- IMAGE...`
//!
//! Exit status: 0 if every image was deployed, 1 in every other case.
#![expect(clippy::print_stdout, reason = "the output of a program")]

use std::{env, process::ExitCode};

use scangate_client::{
    Client, ConnectOptions, Error,
    v1::{BatchEvaluateGateRequest, EvaluateGateRequest},
};

const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

#[tokio::main]
async fn main() -> ExitCode {
    let images: Vec<String> = env::args().skip(1).collect();
    match release(&images).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nothing deployed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn release(images: &[String]) -> Result<(), Error> {
    let address = env::var("SCANGATE_ADDRESS").unwrap_or_else(|_| DEFAULT_ADDRESS.to_owned());
    let client = Client::connect(ConnectOptions::new(address)).await?;
    let requests = images.iter().map(|image| EvaluateGateRequest { image: image.clone(), ..Default::default() });
    let batch = client.batch_evaluate(BatchEvaluateGateRequest { requests: requests.collect() }).await?;
    for (image, item) in images.iter().zip(batch.items()) {
        match item {
            Ok(decision) => println!("{image}  {}", decision.verdict().as_str_name()),
            Err(rejection) => println!("{image}  {rejection}"),
        }
    }
    // One check for the whole release, before the first deployment.
    for reference in batch.require_allowed()? {
        deploy(reference);
    }
    Ok(())
}

/// Stands for the deployment of one image by its pinned reference.
fn deploy(reference: &str) {
    println!("deploy  {reference}");
}
