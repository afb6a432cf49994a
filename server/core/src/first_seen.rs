//! The times at which the gate first saw a finding. Grace periods run on these times, which ECR does not record.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;

/// The first times for a vulnerability in a package of a repository; `None`: not yet, or unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FirstSeen {
    /// The vulnerability was first seen.
    pub first_observe_time: Option<Timestamp>,
    /// A fix for it was first seen.
    pub fix_first_observe_time: Option<Timestamp>,
    /// An image with the vulnerability was first allowed into the environment of the call.
    pub first_admit_time: Option<Timestamp>,
}

/// The first times of one manifest's findings, by vulnerability and package name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct FirstSeenTimes(BTreeMap<(Arc<str>, Arc<str>), FirstSeen>);

type Entry = (Arc<str>, Arc<str>, FirstSeen);

impl FirstSeenTimes {
    /// Returns the first times of a finding; without an entry, all of them are `None`.
    pub fn get(&self, finding: &Finding) -> FirstSeen {
        // The map is keyed by owned pairs: two reference counts are cheaper than a second index.
        let key = (Arc::clone(&finding.id), Arc::clone(&finding.package.name));
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// Sets the first times of a vulnerability in a package.
    pub fn set(&mut self, vulnerability: Arc<str>, package: Arc<str>, times: FirstSeen) {
        self.0.insert((vulnerability, package), times);
    }

    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Entry>> for FirstSeenTimes {
    fn from(entries: Vec<Entry>) -> Self {
        Self(entries.into_iter().map(|(vulnerability, package, times)| ((vulnerability, package), times)).collect())
    }
}

impl From<FirstSeenTimes> for Vec<Entry> {
    fn from(times: FirstSeenTimes) -> Self {
        times.0.into_iter().map(|((vulnerability, package), times)| (vulnerability, package, times)).collect()
    }
}
