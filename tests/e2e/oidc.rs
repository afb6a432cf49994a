//! Tokens of a certified OpenID provider (npm `oidc-provider`), through discovery, and while it replaces its keys.

use std::time::Duration;

use scangate_client::{Client, Code, ConnectOptions, Error, Rejection, RetryPolicy, TokenSource};
use scangate_ecr_simulator::World;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{
    Gate,
    callers::AUDIENCE,
    evaluate_request, gate, rejection,
    tools::{Server, free_address, stdout, tool},
};

const IMAGE: &str = "shop/api:2.0.0";
/// The time after which the server fetches keys again for an unknown key id.
const FETCH_INTERVAL: Duration = Duration::from_secs(10);

/// The provider, and a gate that discovers its keys.
struct Site {
    provider: Server,
    gate: Gate,
    _files: TempDir,
}

/// The command line `node provider.mjs …`, without `node`.
fn arguments(command: &str, operands: &[&str]) -> Vec<String> {
    let program = tool("oidc/provider.mjs").display().to_string();
    [program.as_str(), command].iter().chain(operands).map(ToString::to_string).collect()
}

impl Site {
    async fn start() -> Self {
        let address = free_address();
        let mut command = Command::new("node");
        command.args(arguments("serve", &[&address.port().to_string()]));
        let provider = Server::start(command, address).await;
        let files = tempfile::tempdir().unwrap();
        let config = files.path().join("config.toml");
        let tables = format!(
            "[[issuer]]\nname = \"oidc\"\nissuer = \"http://{address}\"\naudiences = [\"{AUDIENCE}\"]\n\
             algorithms = [\"RS256\", \"ES256\", \"EdDSA\"]\nkeys = \"discover\"\n\n\
             [[grant]]\nwho = \"oidc:ci-*\"\nrole = \"deployer\"\n"
        );
        std::fs::write(&config, tables).unwrap();
        let gate = gate(World::demo()).flag("--config", config.to_str().unwrap()).start().await;
        Self { provider, gate, _files: files }
    }

    fn url(&self) -> String {
        format!("http://{}", self.provider.address)
    }

    /// A client of the gate that gets its tokens from the provider, for an audience.
    async fn client(&self, name: &str, audience: &str) -> Client {
        let source = TokenSource::command("node", arguments("token", &[&self.url(), name, audience]));
        self.connect(source).await
    }

    async fn connect(&self, source: TokenSource) -> Client {
        let options = ConnectOptions::new(format!("http://{}", self.gate.address))
            .call_timeout(Duration::from_mins(1))
            .bearer_token(source)
            .retry(RetryPolicy::none());
        Client::connect(options).await.unwrap()
    }

    /// Gets a token that no call has used yet.
    async fn token(&self, name: &str) -> TokenSource {
        let output = Command::new("node").args(arguments("token", &[&self.url(), name, AUDIENCE])).output().await;
        TokenSource::fixed(stdout(&output.unwrap()).trim())
    }

    async fn rotate(&self) {
        let output = Command::new("node").args(arguments("rotate", &[&self.url()])).output().await;
        stdout(&output.unwrap());
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
    let of_old_key = site.connect(site.token("ci-ES256").await).await;

    site.rotate().await;
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
