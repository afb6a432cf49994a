//! The command line against a gate over TLS: certificates, tokens, and the messages of refused calls.

use std::path::{Path, PathBuf};

use scangate_ecr_simulator::World;
use scangate_test_identities::Authority;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{
    Gate,
    callers::{AUDIENCE, Callers, grant},
    gate,
    tools::binary,
};

const DEPLOYER: &str = "spiffe://example.com/deployer";
const IMAGE: &str = "shop/api:2.0.0";

/// A gate over TLS, with the files of its callers.
struct Site {
    gate: Gate,
    callers: Callers,
    files: TempDir,
}

impl Site {
    async fn start() -> Self {
        let (authority, files) = (Authority::new("company"), tempfile::tempdir().unwrap());
        authority.server().write(files.path(), "server");
        authority.client(DEPLOYER).write(files.path(), "client");
        std::fs::write(files.path().join("ca.pem"), authority.certificate()).unwrap();
        let grants = format!("[[grant]]\nwho = \"{DEPLOYER}\"\nrole = \"deployer\"\nrepositories = [\"shop/*\"]\n\n");
        let callers = Callers::new(&(grants + &grant("reader", "reader", "")));
        let path = |name: &str| files.path().join(name).display().to_string();
        let gate = gate(World::demo())
            .callers(&callers)
            .flag("--tls-cert", &path("server.pem"))
            .flag("--tls-key", &path("server.key"))
            .flag("--tls-client-ca", &path("ca.pem"))
            .tls()
            .start()
            .await;
        Self { gate, callers, files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Runs `scangate` with these arguments; returns its exit status and what it printed on standard error.
    async fn scangate(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(binary("scangate"))
            .args(arguments)
            .env("SCANGATE_SERVER", format!("https://localhost:{}", self.gate.address.port()))
            .env("SCANGATE_CA_CERT", self.file("ca.pem"))
            .output()
            .await
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// The arguments that send the client certificate.
    fn certificate(&self) -> [String; 4] {
        let path = |path: &Path| path.display().to_string();
        ["--cert".to_owned(), path(&self.file("client.pem")), "--key".to_owned(), path(&self.file("client.key"))]
    }

    /// The arguments that send a token of this subject and audience.
    fn token(&self, subject: &str, audience: &str) -> [String; 2] {
        std::fs::write(self.file("token"), self.callers.issuer.token(subject, audience)).unwrap();
        ["--token-file".to_owned(), self.file("token").display().to_string()]
    }
}

fn with<'a>(arguments: &[&'a str], identity: &'a [String]) -> Vec<&'a str> {
    arguments.iter().copied().chain(identity.iter().map(String::as_str)).collect()
}

#[tokio::test]
async fn certificate_identifies_the_command_line() {
    let site = Site::start().await;
    let certificate = site.certificate();

    assert_eq!(site.scangate(&with(&["check", IMAGE], &certificate)).await, (0, String::new()));

    let (status, printed) = site.scangate(&["check", IMAGE]).await;
    assert_eq!(status, 3);
    assert!(printed.contains("(IDENTITY_MISSING)\n  identify yourself with --cert and --key"), "{printed}");
}

#[tokio::test]
async fn refused_call_names_permission_and_scope() {
    let site = Site::start().await;
    let (certificate, reader) = (site.certificate(), site.token("reader", AUDIENCE));

    let (status, printed) = site.scangate(&with(&["scan", "start", IMAGE], &reader)).await;
    assert_eq!(status, 3);
    assert!(printed.contains("(PERMISSION_MISSING)\n  caller: test:reader\n  permission: scan.start\n"), "{printed}");

    let (status, printed) = site.scangate(&with(&["check", "pay/core:1.0.0"], &certificate)).await;
    assert_eq!(status, 3);
    assert!(printed.contains("(OUT_OF_SCOPE)\n  allowed: repositories shop/*\n"), "{printed}");
    assert!(printed.contains("  permission: gate.evaluate\n  subject: repository pay/core"), "{printed}");
}

#[tokio::test]
async fn refused_token_names_kind_and_next_step() {
    let site = Site::start().await;
    let elsewhere = site.token("reader", "https://other.example.com");

    let (status, printed) = site.scangate(&with(&["check", IMAGE], &elsewhere)).await;

    assert_eq!(status, 3);
    assert!(
        printed.contains("(IDENTITY_REJECTED)\n  kind: audience\n  renew the certificate of --cert, or the token"),
        "{printed}"
    );
}
