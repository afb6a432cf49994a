//! The evaluation of one manifest under every policy: scan shortfalls, broken rules, and their changes to come.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    horizon::Horizon,
    prefilter::FindingSummary,
    rule_count::{RuleCount, count_distinct, count_findings},
    scan_outcome::{ScanOutcome, scan_outcome, scan_verdict},
    selection::SelectedPolicy,
};
use crate::{
    cause::Cause,
    decision::{
        AppliedWaiver, Breach, MAX_FINDINGS, ManifestDecision, ManifestInput, Remediation, Verdict, Violation, Waived,
    },
    evidence::{Assessment, Evidence, POLL, Shortfall, UNRENEWED_AGE, assess, change_instants, eligibility_end},
    policy::{Mode, Policy, Revision},
    reasons,
    remediation::{self, BrokenRule},
    rule::{Effect, Rule},
    waiver::{ApplicableWaivers, Covering, Waiver},
};

/// The results of all manifests evaluated so far.
#[derive(Default)]
pub(super) struct Accumulator<'a> {
    pub(super) violations: Vec<Violation>,
    pub(super) warnings: Vec<Violation>,
    pub(super) waived: Vec<Waived>,
    pub(super) waived_count: u32,
    pub(super) retry_after: Option<SignedDuration>,
    pub(super) horizon: Horizon<'a>,
    broken: Vec<BrokenRule<'a>>,
}

impl Accumulator<'_> {
    pub(super) fn remediation(&self) -> Option<Remediation> {
        remediation::compute(&self.broken, &self.violations)
    }
}

/// The evaluation of one manifest, to which the policies are applied in turn.
struct ManifestEvaluation<'a, 't> {
    input: &'a ManifestInput,
    /// One for each finding.
    summaries: Vec<FindingSummary>,
    waivers: ApplicableWaivers<'a>,
    /// The assessment of the scan now and at each later instant at which it changes.
    assessments: Vec<(Timestamp, Assessment)>,
    now: Timestamp,
    accumulator: &'t mut Accumulator<'a>,
    reasons: BTreeSet<String>,
    /// The longest cover of each waived finding, by its index.
    waived: BTreeMap<usize, Covering<'a>>,
    verdict: Verdict,
    wants_scan: bool,
}

/// Decides on one manifest under every policy.
pub(super) fn decide_manifest<'a>(
    input: &'a ManifestInput,
    policies: &[SelectedPolicy<'a>],
    waivers: ApplicableWaivers<'a>,
    now: Timestamp,
    accumulator: &mut Accumulator<'a>,
) -> ManifestDecision {
    let assessment = assess(&input.manifest, &input.scan, now);
    let assessments = assessments_over_time(input, assessment.clone(), now);
    accumulator.horizon.note_change_at(assessments.get(1).map(|(at, _)| *at));
    let mut evaluation = ManifestEvaluation {
        input,
        summaries: input.scan.findings().iter().map(FindingSummary::new).collect(),
        waivers,
        assessments,
        now,
        accumulator,
        reasons: BTreeSet::new(),
        waived: BTreeMap::new(),
        verdict: Verdict::Allow,
        wants_scan: false,
    };
    for (index, selected) in policies.iter().enumerate().filter(|(_, selected)| selected.mode != Mode::Off) {
        evaluation.apply_policy(index, *selected, &assessment);
    }
    evaluation.warn_of_unrenewed_scan(policies, &assessment);
    evaluation.collect_waived();
    evaluation.into_decision(assessment)
}

fn assessments_over_time(input: &ManifestInput, first: Assessment, now: Timestamp) -> Vec<(Timestamp, Assessment)> {
    let mut assessments = vec![(now, first)];
    for at in change_instants(&input.manifest, &input.scan, now) {
        let assessment = assess(&input.manifest, &input.scan, at);
        if assessments.last().is_none_or(|(_, last)| *last != assessment) {
            assessments.push((at, assessment));
        }
    }
    assessments
}

