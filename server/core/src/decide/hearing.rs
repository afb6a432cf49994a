//! One manifest under every policy: what its scan lacks, which rules it breaks, and what of that will change.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    Selected,
    horizon::Horizon,
    screen::Glance,
    tally::{Cause, Tally, distinct, tally},
};
use crate::{
    decision::{Breach, MAX_FINDINGS, ManifestDecision, ManifestInput, Start, Verdict, Violation, Waived},
    evidence::{Assessment, Evidence, POLL, assess, instants},
    finding::Finding,
    policy::{Action, Mode, Policy},
    reasons,
    remediation::Broken,
    rule::{Effect, Rule},
    waiver::{ApplicableWaivers, Waiver},
};

/// What all manifests leave behind.
#[derive(Default)]
pub(super) struct Trail<'a> {
    pub(super) violations: Vec<Violation>,
    pub(super) warnings: Vec<Violation>,
    pub(super) waived: Vec<Waived>,
    pub(super) waived_total: u32,
    pub(super) retry_after: Option<SignedDuration>,
    pub(super) broken: Vec<Broken<'a>>,
    pub(super) horizon: Horizon<'a>,
}

/// One manifest before the policies, one after the other.
struct Hearing<'a, 't> {
    examined: &'a ManifestInput,
    /// One for each finding.
    glances: Vec<Glance>,
    waivers: ApplicableWaivers<'a>,
    /// What the scan proves now, and from later instants on.
    assessments: Vec<(Timestamp, Assessment)>,
    now: Timestamp,
    trail: &'t mut Trail<'a>,
    sentences: BTreeSet<String>,
    waived: BTreeMap<usize, &'a Waiver>,
    verdict: Verdict,
    wants_scan: bool,
}

