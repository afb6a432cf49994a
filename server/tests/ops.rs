//! The operations listener over real sockets, and its probe.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

use std::{net::SocketAddr, sync::Arc};

use scangate_server::ops::{self, Check, Operations, OpsListen, ProbeError, Readiness, probe};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

struct Listening {
    address: SocketAddr,
    readiness: Arc<Readiness>,
    operations: Operations,
}

async fn listen() -> Listening {
    let listener = ops::bind("127.0.0.1:0".parse().unwrap()).await.unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let readiness = Arc::new(Readiness::starting());
    Listening { address, readiness: Arc::clone(&readiness), operations: ops::serve(listener, readiness) }
}

/// Sends the start of a request, and returns everything that comes back.
async fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    send(address, &format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await
}

#[tokio::test]
async fn answers_follow_the_checks() {
    let server = listen().await;
    let check = |problem| vec![Check { name: "store", problem }];

    let mut answers = vec![get(server.address, "/readyz").await];
    for problem in [None, Some("unavailable")] {
        server.readiness.set(check(problem));
        answers.push(get(server.address, "/readyz?verbose").await);
    }
    server.readiness.set(check(None));
    server.readiness.stop();
    answers.push(get(server.address, "/readyz?verbose").await);

    let expected = [
        ("503", "\r\n\r\nnot ready\n"),
        ("200", "\r\n\r\nready\nstore: ok\nserving: ok\n"),
        ("503", "\r\n\r\nnot ready\nstore: failed: unavailable\nserving: ok\n"),
        ("503", "\r\n\r\nnot ready\nstore: ok\nserving: failed: the server shuts down\n"),
    ];
    for (answer, (status, body)) in answers.iter().zip(expected) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(body), "{answer}");
    }
    assert!(get(server.address, "/livez").await.ends_with("\r\n\r\nalive\n"), "liveness depends on readiness");
}

#[tokio::test]
async fn only_get_and_head_of_known_paths_succeed() {
    let server = listen().await;
    let request = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nhost: test\r\n\r\n");

    let head = send(server.address, &request("HEAD", "/livez")).await;
    let post = send(server.address, &request("POST", "/readyz")).await;
    let other = get(server.address, "/metrics/..").await;
    let long = send(server.address, &format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024))).await;

    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    assert!(!long.starts_with("HTTP/1.1 200 "), "{long}");
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let server = listen().await;
    let mut silent = Vec::new();
    // More than the listener serves at once.
    for _ in 0..80 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }

    let answer = get(server.address, "/livez").await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    silent.truncate(1);
    assert_eq!(silent[0].read(&mut [0; 1024]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn probe_reports_the_state() {
    let server = listen().await;

    let starting = probe(OpsListen::At(server.address)).await;
    server.readiness.set(vec![]);
    let ready = probe(OpsListen::At(server.address)).await;
    drop(server.operations);
    let ended = probe(OpsListen::At(server.address)).await;

    assert!(
        matches!(&starting, Err(ProbeError::NotReady(text)) if text.starts_with("not ready\nstart: failed")),
        "{starting:?}"
    );
    assert_eq!(ready.unwrap(), "ready\nserving: ok\n");
    assert!(matches!(ended, Err(ProbeError::Unreachable { .. })), "{ended:?}");
    assert!(matches!(probe(OpsListen::None).await, Err(ProbeError::Off)));
}

#[tokio::test]
async fn used_port_is_named() {
    let server = listen().await;

    let error = ops::bind(OpsListen::At(server.address)).await.unwrap_err();

    let expected = format!("cannot listen for operations on {}; choose another --ops-listen, or none", server.address);
    assert_eq!(error.to_string(), expected);
    assert!("localhost:9464".parse::<OpsListen>().is_err());
}
