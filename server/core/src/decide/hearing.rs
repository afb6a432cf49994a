//! One manifest under every policy: what its scan lacks, which rules it breaks.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Selected;
use crate::{
    decision::{Breach, Examined, MAX_FINDINGS, ManifestDecision, Start, Verdict, Violation},
    evidence::{Assessment, Evidence, POLL, assess},
    finding::Finding,
    policy::{Action, Mode, Revised},
    reasons,
    rule::{Effect, Rule},
};

/// What all manifests leave behind.
#[derive(Default)]
pub(super) struct Trail {
    pub(super) violations: Vec<Violation>,
    pub(super) warnings: Vec<Violation>,
    pub(super) retry_after: Option<SignedDuration>,
}

/// One manifest before the policies, one after the other.
struct Hearing<'a> {
    examined: &'a Examined,
    now: Timestamp,
    trail: &'a mut Trail,
    sentences: BTreeSet<String>,
    verdict: Verdict,
    wants_scan: bool,
}

/// Decides on one manifest under every policy.
pub(super) fn decide_manifest(
    examined: &Examined,
    policies: &[Selected<'_>],
    now: Timestamp,
    trail: &mut Trail,
) -> ManifestDecision {
    let assessment = assess(&examined.manifest, &examined.scan, now);
    let sentences = BTreeSet::new();
    let mut hearing = Hearing { examined, now, trail, sentences, verdict: Verdict::Allow, wants_scan: false };
    for (revised, mode) in policies {
        match mode {
            Mode::Enforce => hearing.rule_on(revised, &assessment, true),
            Mode::Warn => hearing.rule_on(revised, &assessment, false),
            Mode::Off => {}
        }
    }
    let Hearing { sentences, verdict, wants_scan, .. } = hearing;
    let mut reasons: Vec<String> = sentences.into_iter().collect();
    if reasons.is_empty() {
        reasons.push(assessment.detail.clone());
    }
    ManifestDecision {
        digest: examined.manifest.digest.clone(),
        platform: examined.manifest.platform.clone(),
        assessment,
        verdict,
        reasons,
        wants_scan,
    }
}

impl Hearing<'_> {
    fn rule_on(&mut self, revised: &Revised, assessment: &Assessment, enforced: bool) {
        let scan = self.rule_on_scan(revised, assessment, enforced);
        self.verdict = self.verdict.max(scan);
        // Nothing is said of findings that a scan may still change.
        if scan == Verdict::Indeterminate {
            return;
        }
        for rule in &revised.policy.rules {
            if let Some(violation) = broken(rule, revised, self.examined, self.now) {
                self.report(violation, enforced && rule.effect == Effect::Deny);
            }
        }
    }

    fn rule_on_scan(&mut self, revised: &Revised, assessment: &Assessment, enforced: bool) -> Verdict {
        let requirements = &revised.policy.scan;
        let mut verdict = Verdict::Allow;
        let mut wants_scan = false;
        for lacking in assessment.shortfalls(requirements.max_scan_age, self.now) {
            match shortfall(requirements.on_shortfall(lacking.evidence), self.examined, &lacking) {
                Shortfall::None => {}
                Shortfall::Wait { starts } if enforced => {
                    self.wait(&lacking);
                    verdict = verdict.max(Verdict::Indeterminate);
                    wants_scan |= starts;
                }
                // A policy that only warns neither waits nor starts anything.
                Shortfall::Wait { .. } | Shortfall::Warn => {
                    self.report(self.breach(revised, lacking.evidence, lacking.detail), false);
                }
                Shortfall::Deny(detail) => {
                    self.report(self.breach(revised, lacking.evidence, detail), enforced);
                    verdict = if enforced { Verdict::Deny } else { verdict };
                }
            }
        }
        self.wants_scan |= wants_scan && verdict == Verdict::Indeterminate;
        verdict
    }

    fn wait(&mut self, lacking: &Assessment) {
        self.sentences.insert(lacking.detail.clone());
        let retry_after = lacking.retry_after.unwrap_or(POLL);
        self.trail.retry_after = self.trail.retry_after.max(Some(retry_after));
    }

    fn report(&mut self, violation: Violation, denies: bool) {
        self.sentences.insert(reasons::of_violation(&violation, denies));
        if denies {
            self.verdict = Verdict::Deny;
            self.trail.violations.push(violation);
        } else {
            self.trail.warnings.push(violation);
        }
    }

    fn breach(&self, revised: &Revised, evidence: Evidence, description: String) -> Violation {
        Violation {
            policy: revised.policy.id.clone(),
            breach: Breach::Scan(evidence),
            description,
            manifest: self.examined.manifest.digest.clone(),
            platform: self.examined.manifest.platform.clone(),
        }
    }
}

enum Shortfall {
    None,
    Warn,
    Deny(String),
    Wait { starts: bool },
}

fn shortfall(action: Option<Action>, examined: &Examined, lacking: &Assessment) -> Shortfall {
    match (action, &examined.start) {
        (None, _) => Shortfall::None,
        (Some(Action::Warn), _) => Shortfall::Warn,
        (Some(Action::Deny), _) => Shortfall::Deny(lacking.detail.clone()),
        (Some(Action::StartScan), _) if lacking.evidence == Evidence::ScanPending => Shortfall::Wait { starts: false },
        (Some(Action::StartScan), None) => Shortfall::Wait { starts: true },
        (Some(Action::StartScan), Some(Start::Running)) => Shortfall::Wait { starts: false },
        (Some(Action::StartScan), Some(Start::Refused(why))) => {
            Shortfall::Deny(format!("{}; no scan can be started: {why}", lacking.detail))
        }
    }
}

fn broken(rule: &Rule, revised: &Revised, examined: &Examined, now: Timestamp) -> Option<Violation> {
    let policy = &revised.policy;
    let matching = || {
        let counting = examined.scan.findings().iter().filter(|finding| policy.counts(finding));
        counting.filter(|finding| rule.when.matches(finding, policy.unrated_as, now))
    };
    // Two records of one finding are one, whichever of them matches: were both counted, a severity that is raised until
    // they agree would loosen.
    let distinct: BTreeSet<_> = matching().map(Finding::identity).collect();
    let matched = u32::try_from(distinct.len()).unwrap_or(u32::MAX);
    (matched > rule.allow).then(|| Violation {
        policy: policy.id.clone(),
        breach: Breach::Rule {
            rule: rule.id.clone(),
            matched,
            allowed: rule.allow,
            findings: matching().take(MAX_FINDINGS).cloned().collect(),
        },
        description: rule.description.clone(),
        manifest: examined.manifest.digest.clone(),
        platform: examined.manifest.platform.clone(),
    })
}
