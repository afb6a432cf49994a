//! A certified OpenID provider (npm `oidc-provider`), as a process.

use tokio::process::Command;

use super::tools::{Server, free_address, stdout, tool};

/// The provider. Its clients are `NAME-ALG`, for the names that it was started with, and RS256, ES256 and EdDSA.
pub struct OidcProvider {
    server: Server,
}

/// The command line `node provider.mjs …`, without `node`.
fn arguments(command: &str, operands: &[&str]) -> Vec<String> {
    let program = tool("oidc/provider.mjs").display().to_string();
    [program.as_str(), command].iter().chain(operands).map(ToString::to_string).collect()
}

async fn run(command: &str, operands: &[&str]) -> String {
    let output = Command::new("node").args(arguments(command, operands)).output().await;
    stdout(&output.unwrap()).trim().to_owned()
}

impl OidcProvider {
    /// Starts the provider.
    pub async fn start(names: &[&str]) -> Self {
        let address = free_address();
        let port = address.port().to_string();
        let mut command = Command::new("node");
        command.args(arguments("serve", &[&[port.as_str()], names].concat()));
        Self { server: Server::start(command, address).await }
    }

    /// The URL, which is the issuer of its tokens.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The tables of a configuration that trusts it, under the name `oidc`.
    pub fn issuer_table(&self, audience: &str) -> String {
        format!(
            "[[issuer]]\nname = \"oidc\"\nissuer = \"{}\"\naudiences = [\"{audience}\"]\n\
             algorithms = [\"RS256\", \"ES256\", \"EdDSA\"]\nkeys = \"discover\"\n\n",
            self.url()
        )
    }

    /// The arguments for `node` that print a token of a client.
    pub fn token_command(&self, client: &str, audience: &str) -> Vec<String> {
        arguments("token", &[&self.url(), client, audience])
    }

    /// Gets a token of a client.
    pub async fn token(&self, client: &str, audience: &str) -> String {
        run("token", &[&self.url(), client, audience]).await
    }

    /// Replaces all keys.
    pub async fn rotate(&self) {
        run("rotate", &[&self.url()]).await;
    }
}
