//! Names that people give: policies, rules, environments. Parsed once at the edge, valid ever after.

use crate::text::text;

/// Longest policy, rule or environment name.
pub const MAX_LENGTH: usize = 63;

/// A name that does not have the form its kind demands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an id.
    #[error("must be 1 to {MAX_LENGTH} lower-case letters, digits or `-`, starting with a letter, and is {given:?}")]
    Id {
        /// What was given, cut short.
        given: String,
    },
    /// Not an environment.
    #[error("must be 1 to {MAX_LENGTH} lower-case letters, digits, `-`, `_` or `.`, and is {given:?}")]
    Environment {
        /// What was given, cut short.
        given: String,
    },
}

text! {
    /// The id in `policies/{id}`.
    PolicyId, is_id, Error::Id, MAX_LENGTH + 1
}
text! {
    /// The id of a rule within its policy.
    RuleId, is_id, Error::Id, MAX_LENGTH + 1
}
text! {
    /// The id in `waivers/{id}`.
    WaiverId, is_id, Error::Id, MAX_LENGTH + 1
}
text! {
    /// Where an image will run, e.g. `prod`.
    Environment, is_environment, Error::Environment, MAX_LENGTH + 1
}

impl PolicyId {
    /// The id of the policy that governs what no other policy does.
    pub const DEFAULT: &'static str = "default";

    /// Whether this is `policies/default`.
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }

    /// The id of a policy that is only tried and was given no name. No policy of a store has it: it is no id that
    /// [`PolicyId::parse`] takes.
    pub fn draft() -> Self {
        Self("(draft)".into())
    }

    /// The resource name, `policies/{id}`.
    pub fn resource_name(&self) -> String {
        format!("policies/{}", self.0)
    }
}

impl WaiverId {
    /// The resource name, `waivers/{id}`.
    pub fn resource_name(&self) -> String {
        format!("waivers/{}", self.0)
    }
}

fn is_id(given: &str) -> bool {
    given.len() <= MAX_LENGTH
        && given.starts_with(|c: char| c.is_ascii_lowercase())
        && given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_environment(given: &str) -> bool {
    (1..=MAX_LENGTH).contains(&given.len())
        && given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
}
