//! Tokens of a certified OpenID provider (npm `oidc-provider`), through discovery, and while it replaces its keys.

use std::time::Duration;

use scangate_client::{Client, Code, ConnectOptions, Error, Rejection, RetryPolicy, TokenSource};
use scangate_ecr_simulator::World;
use tempfile::TempDir;

use crate::harness::{Gate, callers::AUDIENCE, evaluate_request, gate, oidc_provider::OidcProvider, rejection};

const IMAGE: &str = "shop/api:2.0.0";
/// The time after which the server fetches keys again for an unknown key id.
const FETCH_INTERVAL: Duration = Duration::from_secs(10);

/// The provider, and a gate that discovers its keys.
struct Site {
    provider: OidcProvider,
    gate: Gate,
    _files: TempDir,
}

impl Site {
    async fn start() -> Self {
        let provider = OidcProvider::start(&["ci"]).await;
        let files = tempfile::tempdir().unwrap();
        let config = files.path().join("config.toml");
        let grants = "[[grant]]\nwho = \"oidc:ci-*\"\nrole = \"deployer\"\n";
        std::fs::write(&config, provider.issuer_table(AUDIENCE) + grants).unwrap();
        let gate = gate(World::demo()).flag("--config", config.to_str().unwrap()).start().await;
        Self { provider, gate, _files: files }
    }

    /// A client of the gate that gets its tokens from the provider, for an audience.
    async fn client(&self, name: &str, audience: &str) -> Client {
        let source = TokenSource::command("node", self.provider.token_command(name, audience));
        self.connect(source).await
    }

    async fn connect(&self, source: TokenSource) -> Client {
        let options = ConnectOptions::new(format!("http://{}", self.gate.address))
            .call_timeout(Duration::from_mins(1))
            .bearer_token(source)
            .retry(RetryPolicy::none());
        Client::connect(options).await.unwrap()
    }
}

/// The kind of the refusal of an identity.
fn kind<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    let Rejection { code, mut metadata, .. } = rejection(outcome);
    assert_eq!(code, Code::Unauthenticated);
    metadata.remove("kind").unwrap()
}

#[tokio::test]
async fn token_of_certified_provider_names_its_client() {
    let site = Site::start().await;

    for name in ["ci-RS256", "ci-ES256", "ci-EdDSA"] {
        let decision = site.client(name, AUDIENCE).await.evaluate(evaluate_request(IMAGE)).await.unwrap();

        assert_eq!(decision.into_message().caller, format!("oidc:{name}"));
    }
    let elsewhere = site.client("ci-ES256", "https://other.example.com").await;
    assert_eq!(kind(elsewhere.evaluate(evaluate_request(IMAGE)).await), "audience");
}

#[tokio::test]
async fn rotated_keys_of_provider_are_fetched() {
    let site = Site::start().await;
    let client = site.client("ci-ES256", AUDIENCE).await;
    assert!(client.evaluate(evaluate_request(IMAGE)).await.is_ok());
    let of_old_key = site.connect(TokenSource::fixed(site.provider.token("ci-ES256", AUDIENCE).await)).await;

    site.provider.rotate().await;
    tokio::time::pause();
    tokio::time::advance(FETCH_INTERVAL).await;
    tokio::time::resume();

    for name in ["ci-ES256", "ci-RS256", "ci-EdDSA"] {
        assert!(site.client(name, AUDIENCE).await.evaluate(evaluate_request(IMAGE)).await.is_ok(), "{name}");
    }
    // A verified token is remembered for a few minutes; another one of the old key is not.
    assert!(client.evaluate(evaluate_request(IMAGE)).await.is_ok());
    assert_eq!(kind(of_old_key.evaluate(evaluate_request(IMAGE)).await), "unknown_key");
}
