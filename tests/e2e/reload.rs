//! Certificates, CAs, revocations, grants and keys of issuers are replaced under load, with an open watch: no call fails. Files that
//! are half written or inconsistent change nothing and are reported.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use scangate_client::{Client, Code, ConnectOptions, RetryPolicy, v1::WatchDecisionsRequest};
use scangate_ecr_simulator::{Simulator, World};
use scangate_test_identities::{Authority, Issuer, Pair, client_config};
use tempfile::TempDir;
use tokio::{process::Command, task::JoinSet};
use tokio_stream::StreamExt as _;
use tonic::Status;

use crate::harness::{
    REGISTRY,
    callers::{AUDIENCE, grant},
    evaluate_request,
    raw::{EVALUATE, LIST_POLICIES, connect_tls},
    tools::{Server, binary, free_address, with_test_credentials},
};

/// The longest time until a replaced file is in force.
const TIMEOUT: Duration = Duration::from_mins(1);
const IMAGE: &str = "shop/api:2.0.0";
const DEPLOYER: &str = "spiffe://example.com/deployer";
const NEWCOMER: &str = "spiffe://example.com/newcomer";

/// A server process over files that the test replaces.
struct Site {
    files: TempDir,
    server: Server,
    authority: Authority,
    issuer: Issuer,
    _ecr: Simulator,
}

