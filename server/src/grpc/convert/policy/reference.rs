//! References to a policy or waiver: its name, and the etag of the version that was read.

use scangate_core::name::PolicyId;

use crate::{grpc::field_violations::Fields, policy_store::Precondition};

/// Parses `policies/{id}`.
pub(crate) fn parse_name(fields: &mut Fields, path: &str, name: &str) -> Option<PolicyId> {
    let Some(id) = name.strip_prefix("policies/") else {
        fields.refuse(path, "must have the form policies/{id}");
        return None;
    };
    fields.check(path, PolicyId::parse(id))
}

/// Parses the etag of a write into its precondition.
pub(crate) fn parse_etag(fields: &mut Fields, path: &str, etag: &str) -> Option<Precondition> {
    match etag {
        "" => {
            fields.require(path, "must be set: read the resource and send its etag, or `*` to overwrite any version");
            None
        }
        "*" => Some(Precondition::Any),
        // An unreadable etag becomes a mismatch, since no revision is zero.
        etag => Some(Precondition::Revision(
            etag.strip_prefix("p-").and_then(|revision| revision.parse().ok()).unwrap_or(0),
        )),
    }
}

/// Renders the etag of a revision.
pub(crate) fn render_etag(revision: u64) -> String {
    format!("p-{revision}")
}
