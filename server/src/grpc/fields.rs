//! Collects everything wrong with a request, so that a caller sees all of it at once.

use std::fmt::Display;

use tonic::Status;
use tonic_types::FieldViolation;

use super::status;

/// What is wrong with a request, by field path.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// Notes that a field is wrong.
    pub(crate) fn refuse(&mut self, path: impl Into<String>, what: impl Display) {
        self.violations.push(FieldViolation::new(path, what.to_string()));
    }

    /// Keeps a good value and notes a bad one.
    pub(crate) fn keep<T, E: Display>(&mut self, path: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.refuse(path, error)).ok()
    }

    /// Parses a field that may be empty.
    pub(crate) fn optional<T, E: Display>(
        &mut self,
        path: &str,
        given: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if given.is_empty() { None } else { self.keep(path, parse(given)) }
    }

    /// Parses every item of a list, each under its own path.
    pub(crate) fn each<G, T>(
        &mut self,
        path: &str,
        given: &[G],
        mut parse: impl FnMut(&mut Self, &str, &G) -> Option<T>,
    ) -> Vec<T> {
        let parsed = given.iter().enumerate().filter_map(|(at, item)| parse(self, &format!("{path}[{at}]"), item));
        parsed.collect()
    }

    /// Notes a list that is too long.
    pub(crate) fn at_most(&mut self, path: &str, count: usize, most: usize) {
        if count > most {
            self.refuse(path, format!("must have at most {most} entries, and has {count}"));
        }
    }

    /// The value where nothing was wrong; otherwise everything that was.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            _ if !self.violations.is_empty() => Err(status::invalid_fields(self.violations)),
            Some(value) => Ok(value),
            None => Err(status::internal("a request was refused without a reason")),
        }
    }
}
