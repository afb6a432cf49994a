//! Names of policies, rules, waivers and environments: parsed once at the edge, and valid from then on.

use crate::text::validated_text;

/// Maximum length of an id or an environment name, in bytes.
pub const MAX_LENGTH: usize = 63;

/// An error of a malformed name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The id is malformed.
    #[error("must be 1 to {MAX_LENGTH} lower-case letters, digits or `-`, starting with a letter, and is {value:?}")]
    Id {
        /// The name, shortened.
        value: String,
    },
    /// The environment name is malformed.
    #[error("must be 1 to {MAX_LENGTH} lower-case letters, digits, `-`, `_` or `.`, and is {value:?}")]
    Environment {
        /// The name, shortened.
        value: String,
    },
}

validated_text! {
    /// The id in `policies/{id}`.
    PolicyId, is_id, Error::Id, MAX_LENGTH + 1
}
validated_text! {
    /// The id of a rule within its policy.
    RuleId, is_id, Error::Id, MAX_LENGTH + 1
}
validated_text! {
    /// The id in `waivers/{id}`.
    WaiverId, is_id, Error::Id, MAX_LENGTH + 1
}
validated_text! {
    /// The environment in which an image will run, e.g. `prod`.
    Environment, is_environment, Error::Environment, MAX_LENGTH + 1
}

impl PolicyId {
    /// The id of the policy that governs images without another enforced policy.
    pub const DEFAULT: &'static str = "default";

    /// Returns the id of `policies/default`.
    pub fn default_policy() -> Self {
        Self(Self::DEFAULT.into())
    }

    /// True for `policies/default`.
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }

    /// Returns the id of an unnamed policy in a preview. No stored policy has it, because [`PolicyId::parse`] refuses
    /// it.
    pub fn draft() -> Self {
        Self("(draft)".into())
    }

    /// Returns the resource name, `policies/{id}`.
    pub fn resource_name(&self) -> String {
        format!("policies/{}", self.0)
    }
}

impl WaiverId {
    /// Returns the resource name, `waivers/{id}`.
    pub fn resource_name(&self) -> String {
        format!("waivers/{}", self.0)
    }
}

fn is_id(name: &str) -> bool {
    name.len() <= MAX_LENGTH
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_environment(name: &str) -> bool {
    (1..=MAX_LENGTH).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
}
