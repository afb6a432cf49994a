//! When the gate met a finding: what grace periods run on, since ECR does not remember it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;

/// The instants at which the gate met a vulnerability in a package of a repository; `None`: not yet, or not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FirstSeen {
    /// It was first seen.
    pub first_observed_at: Option<Timestamp>,
    /// A fix for it was first seen.
    pub fix_first_seen_at: Option<Timestamp>,
    /// An image that has it was first allowed into the environment that is asked about.
    pub first_admitted_at: Option<Timestamp>,
}

/// The clocks of one manifest's findings, by vulnerability and package name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct FirstSeenTimes(BTreeMap<(Arc<str>, Arc<str>), FirstSeen>);

type Entry = (Arc<str>, Arc<str>, FirstSeen);

impl FirstSeenTimes {
    /// The clock of a finding; one that never ran where it is not known.
    pub fn get(&self, finding: &Finding) -> FirstSeen {
        // The key is borrowed as it is kept: two counts of references are cheaper than a second index.
        let key = (Arc::clone(&finding.id), Arc::clone(&finding.package.name));
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// Sets the clock of a vulnerability in a package.
    pub fn set(&mut self, vulnerability: Arc<str>, package: Arc<str>, clock: FirstSeen) {
        self.0.insert((vulnerability, package), clock);
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Entry>> for FirstSeenTimes {
    fn from(entries: Vec<Entry>) -> Self {
        Self(entries.into_iter().map(|(vulnerability, package, clock)| ((vulnerability, package), clock)).collect())
    }
}

impl From<FirstSeenTimes> for Vec<Entry> {
    fn from(clocks: FirstSeenTimes) -> Self {
        clocks.0.into_iter().map(|((vulnerability, package), clock)| (vulnerability, package, clock)).collect()
    }
}
