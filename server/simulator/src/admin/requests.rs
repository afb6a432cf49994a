//! Request bodies of the admin endpoints: images and their scans as JSON.
//!
//! serde writes the names of these types into error texts, which are part of the endpoints' responses.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::findings::{BasicFinding, EnhancedFinding, Findings};
use crate::generate;
use crate::world::{Child, ImageSpec, ScanScript};

/// A new scan script for an existing image.
#[derive(Debug, Deserialize)]
pub(super) struct Rescan {
    pub(super) repository: String,
    /// A tag or a digest.
    pub(super) image: String,
    #[serde(flatten)]
    pub(super) scan: Scan,
}

/// An image to push: an index if `platforms` has entries, else a single image.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Push {
    repository: String,
    tag: String,
    /// Distinguishes images with the same tag: other content, other digest.
    content: Option<String>,
    #[serde(default)]
    scan: Scan,
    #[serde(default)]
    platforms: Vec<Platform>,
    #[serde(default)]
    attestation: bool,
    #[serde(default)]
    archived: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Platform {
    platform: String,
    #[serde(default)]
    scan: Scan,
}

/// A scan script. Without any member, the scan completed an hour ago without findings.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Scan {
    /// No scan until `StartImageScan` requests one.
    #[serde(default)]
    never: bool,
    /// Findings in ECR's wire form.
    findings: Option<Vec<Value>>,
    /// The number of findings to generate instead.
    generate: Option<usize>,
    #[serde(default)]
    seed: u64,
    /// `basic` (the default) or `enhanced`.
    #[serde(default)]
    kind: Kind,
    /// The final status of the scan. The scan has no findings unless the request lists or generates some.
    status: Option<String>,
    description: Option<String>,
    /// The scan starts now and runs for this long.
    running_seconds: Option<u64>,
    completed_seconds_ago: Option<u64>,
    premature_seconds: Option<u64>,
    /// Inspector's coverage does not list the image.
    #[serde(default)]
    uncovered: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Basic,
    Enhanced,
}

impl Push {
    pub(super) fn into_spec(self) -> ImageSpec {
        let mut spec = if self.platforms.is_empty() {
            ImageSpec::single(&self.repository, &self.tag).scan(self.scan.into_script())
        } else {
            let index = ImageSpec::index(&self.repository, &self.tag);
            self.platforms
                .into_iter()
                .fold(index, |index, child| index.child(Child::platform(&child.platform, child.scan.into_script())))
        };
        if self.attestation {
            spec = spec.attestation();
        }
        if let Some(content) = self.content {
            spec = spec.content(&content);
        }
        if self.archived { spec.archived() } else { spec }
    }
}

impl Scan {
    pub(super) fn into_script(self) -> ScanScript {
        let has_findings = self.findings.is_some() || self.generate.is_some();
        let (status, description) = (self.status.clone(), self.description.clone());
        let mut script = match &status {
            Some(status) if !has_findings => ScanScript::status(status),
            Some(status) => ScanScript::complete(self.to_findings()).with_status(status),
            None if self.never => ScanScript::on_request(self.to_findings()),
            None => ScanScript::complete(self.to_findings()),
        };
        if let Some(description) = description {
            script = script.described(&description);
        }
        if let Some(seconds) = self.completed_seconds_ago {
            script = script.completed_ago(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.running_seconds {
            script = script.begins_after(Duration::ZERO).takes(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.premature_seconds {
            script = script.premature_for(Duration::from_secs(seconds));
        }
        if self.uncovered { script.uncovered() } else { script }
    }

    fn to_findings(&self) -> Findings {
        match (self.kind, &self.findings, self.generate) {
            (_, None, None) => Findings::Clean,
            (Kind::Basic, Some(listed), _) => {
                listed.iter().cloned().map(BasicFinding::from_wire).collect::<Vec<_>>().into()
            }
            (Kind::Basic, None, Some(count)) => generate::basic(count, self.seed).into(),
            (Kind::Enhanced, Some(listed), _) => {
                listed.iter().cloned().map(EnhancedFinding::from_wire).collect::<Vec<_>>().into()
            }
            (Kind::Enhanced, None, Some(count)) => generate::enhanced(count, self.seed).into(),
        }
    }
}
