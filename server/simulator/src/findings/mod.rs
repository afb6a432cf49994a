//! The findings of a scan. They are stored in ECR's own wire form, so that recorded ones stay unchanged.

mod basic;
mod enhanced;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use basic::BasicFinding;
pub use enhanced::EnhancedFinding;

/// The findings of one scan. Their kind determines the scan type under which they are visible.
#[derive(Clone, Debug)]
pub enum Findings {
    /// No findings, under any scan type of the registry.
    Clean,
    /// Findings of basic scanning: visible while the registry's scan type is BASIC.
    Basic(Arc<[BasicFinding]>),
    /// Findings of enhanced scanning: visible while the registry's scan type is ENHANCED.
    Enhanced(Arc<[EnhancedFinding]>),
}

impl Findings {
    /// The number of findings.
    pub fn len(&self) -> usize {
        match self {
            Self::Clean => 0,
            Self::Basic(findings) => findings.len(),
            Self::Enhanced(findings) => findings.len(),
        }
    }

    /// True if there are no findings.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of findings by severity. Like ECR, it omits severities without findings.
    pub fn severity_counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        let mut count = |body: &Value| {
            if let Some(severity) = body.get("severity").and_then(Value::as_str) {
                *counts.entry(severity.to_owned()).or_insert(0) += 1;
            }
        };
        match self {
            Self::Clean => {}
            Self::Basic(findings) => findings.iter().for_each(|finding| count(finding.body())),
            Self::Enhanced(findings) => findings.iter().for_each(|finding| count(finding.body())),
        }
        counts
    }
}

impl From<Vec<BasicFinding>> for Findings {
    fn from(findings: Vec<BasicFinding>) -> Self {
        Self::Basic(findings.into())
    }
}

impl From<Vec<EnhancedFinding>> for Findings {
    fn from(findings: Vec<EnhancedFinding>) -> Self {
        Self::Enhanced(findings.into())
    }
}

impl<const N: usize> From<[BasicFinding; N]> for Findings {
    fn from(findings: [BasicFinding; N]) -> Self {
        Self::Basic(findings.into())
    }
}

impl<const N: usize> From<[EnhancedFinding; N]> for Findings {
    fn from(findings: [EnhancedFinding; N]) -> Self {
        Self::Enhanced(findings.into())
    }
}

/// Sets the member at a JSON pointer (RFC 6901), and creates missing objects on its path. Does nothing if the path
/// contains a value that is not an object, or an array index that does not exist.
pub(crate) fn set_pointer(body: &mut Value, pointer: &str, value: Value) {
    let mut target = body;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if target.is_null() {
            *target = Value::Object(serde_json::Map::new());
        }
        let next = match target {
            Value::Object(members) => Some(members.entry(token).or_insert(Value::Null)),
            Value::Array(items) => token.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let Some(next) = next else { return };
        target = next;
    }
    *target = value;
}
