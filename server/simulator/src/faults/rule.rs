//! Rules: a fault, the calls it is for, and how often.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Fault, Scope};

/// A fault with the calls it is for. It begins as [`Fault::on`] or from a fault alone (every operation it can happen
/// to), and without more holds for every call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(deserialize_with = "named_or_whole")]
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
    /// This fault, on calls of one operation.
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
    /// Only on calls about this repository.
    #[must_use]
    pub fn repository(mut self, name: &str) -> Self {
        self.repository = Some(name.to_owned());
        self
    }

    /// Only on calls about this image, a tag or a digest. A tag also catches calls by the digest it points at.
    #[must_use]
    pub fn image(mut self, repository: &str, reference: &str) -> Self {
        self.image = Some(reference.to_owned());
        self.repository(repository)
    }

    /// Lets the first calls pass.
    #[must_use]
    pub fn skip(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    /// Then only so many times.
    #[must_use]
    pub fn times(mut self, calls: u32) -> Self {
        self.times = Some(calls);
        self
    }

    /// Then only once.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// The fault.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    fn is_for(&self, target: &Target) -> bool {
        let reachable = match self.fault.scope() {
            Scope::Any => true,
            Scope::Continued => target.continued,
            Scope::Operations(operations) => operations.contains(&target.operation.as_str()),
        };
        reachable
            && self.operation.as_ref().is_none_or(|operation| *operation == target.operation)
            && self.repository.as_ref().is_none_or(|name| target.repository.as_ref() == Some(name))
            && self.image.as_ref().is_none_or(|image| target.images.contains(image))
    }

    /// Counts the call, and says whether the fault happens on it.
    fn strikes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What a call is about, as far as rules ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) operation: String,
    pub(crate) repository: Option<String>,
    /// Every tag and digest by which the images asked about are known.
    pub(crate) images: Vec<String>,
    pub(crate) continued: bool,
}

/// The rules of one simulator. Cloning gives another handle to the same rules.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

impl Faults {
    /// Adds a rule. Where several are for a call, all of them happen; the first that replaces the answer does so.
    pub fn script(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.with(|rules| rules.push(rule));
    }

    /// Takes every rule away.
    pub fn clear(&self) {
        self.with(Vec::clear);
    }

    /// The rules, with what is left of their counts.
    pub fn rules(&self) -> Vec<Rule> {
        self.with(|rules| rules.clone())
    }

    pub(crate) fn strike(&self, target: &Target) -> Vec<Fault> {
        self.with(|rules| {
            rules
                .iter_mut()
                .filter(|rule| rule.is_for(target))
                .filter_map(|rule| rule.strikes().then(|| rule.fault.clone()))
                .collect()
        })
    }

    fn with<R>(&self, look: impl FnOnce(&mut Vec<Rule>) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A name from the catalogue, or a fault with its parameters.
fn named_or_whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fault, D::Error> {
    use serde::de::Error as _;

    let written = serde_json::Value::deserialize(deserializer)?;
    match written.as_str() {
        Some(name) => Fault::named(name).ok_or_else(|| D::Error::custom(format!("no fault is named {name}"))),
        None => serde_json::from_value(written).map_err(D::Error::custom),
    }
}
