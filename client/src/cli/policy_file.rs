//! Policy files: one policy as JSON, in the form that `scangate policy get --output json` prints.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
};

use clap::Args;
use scangate_client::v1::Policy;

use crate::{error::CliError, json};

/// The source of a policy: a file or standard input.
#[derive(Debug, Args)]
pub(crate) struct PolicyFileArgs {
    /// File with the policy as JSON, in the form that `policy get --output json` prints; - reads standard input.
    #[arg(long = "file", short = 'f', value_name = "FILE")]
    path: PathBuf,
}

impl PolicyFileArgs {
    pub(crate) fn from_path(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn load(&self) -> Result<Policy, CliError> {
        let text = self.read_text().map_err(|source| CliError::File { path: self.path.clone(), source })?;
        json::parse_policy(&text).map_err(|source| CliError::PolicyFile { path: self.path.clone(), source })
    }

    fn read_text(&self) -> io::Result<String> {
        if self.path.as_os_str() != "-" {
            return fs::read_to_string(&self.path);
        }
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        Ok(text)
    }
}
