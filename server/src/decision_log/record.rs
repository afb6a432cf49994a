//! The inputs and the outcome of a decision as recorded, sufficient to evaluate it again. Findings and first-seen times are
//! stored by reference, so that decisions about one scan share them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    Decision,
    decision::{ManifestInput, Start},
    finding::Finding,
    first_seen::FirstSeenTimes,
    image::{Digest, Image, Platform},
    name::Environment,
    scan::{Manifest, Report, Scan},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::blob::{Blob, Hash};

/// A part of a record that is missing or unreadable.
#[derive(Debug, thiserror::Error)]
pub enum CorruptRecord {
    /// The part is missing.
    #[error("part {0} is missing")]
    Missing(Hash),
    /// The part cannot be read.
    #[error("part {hash} cannot be read")]
    Unreadable {
        /// The hash of the part.
        hash: Hash,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl CorruptRecord {
    /// Describes the part with its cause, in one line.
    pub fn describe(&self) -> String {
        match self {
            Self::Missing(_) => self.to_string(),
            Self::Unreadable { source, .. } => format!("{self}: {source}"),
        }
    }
}

/// The inputs of a decision except policies and waivers, which the policy store has by revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationInputs {
    /// The image as resolved.
    pub image: Image,
    /// The environment of the request.
    pub environment: Option<Environment>,
    /// The requested platforms; empty for all.
    pub platforms: Vec<Platform>,
    /// The evaluated manifests.
    manifests: Vec<ManifestRecord>,
}

/// The stored form of a [`ManifestInput`], with its large parts by reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestRecord {
    manifest: Manifest,
    /// The scan without its findings.
    scan: Scan,
    /// The blob of the findings, if the scan has a list of them.
    findings: Option<Hash>,
    /// The blob of the findings' first-seen times, if there are any.
    clocks: Option<Hash>,
    start: Option<Start>,
}

/// The outcome of an evaluation. Decisions that differ only in their time share one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The decision, with the epoch as its time: the log entry has the real one.
    pub decision: Decision,
    /// The digest that may be deployed, if any.
    pub deploy: Option<Digest>,
}

impl EvaluationInputs {
    /// Creates the inputs, and the blobs of the parts that they reference.
    pub fn new(
        image: &Image,
        environment: Option<&Environment>,
        platforms: &[Platform],
        manifests: &[ManifestInput],
    ) -> Result<(Self, Vec<Blob>), serde_json::Error> {
        let mut parts = Vec::new();
        let mut records = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            records.push(ManifestRecord::new(manifest, &mut parts)?);
        }
        let inputs = Self {
            image: image.clone(),
            environment: environment.cloned(),
            platforms: platforms.to_vec(),
            manifests: records,
        };
        Ok((inputs, parts))
    }

    /// The hashes of the referenced parts, which [`Self::load_manifests`] needs.
    pub fn part_hashes(&self) -> impl Iterator<Item = Hash> {
        self.manifests.iter().flat_map(|record| [record.findings, record.clocks]).flatten()
    }

    /// The manifests with their scans, but without findings and first-seen times.
    pub(crate) fn outlines(&self) -> Vec<ManifestInput> {
        self.manifests.iter().map(ManifestRecord::outline).collect()
    }

    /// Restores the manifests, with findings and first-seen times from their parts.
    pub fn load_manifests(&self, parts: &BTreeMap<Hash, Blob>) -> Result<Vec<ManifestInput>, CorruptRecord> {
        self.manifests.iter().map(|record| record.load(parts)).collect()
    }
}

impl ManifestRecord {
    fn new(input: &ManifestInput, parts: &mut Vec<Blob>) -> Result<Self, serde_json::Error> {
        let findings = input.scan.report.as_ref().and_then(|report| report.findings.as_ref());
        let findings = findings.map(Blob::encode).transpose()?;
        let clocks = (!input.first_seen.is_empty()).then(|| Blob::encode(&*input.first_seen)).transpose()?;
        let record = Self {
            manifest: input.manifest.clone(),
            scan: input.scan.without_findings(),
            findings: findings.as_ref().map(Blob::hash),
            clocks: clocks.as_ref().map(Blob::hash),
            start: input.start.clone(),
        };
        parts.extend(findings.into_iter().chain(clocks));
        Ok(record)
    }

    fn outline(&self) -> ManifestInput {
        ManifestInput {
            manifest: self.manifest.clone(),
            scan: Arc::new(self.scan.clone()),
            start: self.start.clone(),
            first_seen: Arc::default(),
        }
    }

    fn load(&self, parts: &BTreeMap<Hash, Blob>) -> Result<ManifestInput, CorruptRecord> {
        let findings: Option<Vec<Finding>> = self.findings.map(|hash| decode_blob(parts, hash)).transpose()?;
        let first_seen: Option<FirstSeenTimes> = self.clocks.map(|hash| decode_blob(parts, hash)).transpose()?;
        let report = self.scan.report.clone().map(|report| Report { findings, ..report });
        Ok(ManifestInput {
            manifest: self.manifest.clone(),
            scan: Arc::new(Scan { report, ..self.scan.clone() }),
            start: self.start.clone(),
            first_seen: Arc::new(first_seen.unwrap_or_default()),
        })
    }
}

impl Outcome {
    /// Creates the outcome of a decision.
    pub fn new(decision: &Decision, deploy: Option<&Digest>) -> Self {
        let decision = Decision { evaluate_time: Timestamp::UNIX_EPOCH, ..decision.clone() };
        Self { decision, deploy: deploy.cloned() }
    }
}

/// Decodes the value of one of the loaded blobs.
pub(crate) fn decode_blob<T: DeserializeOwned>(parts: &BTreeMap<Hash, Blob>, hash: Hash) -> Result<T, CorruptRecord> {
    let part = parts.get(&hash).ok_or(CorruptRecord::Missing(hash))?;
    part.decode().map_err(|source| CorruptRecord::Unreadable { hash, source })
}
