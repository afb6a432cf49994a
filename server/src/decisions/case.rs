//! What a decision was made of, as it is recorded: enough to decide again, with findings and clocks by reference, so that
//! however many decisions rest on a scan, it is kept once.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

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
use crate::gate::Judgement;

/// A part of a record that is not there, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
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
pub struct Inputs {
    /// The image as resolved.
    pub image: Image,
    /// Where it was to run.
    pub environment: Option<Environment>,
    /// The platforms asked for; empty: all.
    pub platforms: Vec<Platform>,
    /// The policy that the caller named.
    pub policy: Option<PolicyId>,
    /// What was examined.
    manifests: Vec<Part>,
}

/// A manifest with references to what is large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
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

impl Inputs {
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
            let clocks = (!examined.clocks.is_empty()).then(|| Blob::of(&*examined.clocks)).transpose()?;
            manifests.push(Part {
                manifest: examined.manifest.clone(),
                scan: examined.scan.outline(),
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

    /// What was examined, with the parts that it needs.
    pub fn examined(&self, parts: &BTreeMap<Hash, Blob>) -> Result<Vec<ManifestInput>, Damage> {
        self.manifests.iter().map(|part| part.examined(parts)).collect()
    }

    /// A decision on them, with as much of them as there is to tell people about: neither findings nor clocks.
    pub(super) fn judgement(&self, decision: Decision, deploy: Option<Digest>) -> Judgement {
        let outline = |part: &Part| ManifestInput {
            manifest: part.manifest.clone(),
            scan: Arc::new(part.scan.clone()),
            start: part.start.clone(),
            clocks: Arc::default(),
        };
        Judgement {
            image: self.image.clone(),
            environment: self.environment.clone(),
            decision,
            examined: self.manifests.iter().map(outline).collect(),
            deploy,
            told: OnceLock::new(),
        }
    }
}

impl Part {
    fn examined(&self, parts: &BTreeMap<Hash, Blob>) -> Result<ManifestInput, Damage> {
        let findings: Option<Vec<Finding>> = self.findings.map(|hash| read(parts, hash)).transpose()?;
        let clocks: Option<FirstSeenTimes> = self.clocks.map(|hash| read(parts, hash)).transpose()?;
        let report = self.scan.report.clone().map(|report| Report { findings, ..report });
        Ok(ManifestInput {
            manifest: self.manifest.clone(),
            scan: Arc::new(Scan { report, ..self.scan.clone() }),
            start: self.start.clone(),
            clocks: Arc::new(clocks.unwrap_or_default()),
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

/// Reads a value out of some blobs.
pub(super) fn read<T: DeserializeOwned>(parts: &BTreeMap<Hash, Blob>, hash: Hash) -> Result<T, Damage> {
    let part = parts.get(&hash).ok_or(Damage::Missing(hash))?;
    part.read().map_err(|source| Damage::Unreadable { hash, source })
}
