//! What a decision was made of, as it is recorded: enough to decide again, with findings and clocks by reference, so that
//! however many decisions rest on a scan, it is kept once.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Decision,
    decision::{ManifestInput, Start},
    finding::Finding,
    first_seen::FirstSeenTimes,
    image::{Digest, Image, Platform},
    name::{Environment, PolicyId},
    scan::{Manifest, Report, Scan},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::blob::{Blob, Hash};

/// A part of a record that is not there, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CorruptRecord {
    /// It is missing.
    #[error("part {0} is missing")]
    Missing(Hash),
    /// It cannot be read.
    #[error("part {hash} cannot be read")]
    Unreadable {
        /// Which.
        hash: Hash,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// What a decision was made of, policies and waivers aside, which the store has by revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationInputs {
    /// The image as resolved.
    pub image: Image,
    /// Where it was to run.
    pub environment: Option<Environment>,
    /// The platforms asked for; empty: all.
    pub platforms: Vec<Platform>,
    /// The policy that the caller named.
    pub policy: Option<PolicyId>,
    /// What was examined.
    manifests: Vec<ManifestRecord>,
}

/// A manifest with references to what is large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestRecord {
    manifest: Manifest,
    /// The scan without its findings.
    scan: Scan,
    /// Its findings, where a list of them came.
    findings: Option<Hash>,
    /// Its findings' clocks, where any ran.
    clocks: Option<Hash>,
    start: Option<Start>,
}

/// What was decided. Decisions that say the same but for their time have the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The decision, as if decided at the epoch: the record has the time.
    pub decision: Decision,
    /// What it let deploy.
    pub deploy: Option<Digest>,
}

impl EvaluationInputs {
    /// Takes down what was examined. The parts are those that the inputs refer to.
    pub fn of(
        image: &Image,
        environment: Option<&Environment>,
        platforms: &[Platform],
        policy: Option<&PolicyId>,
        examined: &[ManifestInput],
    ) -> Result<(Self, Vec<Blob>), serde_json::Error> {
        let mut parts = Vec::new();
        let mut manifests = Vec::with_capacity(examined.len());
        for examined in examined {
            let findings = examined.scan.report.as_ref().and_then(|report| report.findings.as_ref());
            let findings = findings.map(Blob::of).transpose()?;
            let clocks = (!examined.first_seen.is_empty()).then(|| Blob::of(&*examined.first_seen)).transpose()?;
            manifests.push(ManifestRecord {
                manifest: examined.manifest.clone(),
                scan: examined.scan.without_findings(),
                findings: findings.as_ref().map(Blob::hash),
                clocks: clocks.as_ref().map(Blob::hash),
                start: examined.start.clone(),
            });
            parts.extend(findings.into_iter().chain(clocks));
        }
        let inputs = Self {
            image: image.clone(),
            environment: environment.cloned(),
            platforms: platforms.to_vec(),
            policy: policy.cloned(),
            manifests,
        };
        Ok((inputs, parts))
    }

    /// The parts that have to be read before it can be decided again.
    pub fn needs(&self) -> impl Iterator<Item = Hash> {
        self.manifests.iter().flat_map(|part| [part.findings, part.clocks]).flatten()
    }

    /// The manifests with their scans, but without findings and first-seen times.
    pub(crate) fn outlines(&self) -> Vec<ManifestInput> {
        self.manifests.iter().map(ManifestRecord::outline).collect()
    }

    /// What was examined, with the parts that it needs.
    pub fn examined(&self, parts: &BTreeMap<Hash, Blob>) -> Result<Vec<ManifestInput>, CorruptRecord> {
        self.manifests.iter().map(|part| part.examined(parts)).collect()
    }
}

impl ManifestRecord {
    fn outline(&self) -> ManifestInput {
        ManifestInput {
            manifest: self.manifest.clone(),
            scan: Arc::new(self.scan.clone()),
            start: self.start.clone(),
            first_seen: Arc::default(),
        }
    }

    fn examined(&self, parts: &BTreeMap<Hash, Blob>) -> Result<ManifestInput, CorruptRecord> {
        let findings: Option<Vec<Finding>> = self.findings.map(|hash| read_blob(parts, hash)).transpose()?;
        let clocks: Option<FirstSeenTimes> = self.clocks.map(|hash| read_blob(parts, hash)).transpose()?;
        let report = self.scan.report.clone().map(|report| Report { findings, ..report });
        Ok(ManifestInput {
            manifest: self.manifest.clone(),
            scan: Arc::new(Scan { report, ..self.scan.clone() }),
            start: self.start.clone(),
            first_seen: Arc::new(clocks.unwrap_or_default()),
        })
    }
}

impl Outcome {
    /// A decision with what it lets deploy.
    pub fn of(decision: &Decision, deploy: Option<&Digest>) -> Self {
        let decision = Decision { evaluated_at: Timestamp::UNIX_EPOCH, ..decision.clone() };
        Self { decision, deploy: deploy.cloned() }
    }
}

/// Reads a value from blobs.
pub(crate) fn read_blob<T: DeserializeOwned>(parts: &BTreeMap<Hash, Blob>, hash: Hash) -> Result<T, CorruptRecord> {
    let part = parts.get(&hash).ok_or(CorruptRecord::Missing(hash))?;
    part.read().map_err(|source| CorruptRecord::Unreadable { hash, source })
}
