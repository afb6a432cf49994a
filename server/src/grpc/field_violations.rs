//! Collects everything wrong with a request, so that a caller sees all of it at once.

use std::fmt::Display;

use tonic::Status;
use tonic_types::FieldViolation;

use super::status;

/// Bytes of violations after which no more are told: they travel in a header, base64, and clients take eight kilobytes of headers.
const ROOM: usize = 3_000;
/// The longest path and the longest sentence, in bytes.
const LONGEST: usize = 500;
/// What a violation takes besides.
const FRAME: usize = 16;

/// What is wrong with a request, by field path.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    violations: Vec<FieldViolation>,
    /// Bytes of them.
    told: usize,
    /// A list is longer than it may be: nobody looks at what is in lists any more.
    is_too_long: bool,
}

impl Fields {
    /// Notes that a field is wrong.
    pub(crate) fn refuse(&mut self, path: impl Into<String>, what: impl Display) {
        if self.is_full() {
            return;
        }
        let cut = |mut text: String| {
            text.truncate(text.floor_char_boundary(LONGEST));
            text
        };
        let violation = FieldViolation::new(cut(path.into()), cut(what.to_string()));
        self.told += violation.field.len() + violation.description.len() + FRAME;
        self.violations.push(violation);
    }

    fn is_full(&self) -> bool {
        self.told >= ROOM
    }

    /// Keeps a good value and notes a bad one.
    pub(crate) fn check<T, E: Display>(&mut self, path: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.refuse(path, error)).ok()
    }

    /// Parses a field that may be empty.
    pub(crate) fn optional<T, E: Display>(
        &mut self,
        path: &str,
        given: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if given.is_empty() { None } else { self.check(path, parse(given)) }
    }

    /// Parses every item of a list, each under its own path, as long as it can still matter.
    pub(crate) fn each<G, T>(
        &mut self,
        path: &str,
        given: &[G],
        mut parse: impl FnMut(&mut Self, &str, &G) -> Option<T>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for (at, item) in given.iter().enumerate() {
            if self.is_too_long || self.is_full() {
                break;
            }
            parsed.extend(parse(self, &format!("{path}[{at}]"), item));
        }
        parsed
    }

    /// Notes a list that is too long.
    pub(crate) fn check_length(&mut self, path: &str, count: usize, most: usize) {
        if count > most {
            self.refuse(path, format!("must have at most {most} entries, and has {count}"));
            self.is_too_long = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_wrong_with_a_request_is_told_within_the_headers_that_clients_take() {
        for letter in ["a", " ", "%", "é", "\u{1f512}"] {
            for length in [1, 10, 1_000] {
                let mut fields = Fields::default();
                for at in 0..10_000 {
                    fields.refuse(format!("rules[{at}].{}", letter.repeat(length)), letter.repeat(length));
                }

                let refused = fields.finish(Some(())).unwrap_err().into_http::<()>();

                let header =
                    |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len() + 32;
                let headers: usize = refused.headers().iter().map(header).sum();
                assert!(headers < 8_000, "{headers} bytes for {length} times {letter:?}");
            }
        }
    }
}
