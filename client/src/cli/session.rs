//! The connection and the manner of output that all commands share.

use std::{env, fs, io, io::IsTerminal, path::Path};

use scangate_client::{Client, ConnectOptions};

use crate::{
    args::{Global, Output},
    failure::Failure,
    json::{self, Named},
    page::Page,
};

const TOKEN_VARIABLE: &str = "SCANGATE_TOKEN";

/// The gate to talk to, and how to print what it says.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) output: Output,
    /// Whether somebody watches standard error: progress is drawn for people only.
    pub(crate) watched: bool,
}

impl Session {
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let mut options = ConnectOptions::new(&global.server)
            .call_timeout(global.timeout.into())
            .user_agent(concat!("scangate/", env!("CARGO_PKG_VERSION")));
        // Only from the environment: arguments are visible to every user of the machine.
        if let Some(token) = env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty()) {
            options = options.bearer_token(token.trim());
        }
        if let Some(path) = &global.ca_cert {
            options = options.ca_certificate(read(path)?);
        }
        if let (Some(certificate), Some(key)) = (&global.client_cert, &global.client_key) {
            options = options.identity(read(certificate)?, read(key)?);
        }
        let client = Client::connect_lazy(options)?;
        Ok(Self { client, output: global.output, watched: io::stderr().is_terminal() })
    }

    /// The message as JSON, or the page that it makes.
    pub(crate) fn render<M: Named>(&self, message: &M, page: impl FnOnce(&M) -> Page) -> Result<String, Failure> {
        match self.output {
            Output::Json => json::pretty(message),
            Output::Table => Ok(page(message).into_text()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::File { path: path.to_owned(), source })
}
