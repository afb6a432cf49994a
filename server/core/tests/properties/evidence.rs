//! Evidence: ALLOW needs proof, and only a proof is assessed as proven.

use jiff::Timestamp;
use proptest::prelude::*;
use scangate_core::{
    Verdict,
    decision::{AppliedPolicy, ManifestDecision},
    evidence::{CLOCK_SLACK, Evidence, SETTLE_DELAY, SETTLE_TIME, assess},
    policy::{Action, Mode, Policy},
    scan::{Content, Frequency, Report, Scan, ScanType, Status},
};

use crate::{
    config,
    fixtures::{Counting, ManifestDraft, request},
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn unproven_image_is_allowed_only_by_warn_actions(request in request()) {
        let decision = request.decide();

        if decision.verdict != Verdict::Allow {
            return Ok(());
        }
        let set = request.policy_set();
        let enforced = decision.policies.iter().filter(|applied| applied.mode == Mode::Enforce);
        let enforced: Vec<&Policy> = enforced.map(|applied| &set.policies[&applied.id].policy).collect();
        prop_assert!(!enforced.is_empty());
        prop_assert!(!decision.manifests.is_empty());
        prop_assert_eq!(decision.manifests.len(), request.manifests.len());
        prop_assert!(decision.violations.is_empty());
        for manifest in &decision.manifests {
            for policy in &enforced {
                prop_assert!(is_tolerated(policy, manifest, request.now));
            }
        }
    }

    #[test]
    fn only_proof_is_assessed_as_proven(request in request()) {
        for (manifest, input) in request.manifests.iter().zip(request.inputs()) {
            let assessment = assess(&input.manifest, &input.scan, request.now);

            let is_proven = assessment.evidence == Evidence::Proven;
            prop_assert!(!is_proven || is_proof(manifest, request.now), "{assessment:?}");
            prop_assert!(!is_proven || assessment.current_at.is_some());
            prop_assert_eq!(assessment.evidence == Evidence::ScanPending, assessment.retry_after.is_some());
        }
    }

    #[test]
    fn verdict_follows_from_trail(request in request()) {
        let decision = request.decide();

        let worst = decision.manifests.iter().map(|manifest| manifest.verdict).max();
        let is_enforced = |applied: &&AppliedPolicy| applied.mode == Mode::Enforce;
        let default = decision.policies.iter().find(|applied| applied.id.is_default());
        let enforced = default.or(decision.policies.iter().find(is_enforced)).as_ref().is_some_and(is_enforced);
        prop_assert_eq!(decision.verdict, worst.filter(|_| enforced).unwrap_or(Verdict::Deny));
        prop_assert!(decision.violations.iter().all(|violation| violation.denies_from.is_none()));
        prop_assert!(decision.warnings.iter().all(|warning| warning.denies_from.is_none_or(|from| from > request.now)));
        prop_assert_eq!(decision.retry_after.is_some(), decision.verdict == Verdict::Indeterminate);
        prop_assert!(!decision.reasons.is_empty());
        for manifest in &decision.manifests {
            let denied = decision.violations.iter().any(|violation| violation.manifest == manifest.digest);
            prop_assert_eq!(manifest.verdict == Verdict::Deny, denied);
        }
    }
}

/// True if a policy accepts the evidence and the age of a scan, or warns of each shortfall.
fn is_tolerated(policy: &Policy, manifest: &ManifestDecision, now: Timestamp) -> bool {
    let warns = |evidence| policy.scan.on_shortfall(evidence) == Some(Action::Warn);
    let evidence = manifest.assessment.with_max_age(policy.scan.max_scan_age, now).evidence;
    let exceeds = |limit| manifest.assessment.current_at.is_some_and(|at| now.duration_since(at) > limit);
    let is_too_old = policy.scan.max_scan_age.is_some_and(exceeds);
    (evidence == Evidence::Proven || warns(evidence)) && (!is_too_old || warns(Evidence::Stale))
}

/// The conditions of a proof, stated a second time.
fn is_proof(manifest: &ManifestDraft, now: Timestamp) -> bool {
    let scan = manifest.scan.build();
    let (Some(report), Some(pushed_at)) = (&scan.report, manifest.manifest.pushed_at) else { return false };
    let is_not_ahead = |at: Timestamp| at.duration_since(now) <= CLOCK_SLACK;
    let is_settled = |at: Timestamp| {
        scan.read_at.min(now).duration_since(at) >= SETTLE_TIME
            || scan.read_at.duration_since(scan.unchanged_since) >= SETTLE_DELAY
    };
    scan.flaws.is_empty()
        && matches!(scan.status, Status::Complete | Status::Active)
        && scan.frequency != Frequency::Unrecognised
        && !(scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual)
        && manifest.manifest.content == Content::Image
        && !manifest.manifest.archived
        && counts_agree(&manifest.scan.counting, &scan, report)
        && proven_at(&scan, report).is_some_and(|at| at >= pushed_at && is_not_ahead(at) && is_settled(at))
        && report.source_updated_at.is_none_or(is_not_ahead)
}

/// The time of the scan; for an empty enhanced scan Inspector's coverage states it.
fn proven_at(scan: &Scan, report: &Report) -> Option<Timestamp> {
    let findings = report.findings.as_ref()?;
    if scan.scan_type == ScanType::Enhanced && findings.is_empty() {
        scan.coverage.as_ref().filter(|coverage| coverage.active)?.last_scanned_at
    } else {
        report.completed_at
    }
}

fn counts_agree(counting: &Counting, scan: &Scan, report: &Report) -> bool {
    let Some(findings) = &report.findings else { return false };
    match counting {
        Counting::AsListed => true,
        Counting::Missing => scan.scan_type == ScanType::Enhanced && findings.is_empty(),
        Counting::Explicit(counts) => {
            let counts_nothing = report.counts.iter().flatten().all(|(_, count)| *count == 0);
            counts.iter().filter(|(_, count)| **count > 0).eq(report.enumerated.iter())
                && (!findings.is_empty() || counts_nothing)
        }
    }
}
