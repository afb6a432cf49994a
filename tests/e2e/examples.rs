//! The example programs of the client against the demo: exit status and essential output.

use std::process::Output;

use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    demo::demo,
    harness::tools::{Server, binary, free_address, stdout},
};

const ALLOWED: &str = "shop/api:2.0.0";
const DENIED: &str = "shop/web:1.4.2";
const TWO_PLATFORMS: &str = "shop/gateway:1.1.0";
const UNSCANNED: &str = "shop/search:5.0.0";

async fn start_demo() -> (Server, TempDir) {
    let state = tempfile::tempdir().unwrap();
    (demo(state.path()).await, state)
}

async fn run(example: &str, address: impl std::fmt::Display, arguments: &[&str]) -> Output {
    Command::new(binary(&format!("examples/{example}")))
        .args(arguments)
        .env("SCANGATE_ADDRESS", format!("http://{address}"))
        .output()
        .await
        .unwrap()
}

fn streams(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn check_image_prints_reference_of_allowed_image() {
    let (demo, _state) = start_demo().await;

    let output = stdout(&run("check_image", demo.address, &[ALLOWED, "prod"]).await);

    let (name, digest) = output.trim_end().split_once("@sha256:").unwrap();
    assert!(name.ends_with("/shop/api"), "{output}");
    assert_eq!(digest.len(), 64, "{output}");
}

#[tokio::test]
async fn check_image_fails_with_reasons_of_denied_image() {
    let (demo, _state) = start_demo().await;

    let (status, stdout, stderr) = streams(&run("check_image", demo.address, &[DENIED]).await);

    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("not allowed: the image is denied: "), "{stderr}");
}

#[tokio::test]
async fn check_release_deploys_allowed_release() {
    let (demo, _state) = start_demo().await;

    let output = stdout(&run("check_release", demo.address, &[ALLOWED, TWO_PLATFORMS]).await);

    assert_eq!(output.lines().filter(|line| line.starts_with("deploy  ") && line.contains("@sha256:")).count(), 2);
}

#[tokio::test]
async fn check_release_with_one_denied_image_deploys_none() {
    let (demo, _state) = start_demo().await;

    let (status, stdout, stderr) = streams(&run("check_release", demo.address, &[ALLOWED, DENIED]).await);

    assert_eq!(status, Some(1));
    assert!(stdout.contains("VERDICT_ALLOW") && stdout.contains("VERDICT_DENY"), "{stdout}");
    assert!(!stdout.contains("deploy"), "{stdout}");
    assert!(stderr.starts_with("nothing deployed: "), "{stderr}");
}

#[tokio::test]
async fn watch_scan_ends_with_scans_of_all_platforms() {
    let (demo, _state) = start_demo().await;

    let output = stdout(&run("watch_scan", demo.address, &[TWO_PLATFORMS]).await);

    let last = output.lines().last().unwrap();
    assert!(last.starts_with("2 of 2 ended  sha256:") && last.ends_with("SCAN_STATUS_COMPLETE"), "{output}");
}

#[tokio::test]
async fn watch_scan_of_unscanned_image_fails() {
    let (demo, _state) = start_demo().await;

    let (status, _stdout, stderr) = streams(&run("watch_scan", demo.address, &[UNSCANNED]).await);

    assert_eq!((status, stderr.as_str()), (Some(1), "the findings of the image are not proven\n"));
}

#[tokio::test]
async fn unreachable_server_fails_every_example() {
    for example in ["check_image", "check_release", "watch_scan"] {
        let (status, stdout, stderr) = streams(&run(example, free_address(), &[ALLOWED]).await);

        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{example}");
        assert!(stderr.contains("cannot reach the server at "), "{example}: {stderr}");
    }
}
