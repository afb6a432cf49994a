//! Revisions of the store as opaque tokens.

use crate::grpc::field_violations::Fields;

const PREFIX: &str = "rev-";

/// Renders a revision as a token.
pub(crate) fn render_revision(revision: u64) -> String {
    format!("{PREFIX}{revision}")
}

/// Parses a token; an empty one is `None`. Only the exact form of [`render_revision`] is accepted.
pub(crate) fn parse_revision(fields: &mut Fields, path: &str, token: &str) -> Option<u64> {
    let parse = |token: &str| {
        token
            .strip_prefix(PREFIX)
            .and_then(|digits| digits.parse().ok())
            .filter(|revision| render_revision(*revision) == token)
            .ok_or("must be a revision exactly as a response of this gate has it")
    };
    fields.optional(path, token, parse)
}
