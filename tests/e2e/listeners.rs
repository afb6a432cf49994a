//! The listeners as an operator uses them: grpcurl over TLS and over a Unix socket, and the probe.

use std::{path::Path, process::Output};

use scangate_ecr_simulator::{Simulator, World};
use scangate_test_identities::Authority;
use tokio::process::Command;

use crate::harness::{
    REGISTRY, gate,
    tools::{Server, binary, free_address, stdout, tool, with_test_credentials},
};

const GATE: &str = "scangate.v1.ScanGateService";

async fn grpcurl(arguments: &[&str]) -> Output {
    Command::new(tool("bin/grpcurl")).args(arguments).output().await.unwrap()
}

#[tokio::test]
async fn grpcurl_calls_over_mutual_tls() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    authority.server().write(folder.path(), "server");
    authority.client("spiffe://example.org/ci").write(folder.path(), "client");
    std::fs::write(path("ca.pem"), authority.certificate()).unwrap();
    std::fs::write(path("other.pem"), Authority::new("other").certificate()).unwrap();
    let [certificate, key, ca, other] = ["server.pem", "server.key", "ca.pem", "other.pem"].map(path);
    let gate = gate(World::demo())
        .flag("--tls-cert", &certificate)
        .flag("--tls-key", &key)
        .flag("--tls-client-ca", &ca)
        .tls()
        .start()
        .await;
    let address = gate.address.to_string();
    let own = ["-cert", &path("client.pem"), "-key", &path("client.key")];

    let listed = grpcurl(&[&["-cacert", &ca], &own[..], &[&address, "list"]].concat()).await;
    let distrusted = grpcurl(&["-cacert", &other, &address, "list"]).await;
    let plain = grpcurl(&["-plaintext", "-max-time", "10", &address, "list"]).await;

    assert!(stdout(&listed).contains(GATE));
    assert!(!distrusted.status.success() && !plain.status.success());
}

async fn probe(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(binary("scangate-server")).arg("probe").args(arguments).output().await.unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), stdout, stderr)
}

/// Starts a server on a Unix socket, and returns when its operations listener has an address.
async fn serve_unix(socket: &Path, ecr: &Simulator, store: &Path) -> Server {
    let operations = free_address();
    let mut command = with_test_credentials(Command::new(binary("scangate-server")));
    command.args(["serve", "--log", "warn", "--registry", REGISTRY, "--ecr-endpoint", &ecr.endpoint(), "--store"]);
    command.arg(store).args(["--listen", &format!("unix:{}", socket.display())]);
    command.args(["--ops-listen", &operations.to_string()]);
    Server::start(command, operations).await
}

#[tokio::test]
async fn probe_follows_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, store) = (folder.path().join("gate.sock"), folder.path().join("scangate.db"));
    let ecr = Simulator::start_local(World::demo()).await.unwrap();
    let server = serve_unix(&socket, &ecr, &store).await;
    let address = server.address.to_string();
    let mut ready = probe(&["--ops-listen", &address]).await;
    // The server answers its probes while it starts.
    while ready.0 == Some(1) && ready.1.contains("start: failed") {
        ready = probe(&["--ops-listen", &address]).await;
    }

    let listed = grpcurl(&["-plaintext", "-unix", &socket.display().to_string(), "list"]).await;
    let second = with_test_credentials(Command::new(binary("scangate-server")))
        .args(["serve", "--ops-listen", &address, "--listen", "127.0.0.1:0", "--registry", REGISTRY, "--store"])
        .arg(folder.path().join("second.db"))
        .output()
        .await
        .unwrap();
    server.kill().await;
    let ended = probe(&["--ops-listen", &address]).await;

    assert_eq!((ready.0, ready.1.as_str()), (Some(0), "ready\npolicies: ok\ndecision_log: ok\nserving: ok\n"));
    assert!(stdout(&listed).contains(GATE));
    let refusal = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(refusal.contains(&format!("cannot listen for operations on {address}")), "{refusal}");
    assert_eq!((ended.0, ended.1.as_str()), (Some(1), ""));
    assert!(ended.2.contains(&format!("no answer from the operations listener on {address}")), "{}", ended.2);
    // The socket's file, which the killed server left, does not prevent a start.
    serve_unix(&socket, &ecr, &store).await;
}

#[tokio::test]
async fn incomplete_tls_files_are_a_usage_error() {
    let pair = Authority::new("test").server();
    let folder = tempfile::tempdir().unwrap();
    pair.write(folder.path(), "server");
    let certificate = folder.path().join("server.pem").display().to_string();

    for flags in [["--tls-cert", &certificate], ["--tls-client-ca", &certificate], ["--tls-crl", &certificate]] {
        let output = Command::new(binary("scangate-server")).arg("serve").args(flags).output().await.unwrap();
        assert_eq!(output.status.code(), Some(64), "{flags:?}: {output:?}");
    }
}
