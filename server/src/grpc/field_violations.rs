//! A collector of field violations: a caller receives all violations of a request at once.

use std::fmt::Display;

use tonic::Status;
use tonic_types::FieldViolation;

use super::status;

/// The most bytes of violations: they travel base64-encoded in a header, and clients accept 8 KiB of headers.
const MAX_BYTES: usize = 3_000;
/// The longest path and the longest description, in bytes.
const MAX_TEXT: usize = 500;
/// The bytes of one violation beside its path and description: its reason and the encoding.
const OVERHEAD: usize = 32;

/// The kind of a violation: the `reason` of its `FieldViolation`. docs/errors.md lists them for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldReason {
    /// The field must be set.
    Required,
    /// The value has the wrong form, or is none of the field's values.
    InvalidValue,
    /// The number, time or duration is outside its range.
    OutOfRange,
    /// The text is shorter or longer than its limits allow.
    Length,
    /// The list has more entries than its limit.
    TooMany,
    /// Another entry has the same value.
    Duplicate,
    /// The value is valid in itself, but not for this resource or beside another field.
    NotAllowed,
}

impl FieldReason {
    fn name(self) -> &'static str {
        match self {
            Self::Required => "REQUIRED",
            Self::InvalidValue => "INVALID_VALUE",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Length => "INVALID_LENGTH",
            Self::TooMany => "TOO_MANY",
            Self::Duplicate => "DUPLICATE",
            Self::NotAllowed => "NOT_ALLOWED",
        }
    }
}

/// The violations of one request, by field path.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    violations: Vec<FieldViolation>,
    /// Their size in bytes.
    bytes: usize,
    /// True once a list exceeds its limit: the items of lists are no longer parsed.
    has_long_list: bool,
}

impl Fields {
    /// Records a value of the wrong form; `description` completes a sentence that begins with the field.
    pub(crate) fn refuse(&mut self, path: impl Into<String>, description: impl Display) {
        self.refuse_as(FieldReason::InvalidValue, path, description);
    }

    /// Records a field that must be set, like [`Fields::refuse`].
    pub(crate) fn require(&mut self, path: impl Into<String>, description: impl Display) {
        self.refuse_as(FieldReason::Required, path, description);
    }

    /// Records a value that this resource or another field does not allow, like [`Fields::refuse`].
    pub(crate) fn forbid(&mut self, path: impl Into<String>, description: impl Display) {
        self.refuse_as(FieldReason::NotAllowed, path, description);
    }

    /// Records a violation of any kind, like [`Fields::refuse`].
    pub(crate) fn refuse_as(&mut self, reason: FieldReason, path: impl Into<String>, description: impl Display) {
        if self.is_full() {
            return;
        }
        let truncate = |mut text: String| {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text
        };
        let mut violation = FieldViolation::new(truncate(path.into()), truncate(description.to_string()));
        reason.name().clone_into(&mut violation.reason);
        self.bytes += violation.field.len() + violation.description.len() + OVERHEAD;
        self.violations.push(violation);
    }

    fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES
    }

    /// Returns a parsed value, or records its error as a violation.
    pub(crate) fn check<T, E: Display>(&mut self, path: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.refuse(path, error)).ok()
    }

    /// Parses a field that may be empty; empty is `None`.
    pub(crate) fn optional<T, E: Display>(
        &mut self,
        path: &str,
        value: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if value.is_empty() { None } else { self.check(path, parse(value)) }
    }

    /// Parses every item of a list under its own path, until no further violation can be recorded.
    pub(crate) fn each<G, T>(
        &mut self,
        path: &str,
        items: &[G],
        mut parse: impl FnMut(&mut Self, &str, &G) -> Option<T>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if self.has_long_list || self.is_full() {
                break;
            }
            parsed.extend(parse(self, &format!("{path}[{index}]"), item));
        }
        parsed
    }

    /// Records a list that exceeds its limit.
    pub(crate) fn check_length(&mut self, path: &str, count: usize, max: usize) {
        if count > max {
            self.refuse_as(FieldReason::TooMany, path, format!("must have at most {max} entries, but has {count}"));
            self.has_long_list = true;
        }
    }

    /// Returns the value if there is no violation, else the status with all violations.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            _ if !self.violations.is_empty() => Err(status::invalid_fields(self.violations)),
            Some(value) => Ok(value),
            None => Err(status::internal("request was refused without a violation")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_fit_in_the_headers_clients_accept() {
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
