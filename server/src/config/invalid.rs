//! Errors of the configuration: all of a file at once, each with its place.

use std::{fmt, path::Path};

/// An invalid configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(Vec<Problem>);

/// A problem of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file and line, e.g. `gate.toml:12`; empty for a flag.
    place: String,
    /// The field or flag, e.g. `grant.role` or `--tls-cert`; empty if the file as a whole is meant.
    field: String,
    /// The reason, with the next step.
    reason: String,
}

impl Invalid {
    /// The error of a flag.
    pub(crate) fn flag(flag: &str, reason: impl Into<String>) -> Self {
        Self(vec![Problem { place: String::new(), field: flag.to_owned(), reason: reason.into() }])
    }

    /// The error of a whole file.
    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self(vec![Problem { place: path.display().to_string(), field: String::new(), reason: reason.into() }])
    }

    /// The problems, in the order in which they were found; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Invalid {
    /// Lists the problems, one per line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.field].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// A collector of the problems of one file.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// A collector without a problem yet.
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, found: Vec::new() }
    }

    /// Adds a problem at a byte of the file.
    pub(super) fn add(&mut self, at: usize, field: &str, reason: impl Into<String>) {
        let line = self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let place = format!("{}:{line}", self.path.display());
        self.found.push(Problem { place, field: field.to_owned(), reason: reason.into() });
    }

    /// Returns the value if there is no problem.
    pub(super) fn unless_any<T>(self, value: T) -> Result<T, Invalid> {
        if self.found.is_empty() { Ok(value) } else { Err(Invalid(self.found)) }
    }
}
