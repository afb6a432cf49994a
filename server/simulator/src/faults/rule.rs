//! Rules: a fault, the calls it applies to, and the number of times.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Fault, Scope};

/// A fault with the calls it applies to.
///
/// [`Fault::on`] makes a rule for one operation; a rule converted from a fault alone applies to every operation that
/// the fault can affect. Without further conditions the rule applies to every call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(deserialize_with = "from_name_or_parameters")]
    fault: Fault,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    repository: Option<String>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    skip: u32,
    #[serde(default)]
    times: Option<u32>,
}

impl Fault {
    /// A rule with this fault for calls of one operation.
    pub fn on(self, operation: &str) -> Rule {
        Rule { operation: Some(operation.to_owned()), ..Rule::from(self) }
    }
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, operation: None, repository: None, image: None, skip: 0, times: None }
    }
}

impl Rule {
    /// Limits the rule to calls for this repository.
    #[must_use]
    pub fn repository(mut self, name: &str) -> Self {
        self.repository = Some(name.to_owned());
        self
    }

    /// Limits the rule to calls for this image, a tag or a digest. A tag also matches calls by the digest it points to.
    #[must_use]
    pub fn image(mut self, repository: &str, reference: &str) -> Self {
        self.image = Some(reference.to_owned());
        self.repository(repository)
    }

    /// Skips the first `calls` matching calls.
    #[must_use]
    pub fn skip(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    /// Limits the rule to `calls` matching calls, counted after the skipped ones.
    #[must_use]
    pub fn times(mut self, calls: u32) -> Self {
        self.times = Some(calls);
        self
    }

    /// Limits the rule to one matching call, counted after the skipped ones.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// The fault.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    fn matches(&self, target: &Target) -> bool {
        let in_scope = match self.fault.scope() {
            Scope::Any => true,
            Scope::Continued => target.continued,
            Scope::Operations(operations) => operations.contains(&target.operation.as_str()),
        };
        in_scope
            && self.operation.as_ref().is_none_or(|operation| *operation == target.operation)
            && self.repository.as_ref().is_none_or(|name| target.repository.as_ref() == Some(name))
            && self.image.as_ref().is_none_or(|image| target.images.contains(image))
    }

    /// Counts a matching call. Returns true if the fault applies to it.
    fn fires(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(remaining) => {
                *remaining -= 1;
                true
            }
        }
    }
}

/// The facts of a call that rules match on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) operation: String,
    pub(crate) repository: Option<String>,
    /// All tags and digests of the requested images.
    pub(crate) images: Vec<String>,
    pub(crate) continued: bool,
}

/// The rules of one simulator. A clone is another handle to the same rules.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

impl Faults {
    /// Adds a rule. If several rules match a call, all their faults apply. Of the faults that replace the whole
    /// response, only that of the first rule does.
    pub fn script(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.with(|rules| rules.push(rule));
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.with(Vec::clear);
    }

    /// The rules, with their remaining counts.
    pub fn rules(&self) -> Vec<Rule> {
        self.with(|rules| rules.clone())
    }

    /// Counts the call for all matching rules, and returns the faults that apply to it.
    pub(crate) fn fire(&self, target: &Target) -> Vec<Fault> {
        self.with(|rules| {
            rules
                .iter_mut()
                .filter(|rule| rule.matches(target))
                .filter_map(|rule| rule.fires().then(|| rule.fault.clone()))
                .collect()
        })
    }

    fn with<R>(&self, access: impl FnOnce(&mut Vec<Rule>) -> R) -> R {
        access(&mut self.0.lock())
    }
}

/// Deserialises a name from the catalogue, or a fault with its parameters.
fn from_name_or_parameters<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fault, D::Error> {
    use serde::de::Error as _;

    let value = serde_json::Value::deserialize(deserializer)?;
    match value.as_str() {
        Some(name) => Fault::named(name).ok_or_else(|| D::Error::custom(format!("no fault is named {name}"))),
        None => serde_json::from_value(value).map_err(D::Error::custom),
    }
}