impl Site {
    async fn start() -> Self {
        let (files, authority) = (tempfile::tempdir().unwrap(), Authority::new("first"));
        let issuer = Issuer::new("https://issuer.example.com", "first");
        let ecr = Simulator::start_local(World::demo()).await.unwrap();
        let address = free_address();
        let path = |name: &str| files.path().join(name);
        authority.server().write(files.path(), "server");
        write(&path("ca.pem"), &authority.certificate());
        write(&path("crl.pem"), &authority.revoke(&[]));
        write(&path("keys.json"), &issuer.keys());
        write(&path("config.toml"), &configuration(&path("keys.json"), ""));
        let mut command = with_test_credentials(Command::new(binary("scangate-server")));
        command.args(["serve", "--log", "info", "--log-format", "json", "--ops-listen", "none"]);
        command.args(["--registry", REGISTRY, "--ecr-endpoint", &ecr.endpoint(), "--listen", &address.to_string()]);
        for (flag, name) in [
            ("--store", "scangate.db"),
            ("--tls-cert", "server.pem"),
            ("--tls-key", "server.key"),
            ("--tls-client-ca", "ca.pem"),
            ("--tls-crl", "crl.pem"),
            ("--config", "config.toml"),
        ] {
            command.arg(flag).arg(path(name));
        }
        command.stderr(Stdio::from(std::fs::File::create(path("log")).unwrap()));
        let server = Server::start(command, address).await;
        Self { files, server, authority, issuer, _ecr: ecr }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Replaces a file, and makes the server read its files.
    async fn replace(&self, name: &str, content: &str) {
        write(&self.path(name), content);
        self.hang_up().await;
    }

    async fn hang_up(&self) {
        let sent = Command::new("kill").args(["-HUP", &self.server.id().to_string()]).status().await.unwrap();
        assert!(sent.success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// The status of a call on a new connection; `None` if the handshake is refused.
    async fn call(&self, own: Option<&Pair>, token: Option<&str>, path: &str) -> Option<Status> {
        let connection = connect_tls(self.server.address, &client_config(&self.authority, own)).await.ok()?;
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        connection.status_of(path, &headers).await.ok()
    }

    /// Waits until a call has this code; `None` for a refused handshake.
    async fn until(&self, expected: Option<Code>, own: Option<&Pair>, token: Option<&str>) {
        let began = Instant::now();
        loop {
            let code = self.call(own, token, LIST_POLICIES).await.map(|status| status.code());
            if code == expected {
                return;
            }
            assert!(began.elapsed() < TIMEOUT, "{code:?} in place of {expected:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the server has logged an error with this text.
    async fn until_reported(&self, text: &str) {
        let began = Instant::now();
        while !self.log().lines().any(|line| line.contains("\"ERROR\"") && line.contains(text)) {
            assert!(began.elapsed() < TIMEOUT, "no error with {text:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client with a certificate.
    async fn client(&self, own: &Pair) -> Client {
        let options = ConnectOptions::new(format!("https://localhost:{}", self.server.address.port()))
            .ca_certificate(self.authority.certificate())
            .identity(own.certificate.clone(), own.key.clone())
            .call_timeout(Duration::from_mins(5))
            .retry(RetryPolicy::none());
        Client::connect(options).await.unwrap()
    }
}

/// Writes a file as a mounted secret is replaced.
fn write(path: &Path, content: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(next, path).unwrap();
}

/// A configuration with the issuer of tokens and the grants of the load, and further grants.
fn configuration(keys: &Path, grants: &str) -> String {
    let issuer = format!(
        "[[issuer]]\nname = \"test\"\nissuer = \"https://issuer.example.com\"\naudiences = [\"{AUDIENCE}\"]\n\
         algorithms = [\"EdDSA\"]\nkeys = \"{}\"\n\n",
        keys.display()
    );
    let deployer = format!("[[grant]]\nwho = \"{DEPLOYER}\"\nrole = \"admin\"\n\n");
    issuer + &deployer + &grant("deployer", "reader", "") + grants
}

/// A load that runs until it is stopped, and counts its calls. A failed call panics.
struct Load {
    is_stopped: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    callers: JoinSet<()>,
}

impl Load {
    /// One caller on a lasting connection, and one that connects for each call.
    async fn start(site: &Arc<Site>, own: &Pair) -> Self {
        let (is_stopped, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut callers = JoinSet::new();
        let client = site.client(own).await;
        let (stopped, count) = (Arc::clone(&is_stopped), Arc::clone(&calls));
        callers.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let _ = client.evaluate(evaluate_request(IMAGE)).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (stopped, count, site, own) = (Arc::clone(&is_stopped), Arc::clone(&calls), Arc::clone(site), own.clone());
        callers.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let status = site.call(Some(&own), None, LIST_POLICIES).await.expect("the handshake fails");
                assert_eq!(status.code(), Code::Ok, "{status:?}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { is_stopped, calls, callers }
    }

    async fn stop(self) -> usize {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        self.calls.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_files_fail_no_call_and_end_no_watch() {
    let site = Arc::new(Site::start().await);
    let own = site.authority.client(DEPLOYER);
    let client = site.client(&own).await;
    let watch = WatchDecisionsRequest::default();
    let mut watch = client.decisions().watch_decisions(watch).await.unwrap().into_inner();
    assert!(watch.next().await.unwrap().is_ok());
    let load = Load::start(&site, &own).await;

    replace_grants(&site).await;
    replace_client_authorities(&site).await;
    replace_server_certificate(&site).await;
    replace_issuer_keys(&site).await;

    assert!(load.stop().await > 10);
    let decision = client.evaluate(evaluate_request(IMAGE)).await.unwrap().into_message();
    loop {
        let event = tokio::time::timeout(TIMEOUT, watch.next()).await.unwrap().unwrap().expect("the watch ends");
        if format!("{event:?}").contains(&decision.name) {
            break;
        }
    }
}

async fn replace_grants(site: &Site) {
    let newcomer = site.authority.client(NEWCOMER);
    site.until(Some(Code::PermissionDenied), Some(&newcomer), None).await;
    let granted = format!("[[grant]]\nwho = \"{NEWCOMER}\"\nrole = \"reader\"\n");
    let keys = site.path("keys.json");
    site.replace("config.toml", &configuration(&keys, &granted)).await;
    site.until(Some(Code::Ok), Some(&newcomer), None).await;
    // Half of the file, and a role that does not exist.
    let whole = configuration(&keys, "");
    site.replace("config.toml", &whole[..whole.len() / 2]).await;
    site.until_reported("config.toml").await;
    site.replace("config.toml", &configuration(&keys, &granted.replace("reader", "raeder"))).await;
    site.until_reported("raeder").await;
    site.until(Some(Code::Ok), Some(&newcomer), None).await;
    site.replace("config.toml", &configuration(&keys, "")).await;
    site.until(Some(Code::PermissionDenied), Some(&newcomer), None).await;
}

async fn replace_client_authorities(site: &Site) {
    let second = Authority::new("second");
    let (own, other) = (site.authority.client(NEWCOMER), second.client(NEWCOMER));
    // Both need a revocation list: there is one for each authority.
    let lists = |revoked: &[&Pair]| site.authority.revoke(revoked) + &second.revoke(&[]);
    site.until(None, Some(&other), None).await;
    site.replace("crl.pem", &lists(&[])).await;
    site.replace("ca.pem", &(site.authority.certificate() + &second.certificate())).await;
    site.until(Some(Code::PermissionDenied), Some(&other), None).await;
    site.replace("ca.pem", "-----BEGIN CERTIFICATE-----\nhalf").await;
    site.until_reported("ca.pem").await;
    site.until(Some(Code::PermissionDenied), Some(&other), None).await;
    site.replace("ca.pem", &(site.authority.certificate() + &second.certificate())).await;
    site.until(Some(Code::PermissionDenied), Some(&own), None).await;
    site.replace("crl.pem", &lists(&[&own])).await;
    site.until(None, Some(&own), None).await;
}

async fn replace_server_certificate(site: &Site) {
    let next = site.authority.server();
    // Between the two writes, the certificate and the key belong to different pairs.
    site.replace("server.pem", &next.certificate).await;
    site.until_reported("does not belong to the certificate").await;
    site.replace("server.key", &next.key).await;
    let began = Instant::now();
    while served_certificate(site).await != next.certificate.replace('\r', "").trim() {
        assert!(began.elapsed() < TIMEOUT, "{}", site.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The certificate that a new connection gets, as PEM.
async fn served_certificate(site: &Site) -> String {
    let address = site.server.address.to_string();
    let script = format!("openssl s_client -connect {address} -alpn h2 </dev/null 2>/dev/null | openssl x509");
    let output = Command::new("sh").args(["-c", &script]).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn replace_issuer_keys(site: &Site) {
    let next = Issuer::new(site.issuer.url(), "second");
    let (old, new) = (site.issuer.token("deployer", AUDIENCE), next.token("deployer", AUDIENCE));
    site.until(Some(Code::Ok), None, Some(&old)).await;
    site.until(Some(Code::Unauthenticated), None, Some(&new)).await;
    site.replace("keys.json", "{\"keys\": [{\"kty\"").await;
    site.until_reported("keys.json").await;
    site.until(Some(Code::Ok), None, Some(&old)).await;
    site.replace("keys.json", &next.keys()).await;
    site.until(Some(Code::Ok), None, Some(&new)).await;
    // A token that was not remembered is refused, since its key is gone.
    let unknown = site.issuer.token("other", AUDIENCE);
    site.until(Some(Code::Unauthenticated), None, Some(&unknown)).await;
    assert!(site.call(None, Some(&new), EVALUATE).await.is_some_and(|status| status.code() == Code::PermissionDenied));
}
