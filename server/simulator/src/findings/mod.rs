//! What a scan found. Findings are kept in ECR's own wire form, so that recorded ones stay as they were.

mod basic;
mod enhanced;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use basic::BasicFinding;
pub use enhanced::EnhancedFinding;

/// The findings of one scan. Which kind they are decides which scan type shows them.
#[derive(Clone, Debug)]
pub enum Findings {
    /// Nothing found, by whichever scan type the registry uses.
    Clean,
    /// Found by basic scanning: shown while the registry's scan type is BASIC.
    Basic(Arc<[BasicFinding]>),
    /// Found by enhanced scanning: shown while the registry's scan type is ENHANCED.
    Enhanced(Arc<[EnhancedFinding]>),
}

impl Findings {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Clean => 0,
            Self::Basic(findings) => findings.len(),
            Self::Enhanced(findings) => findings.len(),
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Findings per severity; a severity without findings is left out, as ECR does.
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

/// Sets the member that `pointer` (RFC 6901) names, making objects on the way. Does nothing where the way is barred by
/// a value that is not an object, or an array index that does not exist.
pub(crate) fn set(body: &mut Value, pointer: &str, value: Value) {
    let mut place = body;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        let next = match place {
            Value::Object(members) => Some(members.entry(step).or_insert(Value::Null)),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let Some(next) = next else { return };
        place = next;
    }
    *place = value;
}
