//! Policy files: the contract's JSON of one policy, as `scangate policy get --output json` prints it.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
};

use clap::Args;
use scangate_client::v1::Policy;

use crate::{failure::Failure, json};

/// Where a policy is read from.
#[derive(Debug, Args)]
pub(crate) struct PolicyFile {
    /// The policy as JSON, as `scangate policy get --output json` prints it; - reads standard input.
    #[arg(long = "file", short = 'f', value_name = "FILE")]
    path: PathBuf,
}

impl PolicyFile {
    pub(crate) fn read(&self) -> Result<Policy, Failure> {
        let text = self.text().map_err(|source| Failure::File { path: self.path.clone(), source })?;
        json::parse_policy(&text).map_err(|source| Failure::PolicyFile { path: self.path.clone(), source })
    }

    fn text(&self) -> io::Result<String> {
        if self.path.as_os_str() != "-" {
            return fs::read_to_string(&self.path);
        }
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        Ok(text)
    }
}