/// Decides on one manifest under every policy.
pub(super) fn decide_manifest<'a>(
    examined: &'a ManifestInput,
    policies: &[Selected<'a>],
    waivers: ApplicableWaivers<'a>,
    now: Timestamp,
    trail: &mut Trail<'a>,
) -> ManifestDecision {
    let assessment = assess(&examined.manifest, &examined.scan, now);
    let assessments = assessments(examined, assessment.clone(), now);
    trail.horizon.notice(assessments.get(1).map(|(at, _)| *at));
    let mut hearing = Hearing {
        examined,
        glances: examined.scan.findings().iter().map(Glance::of).collect(),
        waivers,
        assessments,
        now,
        trail,
        sentences: BTreeSet::new(),
        waived: BTreeMap::new(),
        verdict: Verdict::Allow,
        wants_scan: false,
    };
    for (index, selected) in policies.iter().enumerate() {
        if selected.mode != Mode::Off {
            hearing.rule_on(index, *selected, &assessment);
        }
    }
    hearing.tell_waived();
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

fn assessments(examined: &ManifestInput, first: Assessment, now: Timestamp) -> Vec<(Timestamp, Assessment)> {
    let mut assessments = vec![(now, first)];
    for at in instants(&examined.manifest, &examined.scan, now) {
        let assessment = assess(&examined.manifest, &examined.scan, at);
        if assessments.last().is_none_or(|(_, last)| *last != assessment) {
            assessments.push((at, assessment));
        }
    }
    assessments
}

impl<'a> Hearing<'a, '_> {
    fn rule_on(&mut self, index: usize, selected: Selected<'a>, assessment: &Assessment) {
        let policy = &selected.revised.policy;
        let enforced = selected.mode == Mode::Enforce;
        let scan = self.rule_on_scan(selected, assessment);
        self.verdict = self.verdict.max(scan);
        let cell = self.foresee_scan(index, policy);
        // Nothing is said of findings that a scan may still change.
        let says_nothing = scan == Verdict::Indeterminate;
        for rule in &policy.rules {
            let tally = tally(policy, rule, self.examined, &self.glances, &self.waivers, self.now);
            self.trail.horizon.notice(tally.unchanged_until);
            if rule.effect == Effect::Deny {
                self.trail.horizon.rule(cell, &tally, rule.allow);
            }
            if says_nothing {
                continue;
            }
            for (at, waiver) in &tally.waived {
                let longest = self.waived.entry(*at).or_insert(waiver);
                if (waiver.end(), &waiver.id) > (longest.end(), &longest.id) {
                    *longest = waiver;
                }
            }
            let denies = enforced && rule.effect == Effect::Deny;
            if let Some(violation) = self.violation(selected, rule, &tally) {
                self.report(violation, denies);
            }
            if denies && tally.matched > rule.allow {
                self.trail.broken.push(Broken { policy, rule, findings: tally.counting });
            }
        }
    }

    /// What a rule has to say: that it is broken, or that it will be once grace ends.
    fn violation(&self, selected: Selected<'a>, rule: &'a Rule, tally: &Tally<'a>) -> Option<Violation> {
        let policy = &selected.revised.policy;
        // The mode that counts is the one that will be: a policy that waits to become effective is one that denies.
        let enforced_from = selected.enforced_from(self.now).filter(|_| rule.effect == Effect::Deny);
        let is_broken = tally.matched > rule.allow;
        let denies_from = enforced_from
            .and_then(|since| tally.broken_from(rule.allow, since))
            .filter(|from| selected.is_to_come(*from, self.now));
        let mut findings = tally.counting.clone();
        if !is_broken {
            if denies_from.is_none() || tally.in_grace.is_empty() {
                return None;
            }
            findings.extend(&tally.in_grace);
            findings.sort_by(|a, b| a.worst_first(b));
        }
        let matched = if is_broken { tally.matched } else { distinct(findings.iter().copied()) };
        Some(Violation {
            policy: policy.id.clone(),
            breach: Breach::Rule {
                rule: rule.id.clone(),
                matched,
                allowed: rule.allow,
                findings: findings.into_iter().take(MAX_FINDINGS).cloned().collect(),
            },
            description: rule.description.clone(),
            manifest: self.examined.manifest.digest.clone(),
            platform: self.examined.manifest.platform.clone(),
            denies_from,
        })
    }

    fn rule_on_scan(&mut self, selected: Selected<'a>, assessment: &Assessment) -> Verdict {
        let policy = &selected.revised.policy;
        let enforced = selected.mode == Mode::Enforce;
        let mut verdict = Verdict::Allow;
        let mut wants_scan = false;
        for lacking in assessment.shortfalls(policy.scan.max_scan_age, self.now) {
            match shortfall(policy, self.examined, &lacking) {
                Shortfall::None => {}
                Shortfall::Wait { starts } if enforced => {
                    self.wait(&lacking);
                    verdict = verdict.max(Verdict::Indeterminate);
                    wants_scan |= starts;
                }
                // A policy that only warns neither waits nor starts anything.
                Shortfall::Wait { .. } | Shortfall::Warn => {
                    self.report(self.breach(policy, lacking.evidence, lacking.detail, None), false);
                }
                Shortfall::Deny(detail) => {
                    let denies_from =
                        selected.enforced_from(self.now).filter(|from| selected.is_to_come(*from, self.now));
                    self.report(self.breach(policy, lacking.evidence, detail, denies_from), enforced);
                    verdict = if enforced { Verdict::Deny } else { verdict };
                }
            }
        }
        self.wants_scan |= wants_scan && verdict == Verdict::Indeterminate;
        verdict
    }

    /// Tells the horizon what the scan gives under a policy, now and later, as if the policy were enforced.
    fn foresee_scan(&mut self, index: usize, policy: &'a Policy) -> usize {
        let horizon = &mut self.trail.horizon;
        let examined = self.examined;
        let mut cell = None;
        for (position, (from, assessment)) in self.assessments.iter().enumerate() {
            let until = self.assessments.get(position + 1).map(|(at, _)| *at);
            let verdict = |at| scan_verdict(policy, examined, assessment, at);
            let cell = match cell {
                None => *cell.insert(horizon.cell(index, verdict(*from))),
                Some(cell) => {
                    horizon.scan(cell, *from, verdict(*from), Cause::Evidence(examined));
                    cell
                }
            };
            let too_old = policy.scan.max_scan_age.and_then(|limit| assessment.too_old_from(limit));
            if let Some(at) = too_old.filter(|at| at > from && until.is_none_or(|until| *at < until)) {
                horizon.scan(cell, at, verdict(at), Cause::TooOld(policy, examined));
            }
        }
        cell.unwrap_or_default()
    }

    fn wait(&mut self, lacking: &Assessment) {
        self.sentences.insert(lacking.detail.clone());
        let retry_after = lacking.retry_after.unwrap_or(POLL);
        self.trail.retry_after = self.trail.retry_after.max(Some(retry_after));
    }

    fn report(&mut self, violation: Violation, denies: bool) {
        // A warning of what is to come denies nothing, however strict the policy.
        let denies = denies && violation.denies_from.is_none();
        self.sentences.insert(reasons::of_violation(&violation, denies));
        if denies {
            self.verdict = Verdict::Deny;
            self.trail.violations.push(violation);
        } else {
            self.trail.warnings.push(violation);
        }
    }

    fn breach(
        &self,
        policy: &Policy,
        evidence: Evidence,
        description: String,
        denies_from: Option<Timestamp>,
    ) -> Violation {
        Violation {
            policy: policy.id.clone(),
            breach: Breach::Scan(evidence),
            description,
            manifest: self.examined.manifest.digest.clone(),
            platform: self.examined.manifest.platform.clone(),
            denies_from,
        }
    }

    fn tell_waived(&mut self) {
        let findings = self.examined.scan.findings();
        for (at, waiver) in &self.waived {
            let Some(finding) = findings.get(*at) else { continue };
            self.trail.waived_total = self.trail.waived_total.saturating_add(1);
            self.trail.waived.push(waived(finding, waiver, self.examined));
        }
    }
}

fn waived(finding: &Finding, waiver: &Waiver, examined: &ManifestInput) -> Waived {
    Waived {
        finding: finding.clone(),
        manifest: examined.manifest.digest.clone(),
        platform: examined.manifest.platform.clone(),
        waiver: waiver.id.clone(),
        reason: waiver.reason.clone(),
        author: waiver.author.clone(),
        approver: waiver.approver.clone(),
        until: waiver.end(),
    }
}

enum Shortfall {
    None,
    Warn,
    Deny(String),
    Wait { starts: bool },
}

fn shortfall(policy: &Policy, examined: &ManifestInput, lacking: &Assessment) -> Shortfall {
    match (policy.scan.on_shortfall(lacking.evidence), &examined.start) {
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

/// What the scan alone gives under a policy that is enforced.
fn scan_verdict(policy: &Policy, examined: &ManifestInput, assessment: &Assessment, at: Timestamp) -> Verdict {
    let verdict = |lacking: Assessment| match shortfall(policy, examined, &lacking) {
        Shortfall::None | Shortfall::Warn => Verdict::Allow,
        Shortfall::Wait { .. } => Verdict::Indeterminate,
        Shortfall::Deny(_) => Verdict::Deny,
    };
    let shortfalls = assessment.shortfalls(policy.scan.max_scan_age, at);
    shortfalls.into_iter().map(verdict).max().unwrap_or(Verdict::Allow)
}
