//! The connection and the output format that all commands share.

use std::{env, fs, io, io::IsTerminal, path::Path};

use scangate_client::{Client, ConnectOptions, TokenSource};

use crate::{
    args::{GlobalArgs, OutputFormat},
    error::CliError,
    json::{self, NamedMessage},
    report::Report,
};

/// The environment variable of the bearer token.
const TOKEN_VARIABLE: &str = "SCANGATE_TOKEN";

/// The connection and the output settings of one run.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) output: OutputFormat,
    /// True if standard error is a terminal; only then a progress bar is drawn.
    pub(crate) is_interactive: bool,
}

impl Session {
    pub(crate) fn open(global: &GlobalArgs) -> Result<Self, CliError> {
        let mut options = ConnectOptions::new(&global.server)
            .call_timeout(global.timeout.into())
            .user_agent(concat!("scangate/", env!("CARGO_PKG_VERSION")));
        if let Some(source) = token_source(global) {
            options = options.bearer_token(source);
        }
        if let Some(path) = &global.ca_cert {
            options = options.ca_certificate(load_file(path)?);
        }
        if let (Some(certificate), Some(key)) = (&global.cert, &global.key) {
            options = options.identity(load_file(certificate)?, load_file(key)?);
        }
        let client = Client::connect_lazy(options)?;
        Ok(Self { client, output: global.output, is_interactive: io::stderr().is_terminal() })
    }

    /// Renders the message as JSON or as a report, depending on the output format.
    pub(crate) fn render<M: NamedMessage>(
        &self,
        message: &M,
        report: impl FnOnce(&M) -> Report,
    ) -> Result<String, CliError> {
        match self.output {
            OutputFormat::Json => json::pretty(message),
            OutputFormat::Table => Ok(report(message).into_text()),
        }
    }
}

/// The source of tokens: a file or a command, else the environment.
fn token_source(global: &GlobalArgs) -> Option<TokenSource> {
    if let Some(path) = &global.token_file {
        return Some(TokenSource::file(path));
    }
    if let Some(command) = &global.token_command {
        let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        return Some(TokenSource::command(shell, [flag, command]));
    }
    // Only from the environment: other users of the machine can read command lines.
    let token = env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty());
    token.map(|token| TokenSource::fixed(token.trim()))
}

fn load_file(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| CliError::File { path: path.to_owned(), source })
}
