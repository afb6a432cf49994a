//! Callers with tokens: an issuer whose keys the gate reads from a file, and grants for its subjects.

use std::{path::PathBuf, time::Duration};

use scangate_client::{Client, ConnectOptions, RetryPolicy};
use scangate_test_identities::Issuer;
use tempfile::TempDir;

use super::{Builder, Gate};

/// The audience of the tokens.
pub const AUDIENCE: &str = "https://gate.example.com";

/// An issuer, and a configuration file that trusts it.
pub struct Callers {
    /// The issuer of all tokens. Its name in the configuration is `test`.
    pub issuer: Issuer,
    folder: TempDir,
}

impl Callers {
    /// Creates the issuer, and a configuration with these tables of grants and roles.
    pub fn new(grants: &str) -> Self {
        let callers =
            Self { issuer: Issuer::new("https://issuer.example.com", "one"), folder: tempfile::tempdir().unwrap() };
        std::fs::write(callers.path("keys.json"), callers.issuer.keys()).unwrap();
        callers.set_grants(grants);
        callers
    }

    /// Writes other grants into the configuration.
    pub fn set_grants(&self, grants: &str) {
        let (url, keys) = (self.issuer.url(), self.path("keys.json"));
        let issuer = format!(
            "[[issuer]]\nname = \"test\"\nissuer = \"{url}\"\naudiences = [\"{AUDIENCE}\"]\nalgorithms = [\"EdDSA\"]\n\
             keys = \"{}\"\n\n",
            keys.display()
        );
        // As a mounted secret is replaced: the server never sees half of a file.
        std::fs::write(self.path("next.toml"), issuer + grants).unwrap();
        std::fs::rename(self.path("next.toml"), self.path("config.toml")).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a token of a subject, whose name is `test:SUBJECT`.
    pub fn token(&self, subject: &str) -> String {
        self.issuer.token(subject, AUDIENCE)
    }

    /// Connects to a gate as a subject. The client has no retries.
    pub async fn client(&self, gate: &Gate, subject: &str) -> Client {
        let options = ConnectOptions::new(format!("http://{}", gate.address))
            .call_timeout(Duration::from_mins(1))
            .bearer_token(self.token(subject))
            .retry(RetryPolicy::none());
        Client::connect(options).await.unwrap()
    }
}

impl Builder {
    /// Uses the configuration of these callers.
    pub fn callers(self, callers: &Callers) -> Self {
        self.flag("--config", callers.config().to_str().unwrap())
    }
}

/// A table that grants a role to a subject of the issuer.
pub fn grant(subject: &str, role: &str, narrowing: &str) -> String {
    format!("[[grant]]\nwho = \"test:{subject}\"\nrole = \"{role}\"\n{narrowing}\n")
}
