//! Failed calls and invalid command lines: exit status and messages.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{run, status, stderr, stdout};
use crate::{
    fake_server,
    fixtures::{IMAGE, error_status, invalid_field},
};

#[tokio::test]
async fn unreachable_server_exits_3() {
    let server = fake_server::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let output = run(&server, &["check", IMAGE, "--server", &format!("http://{unused}")]).await;

    assert_eq!(status(&output), 3);
    assert!(stderr(&output).starts_with(&format!("error: cannot reach the server at http://{unused}")));
    assert_eq!(stdout(&output), "");
}

#[tokio::test]
async fn timeout_exits_3() {
    let server = fake_server::start().await;

    let output = run(&server, &["check", IMAGE, "--timeout", "80ms"]).await;

    assert_eq!(status(&output), 3);
    assert_eq!(stderr(&output), "error: no response from the server within 80 ms\n");
}

#[tokio::test]
async fn rejection_exits_3_with_reason() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(error_status(Code::NotFound, "IMAGE_NOT_FOUND"))]);

    let output = run(&server, &["check", IMAGE]).await;

    assert_eq!(status(&output), 3);
    assert_eq!(stderr(&output), "error: IMAGE_NOT_FOUND happened (IMAGE_NOT_FOUND)\n");
}

#[tokio::test]
async fn invalid_fields_exit_64_and_are_listed() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(invalid_field("image", "has no tag"))]);

    let output = run(&server, &["check", "???"]).await;

    assert_eq!(status(&output), 64);
    assert_eq!(stderr(&output), "error: invalid fields (INVALID_FIELDS)\n  image: has no tag\n");
}

#[tokio::test]
async fn fields_in_message_are_listed_once() {
    let server = fake_server::start().await;
    let mut details = tonic_types::ErrorDetails::with_bad_request_violation("image", "has no tag");
    details.set_error_info("INVALID_FIELDS", "scangate.dev", std::collections::HashMap::new());
    let message = "image has no tag";
    server.service.evaluate.respond_with([Err(Status::with_error_details(Code::InvalidArgument, message, details))]);

    let output = run(&server, &["check", "???"]).await;

    assert_eq!(stderr(&output), "error: the server rejected these fields (INVALID_FIELDS)\n  image: has no tag\n");
}

#[tokio::test]
async fn invalid_command_line_exits_64() {
    let server = fake_server::start().await;
    let command_lines: [&[&str]; 9] = [
        &[],
        &["check"],
        &["deploy", IMAGE],
        &["check", IMAGE, "--wait", "soon"],
        &["check", IMAGE, "--platform", "linux"],
        &["check", IMAGE, "--label", "nothing"],
        &["check", IMAGE, "--output", "yaml"],
        &["check", IMAGE, "--server", "gate:50051"],
        &["scanning", "configure", "registry", "--type", "basic", "--rule", "daily=a"],
    ];
    for arguments in command_lines {
        assert_eq!(status(&run(&server, arguments).await), 64, "{arguments:?}");
    }
}

#[tokio::test]
async fn help_exits_0_and_lists_exit_statuses() {
    let server = fake_server::start().await;

    let output = run(&server, &["--help"]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains("Exit status:"));
}
