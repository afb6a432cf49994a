//! The transports that are compared: plaintext, TLS, TLS with a client certificate, and TLS with a token.

use std::{path::PathBuf, sync::Arc};

use scangate_test_identities::{Authority, Issuer, Pair, client_config};
use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

/// The audience of the tokens.
const AUDIENCE: &str = "https://gate.example.com";
/// The name of the client, in its certificate.
const CLIENT: &str = "spiffe://example.com/deployer";

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plaintext,
    Tls,
    MutualTls,
    Token,
}

/// The credentials of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientCredentials {
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The value of the header `authorization`.
    pub(crate) authorization: Option<String>,
}

/// The certificates, keys and grants of all transports, as files.
pub(crate) struct Identities {
    folder: TempDir,
    authority: Authority,
    client: Pair,
    issuer: Issuer,
}

impl Transport {
    pub(crate) const ALL: [Self; 4] = [Self::Plaintext, Self::Tls, Self::MutualTls, Self::Token];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext, anonymous caller",
            Self::Tls => "TLS, anonymous caller",
            Self::MutualTls => "TLS, caller by certificate",
            Self::Token => "TLS, caller by token",
        }
    }
}

impl Identities {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (authority, issuer) = (Authority::new("bench"), Issuer::new("https://issuer.example.com", "one"));
        authority.server().write(folder.path(), "server");
        let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
        write("ca.pem", &authority.certificate());
        write("keys.json", &issuer.keys());
        let keys = folder.path().join("keys.json");
        let grants = format!(
            r#"
[[issuer]]
name = "bench"
issuer = "{url}"
audiences = ["{AUDIENCE}"]
algorithms = ["EdDSA"]
keys = "{keys}"

[[grant]]
who = "{CLIENT}"
role = "deployer"
repositories = ["shop/*"]
environments = ["prod"]

[[grant]]
who = "bench:deployer"
role = "deployer"
repositories = ["shop/*"]
environments = ["prod"]
"#,
            url = issuer.url(),
            keys = keys.display(),
        );
        write("grants.toml", &grants);
        let client = authority.client(CLIENT);
        Self { folder, authority, client, issuer }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.display().to_string()
    }

    /// The flags of a gate.
    pub(crate) fn gate_flags(&self, transport: Transport) -> Vec<String> {
        let flag = |name: &str, value: String| [name.to_owned(), value];
        let tls = || [flag("--tls-cert", self.file("server.pem")), flag("--tls-key", self.file("server.key"))].concat();
        let grants = || flag("--config", self.file("grants.toml")).to_vec();
        match transport {
            Transport::Plaintext => Vec::new(),
            Transport::Tls => tls(),
            Transport::MutualTls => [tls(), flag("--tls-client-ca", self.file("ca.pem")).to_vec(), grants()].concat(),
            Transport::Token => [tls(), grants()].concat(),
        }
    }

    /// The arguments of the peer: its certificate and key, and the authority of its clients.
    pub(crate) fn peer_arguments(&self, transport: Transport) -> Vec<String> {
        let names: &[&str] = match transport {
            Transport::Plaintext => &[],
            Transport::Tls | Transport::Token => &["server.pem", "server.key"],
            Transport::MutualTls => &["server.pem", "server.key", "ca.pem"],
        };
        names.iter().map(|name| self.file(name)).collect()
    }

    /// The credentials of the load generator.
    pub(crate) fn client(&self, transport: Transport) -> ClientCredentials {
        let tls = |own| Some(client_config(&self.authority, own));
        match transport {
            Transport::Plaintext => ClientCredentials::default(),
            Transport::Tls => ClientCredentials { tls: tls(None), authorization: None },
            Transport::MutualTls => ClientCredentials { tls: tls(Some(&self.client)), authorization: None },
            Transport::Token => {
                let token = self.issuer.token("deployer", AUDIENCE);
                ClientCredentials { tls: tls(None), authorization: Some(format!("Bearer {token}")) }
            }
        }
    }
}
