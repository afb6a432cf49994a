//! Images and their scans as JSON.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::findings::{BasicFinding, EnhancedFinding, Findings};
use crate::generate;
use crate::world::{Child, ImageSpec, ScanScript};

/// Other scans for an image.
#[derive(Debug, Deserialize)]
pub(super) struct Rescan {
    pub(super) repository: String,
    /// A tag or a digest.
    pub(super) image: String,
    #[serde(flatten)]
    pub(super) scan: Scan,
}

/// An image to push: single, or an index where `platforms` is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Push {
    repository: String,
    tag: String,
    /// Tells images of one tag apart.
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

/// What a scan does. Without a member: one that completed an hour ago and found nothing.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Scan {
    /// No scan unless asked for.
    #[serde(default)]
    never: bool,
    /// Findings in ECR's wire form.
    findings: Option<Vec<Value>>,
    /// How many findings to make up instead.
    generate: Option<usize>,
    #[serde(default)]
    seed: u64,
    /// `basic` (unless said) or `enhanced`.
    #[serde(default)]
    kind: Kind,
    /// The status a scan ends in, without findings where none are given.
    status: Option<String>,
    description: Option<String>,
    /// The scan begins now and runs so long.
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
    pub(super) fn spec(self) -> ImageSpec {
        let mut spec = if self.platforms.is_empty() {
            ImageSpec::single(&self.repository, &self.tag).scan(self.scan.script())
        } else {
            let index = ImageSpec::index(&self.repository, &self.tag);
            self.platforms
                .into_iter()
                .fold(index, |index, child| index.child(Child::platform(&child.platform, child.scan.script())))
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
    pub(super) fn script(self) -> ScanScript {
        let found = self.findings.is_some() || self.generate.is_some();
        let (status, description) = (self.status.clone(), self.description.clone());
        let mut script = match &status {
            Some(status) if !found => ScanScript::status(status),
            Some(status) => ScanScript::complete(self.found()).with_status(status),
            None if self.never => ScanScript::on_request(self.found()),
            None => ScanScript::complete(self.found()),
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

    fn found(&self) -> Findings {
        match (self.kind, &self.findings, self.generate) {
            (_, None, None) => Findings::Clean,
            (Kind::Basic, Some(given), _) => {
                given.iter().cloned().map(BasicFinding::from_wire).collect::<Vec<_>>().into()
            }
            (Kind::Basic, None, Some(count)) => generate::basic(count, self.seed).into(),
            (Kind::Enhanced, Some(given), _) => {
                given.iter().cloned().map(EnhancedFinding::from_wire).collect::<Vec<_>>().into()
            }
            (Kind::Enhanced, None, Some(count)) => generate::enhanced(count, self.seed).into(),
        }
    }
}