impl<'a> ManifestEvaluation<'a, '_> {
    fn apply_policy(&mut self, index: usize, selected: SelectedPolicy<'a>, assessment: &Assessment) {
        let policy = &selected.revision.policy;
        if !selected.revision.is_understood() {
            self.deny_not_understood(index, selected.revision);
            return;
        }
        let scan = self.apply_scan_requirements(selected, assessment);
        self.verdict = self.verdict.max(scan);
        let policy_manifest = self.project_scan(index, policy);
        for rule in &policy.rules {
            let count = count_findings(policy, rule, self.input, &self.summaries, &self.waivers, self.now);
            self.accumulator.horizon.note_change_at(count.unchanged_until);
            if rule.effect == Effect::Deny {
                self.accumulator.horizon.add_rule(policy_manifest, &count, rule.allowed_count);
            }
            // A pending scan may still change its findings, so they are not reported.
            if scan != Verdict::Indeterminate {
                self.apply_rule(selected, rule, count);
            }
        }
    }

    /// Denies under a policy of which this server does not understand a part.
    fn deny_not_understood(&mut self, index: usize, revision: &'a Revision) {
        self.accumulator.horizon.add_policy_manifest(index, Verdict::Deny);
        let description = format!(
            "a newer server wrote this policy, and this server does not understand {}; upgrade this server",
            revision.not_understood.join("; ")
        );
        self.report(self.violation(&revision.policy, Breach::NotUnderstood, description, None), true);
    }

    fn apply_rule(&mut self, selected: SelectedPolicy<'a>, rule: &'a Rule, mut count: RuleCount<'a>) {
        let policy = &selected.revision.policy;
        for (index, covering) in std::mem::take(&mut count.waived) {
            if self.waived.get(&index).is_none_or(|longest| covering.compare(longest).is_gt()) {
                self.waived.insert(index, covering);
            }
        }
        let denies = selected.mode == Mode::Enforce && rule.effect == Effect::Deny;
        if let Some(violation) = self.rule_violation(selected, rule, &count) {
            self.report(violation, denies);
        }
        if denies && count.total > rule.allowed_count {
            self.accumulator.broken.push(BrokenRule { policy, rule, findings: count.counted_records });
        }
    }

    /// The violation of a rule that is broken now, or that will be broken when grace ends.
    fn rule_violation(&self, selected: SelectedPolicy<'a>, rule: &'a Rule, count: &RuleCount<'a>) -> Option<Violation> {
        // The future mode decides: a policy that waits to become effective will deny.
        let enforced_from = selected.enforced_from(self.now).filter(|_| rule.effect == Effect::Deny);
        let is_broken = count.total > rule.allowed_count;
        let deny_time = enforced_from
            .and_then(|since| count.breach_start(rule.allowed_count, since))
            .filter(|from| selected.will_deny(*from, self.now));
        let mut findings = count.counted_records.clone();
        if !is_broken {
            if deny_time.is_none() || count.in_grace.is_empty() {
                return None;
            }
            findings.extend(&count.in_grace);
            findings.sort_by(|a, b| a.worst_first(b));
        }
        let breach = Breach::Rule {
            rule: rule.id.clone(),
            matched: if is_broken { count.total } else { count_distinct(findings.iter().copied()) },
            allowed: rule.allowed_count,
            findings: findings.iter().take(MAX_FINDINGS).map(|finding| finding.without_description()).collect(),
        };
        Some(self.violation(&selected.revision.policy, breach, reasons::for_rule(rule, &findings), deny_time))
    }

    fn apply_scan_requirements(&mut self, selected: SelectedPolicy<'a>, assessment: &Assessment) -> Verdict {
        let policy = &selected.revision.policy;
        let enforced = selected.mode == Mode::Enforce;
        let mut verdict = Verdict::Allow;
        let mut wants_scan = false;
        for shortfall in assessment.shortfalls(policy.scan.limits(), self.now) {
            match scan_outcome(policy, self.input, &shortfall) {
                ScanOutcome::Accept => {}
                ScanOutcome::Wait { starts } if enforced => {
                    self.wait(&shortfall);
                    verdict = verdict.max(Verdict::Indeterminate);
                    wants_scan |= starts;
                }
                // A policy that only warns neither waits nor starts a scan.
                ScanOutcome::Wait { .. } | ScanOutcome::Warn => {
                    self.report(
                        self.violation(policy, Breach::Scan(shortfall.evidence), shortfall.detail(), None),
                        false,
                    );
                }
                ScanOutcome::Deny(detail) => {
                    let deny_time = selected.enforced_from(self.now).filter(|from| selected.will_deny(*from, self.now));
                    self.report(self.violation(policy, Breach::Scan(shortfall.evidence), detail, deny_time), enforced);
                    verdict = if enforced { Verdict::Deny } else { verdict };
                }
            }
        }
        self.wants_scan |= wants_scan && verdict == Verdict::Indeterminate;
        verdict
    }

    /// Adds the verdicts of the scan under a policy to the horizon, now and later, as if the policy were enforced.
    /// Returns the index of this manifest under the policy.
    fn project_scan(&mut self, index: usize, policy: &'a Policy) -> usize {
        let horizon = &mut self.accumulator.horizon;
        let input = self.input;
        let mut added = None;
        for (position, (from, assessment)) in self.assessments.iter().enumerate() {
            let until = self.assessments.get(position + 1).map(|(at, _)| *at);
            let verdict = |at| scan_verdict(policy, input, assessment, at);
            let policy_manifest = match added {
                None => *added.insert(horizon.add_policy_manifest(index, verdict(*from))),
                Some(policy_manifest) => {
                    let cause = match eligibility_end(&input.scan) {
                        Some(end) if end == *from => Cause::EligibilityEnds(input),
                        Some(_) | None => Cause::Evidence(input),
                    };
                    horizon.add_scan_change(policy_manifest, *from, verdict(*from), cause);
                    policy_manifest
                }
            };
            let stale_from = assessment.ages.stale_from(policy.scan.limits());
            for at in stale_from.filter(|at| at > from && until.is_none_or(|until| *at < until)) {
                horizon.add_scan_change(policy_manifest, at, verdict(at), Cause::TooOld(policy, input));
            }
        }
        added.unwrap_or_default()
    }

    /// Warns of an enhanced scan on push that is past its best: Inspector does not repeat it, and a limit on its age is
    /// a policy's choice. The warning names the first policy that applies.
    fn warn_of_unrenewed_scan(&mut self, policies: &[SelectedPolicy<'a>], assessment: &Assessment) {
        let (from, as_of_time) = (assessment.ages.unrenewed_from(), assessment.ages.as_of_time);
        let (Some(from), Some(as_of_time)) = (from, as_of_time) else { return };
        let Some(first) = policies.iter().find(|selected| selected.mode != Mode::Off) else { return };
        if from > self.now {
            self.accumulator.horizon.note_change_at(Some(from));
            return;
        }
        let detail = format!(
            "the scan dates from {as_of_time}, more than {} days ago, and scanning on push never repeats it: it lacks \
             newer vulnerabilities; push the image again, or switch the repository to continuous scanning",
            UNRENEWED_AGE.as_hours() / 24
        );
        self.report(self.violation(&first.revision.policy, Breach::Scan(Evidence::Stale), detail, None), false);
    }

    fn wait(&mut self, shortfall: &Shortfall) {
        self.reasons.insert(shortfall.detail());
        let retry_after = shortfall.retry_after.unwrap_or(POLL);
        self.accumulator.retry_after = self.accumulator.retry_after.max(Some(retry_after));
    }

    fn report(&mut self, violation: Violation, denies: bool) {
        // A violation that lies in the future never denies, however strict the policy.
        let denies = denies && violation.deny_time.is_none();
        self.reasons.insert(reasons::for_violation(&violation, denies));
        if denies {
            self.verdict = Verdict::Deny;
            self.accumulator.violations.push(violation);
        } else {
            self.accumulator.warnings.push(violation);
        }
    }

    fn violation(
        &self,
        policy: &Policy,
        breach: Breach,
        description: String,
        deny_time: Option<Timestamp>,
    ) -> Violation {
        Violation {
            policy: policy.id.clone(),
            breach,
            description,
            manifest: self.input.manifest.digest.clone(),
            platform: self.input.manifest.platform.clone(),
            deny_time,
        }
    }

    fn collect_waived(&mut self) {
        let findings = self.input.scan.findings();
        for (index, covering) in &self.waived {
            let Some(finding) = findings.get(*index) else { continue };
            let applied = covering.waivers.iter().map(|waiver| applied(waiver, self.waivers.revision(&waiver.id)));
            self.accumulator.waived_count = self.accumulator.waived_count.saturating_add(1);
            self.accumulator.waived.push(Waived {
                finding: finding.without_description(),
                manifest: self.input.manifest.digest.clone(),
                platform: self.input.manifest.platform.clone(),
                waivers: applied.collect(),
                expire_time: covering.end,
            });
        }
    }

    fn into_decision(self, assessment: Assessment) -> ManifestDecision {
        let mut reasons: Vec<String> = self.reasons.into_iter().collect();
        if reasons.is_empty() {
            reasons.push(assessment.detail.clone());
        }
        reasons.extend(assessment.ages.describe());
        ManifestDecision {
            digest: self.input.manifest.digest.clone(),
            platform: self.input.manifest.platform.clone(),
            assessment,
            verdict: self.verdict,
            reasons,
            wants_scan: self.wants_scan,
        }
    }
}

fn applied(waiver: &Waiver, revision: u64) -> AppliedWaiver {
    AppliedWaiver {
        id: waiver.id.clone(),
        revision,
        reason: waiver.reason.clone(),
        requested_by: waiver.requested_by.clone(),
        approved_by: waiver.approver().unwrap_or_default().to_owned(),
        expire_time: waiver.end(),
    }
}
