//! The configuration of a server: its file, the rules of start and reload, `--check`, and the generated documentation.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

mod check;
mod documents;
mod reference;
mod security;

use std::{fs, path::PathBuf};

use clap::Parser;
use scangate_server::{
    config::{Config, Invalid, Security},
    listen::Listen,
};
use tempfile::TempDir;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

/// The configuration of these flags.
fn config(flags: &[&str]) -> Config {
    Flags::try_parse_from(["serve"].iter().chain(flags)).unwrap().config
}

/// A configuration file in a folder of its own.
struct TestFile {
    folder: TempDir,
}

impl TestFile {
    fn new(text: &str) -> Self {
        let file = Self { folder: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("gate.toml")
    }

    /// Replaces the file by renaming.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn config(&self, flags: &[&str]) -> Config {
        Config { config: Some(self.path()), ..config(flags) }
    }
}

fn loopback() -> Listen {
    "127.0.0.1:0".parse().unwrap()
}

/// Loads a file on loopback.
fn load(text: &str) -> Result<Security, Invalid> {
    Security::load(&TestFile::new(text).config(&[]), &loopback())
}
