//! Evidence: ALLOW needs proof, and only a proof is assessed as proven.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use scangate_core::{
    Verdict,
    decision::AppliedPolicy,
    evidence::{ARRIVAL_WINDOW, CLOCK_SLACK, Evidence, SETTLE_DELAY, SETTLE_TIME, assess},
    policy::{Action, Mode, Policy},
    scan::{Content, Flaw, Frequency, Report, Scan, ScanType, Status},
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
        for manifest in &request.manifests {
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
            prop_assert!(!is_proven || assessment.ages.as_of_time.is_some());
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
        prop_assert!(decision.violations.iter().all(|violation| violation.deny_time.is_none()));
        prop_assert!(decision.warnings.iter().all(|warning| warning.deny_time.is_none_or(|from| from > request.now)));
        prop_assert_eq!(decision.retry_after.is_some(), decision.verdict == Verdict::Indeterminate);
        prop_assert!(!decision.reasons.is_empty());
        for manifest in &decision.manifests {
            let denied = decision.violations.iter().any(|violation| violation.manifest == manifest.digest);
            prop_assert_eq!(manifest.verdict == Verdict::Deny, denied);
        }
    }
}

/// The situations of a scan that a policy must warn of, each by itself, before it lets the image pass. Stated a second
/// time, without the code under test.
fn situations(manifest: &ManifestDraft, policy: &Policy, now: Timestamp) -> Vec<Evidence> {
    let scan = manifest.scan.build();
    let report = scan.report.as_ref();
    let is_artifact = manifest.manifest.content == Content::Artifact;
    let is_off = scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual;
    let is_incomplete = scan.flaws.iter().any(|flaw| matches!(flaw, Flaw::Incomplete(_)));
    let times = times(&scan, report);
    let exceeds = |at: Option<Timestamp>, limit: Option<SignedDuration>| {
        limit.is_some_and(|limit| at.map_or(has_result(&scan), |at| now.duration_since(at) > limit))
    };
    let is_basic = scan.scan_type == ScanType::Basic;
    let is_too_old = exceeds(times.current, policy.scan.max_scan_age)
        || is_basic && exceeds(times.current, policy.scan.max_basic_scan_age)
        || exceeds(times.source, policy.scan.max_source_age);
    // An empty enhanced result from before the push is unproven while scanning is on.
    let scan_time = if is_dated_by_coverage(&scan) {
        times.current.filter(|_| is_off)
    } else {
        report.and_then(|report| report.complete_time)
    };
    let is_before_push = scan_time < manifest.manifest.push_time && scan_time.is_some();
    let ended = |until: Timestamp| scan.read_time < until && until <= now;
    let is_ended =
        scan.scan_type == ScanType::Enhanced && is_done(&scan) && scan.eligibility_expire_time.is_some_and(ended);
    let by_status = match scan.status {
        Status::NotFound => Some(Evidence::NotScanned).filter(|_| !is_off && !is_artifact),
        Status::InProgress | Status::Pending => Some(Evidence::ScanPending),
        Status::Failed => Some(Evidence::ScanFailed).filter(|_| !is_artifact),
        Status::UnsupportedImage => Some(Evidence::Unsupported),
        Status::ScanEligibilityExpired => Some(Evidence::EligibilityExpired),
        Status::FindingsUnavailable => Some(Evidence::FindingsUnavailable),
        Status::LimitExceeded => Some(Evidence::LimitExceeded),
        Status::ImageArchived => Some(Evidence::Archived),
        Status::ImageSizeExceeded => Some(Evidence::TooLarge),
        Status::Unrecognised(_) => Some(Evidence::UnknownStatus),
        Status::Complete | Status::Active => None,
    };
    let others = [
        (manifest.manifest.archived, Evidence::Archived),
        (is_artifact, Evidence::Unsupported),
        (is_off || scan.frequency == Frequency::Unrecognised, Evidence::NotCovered),
        (is_incomplete, Evidence::Incomplete),
        (is_before_push || is_too_old, Evidence::Stale),
        (is_ended, Evidence::EligibilityExpired),
    ];
    let others = others.into_iter().filter_map(|(holds, evidence)| holds.then_some(evidence));
    by_status.into_iter().chain(others).chain(content_situations(manifest, now)).collect()
}

/// The situations of a scan's content, each by itself.
fn content_situations(manifest: &ManifestDraft, now: Timestamp) -> Vec<Evidence> {
    let scan = manifest.scan.build();
    let push_time = manifest.manifest.push_time;
    let is_arriving = push_time.is_some_and(|at| now.duration_since(at) < ARRIVAL_WINDOW);
    let is_settling = |at: Timestamp| scan.read_time.min(now).duration_since(at) < SETTLE_TIME;
    let pending_if = |may_end: bool, evidence| if may_end { Evidence::ScanPending } else { evidence };
    let report = scan.report.as_ref();
    let completed = report.and_then(|report| report.complete_time);
    let is_running = matches!(scan.status, Status::InProgress | Status::Pending);
    let mut found = Vec::new();
    if !is_running && report.is_some_and(|report| contradicts(&manifest.scan.counting, report)) {
        found.push(pending_if(completed.map_or(is_arriving, is_settling), Evidence::Inconsistent));
    }
    if !is_done(&scan) {
        return found;
    }
    if push_time.is_none() {
        found.push(Evidence::Incomplete);
    }
    if is_dated_by_coverage(&scan) {
        if scan.frequency != Frequency::Manual {
            found.extend(clean_situation(&scan, push_time, now));
        }
        return found;
    }
    let lacks = |report: &Report| {
        let is_basic = scan.scan_type == ScanType::Basic;
        report.findings.is_none()
            || matches!(manifest.scan.counting, Counting::Missing)
            || completed.is_none()
            || is_basic && report.source_update_time.is_none()
    };
    if report.is_none_or(lacks) {
        found.push(pending_if(is_arriving, Evidence::Incomplete));
    }
    let is_confirmed = scan.read_time.duration_since(scan.unchanged_since) >= SETTLE_DELAY;
    if completed.is_some_and(is_settling) && !is_confirmed {
        found.push(Evidence::ScanPending);
    }
    found
}

/// The situation of an empty enhanced result.
fn clean_situation(scan: &Scan, push_time: Option<Timestamp>, now: Timestamp) -> Option<Evidence> {
    let is_arriving = push_time.is_some_and(|at| now.duration_since(at) < ARRIVAL_WINDOW);
    let reason = scan.coverage.as_ref().map_or("", |coverage| coverage.reason.as_str());
    if matches!(reason, "PENDING_INITIAL_SCAN" | "SCAN_IN_PROGRESS" | "PENDING_REVIVAL_SCAN") {
        return Some(Evidence::ScanPending);
    }
    let proven = scan.report.as_ref().and_then(|report| proven_at(scan, report));
    match proven.filter(|at| push_time.is_none_or(|push_time| *at >= push_time)) {
        Some(at) => {
            // Equal readings do not settle an empty result; an earlier known scan of this push does.
            let known = scan.first_scan_time.filter(|first| push_time.is_none_or(|push_time| *first >= push_time));
            let first = known.map_or(at, |first| first.min(at));
            (scan.read_time.min(now).duration_since(first) < SETTLE_TIME).then_some(Evidence::ScanPending)
        }
        None if is_arriving => Some(Evidence::ScanPending),
        None => Some(Evidence::UnprovenClean),
    }
}

/// True if the report counts other findings than it lists.
fn contradicts(counting: &Counting, report: &Report) -> bool {
    let Counting::Explicit(counts) = counting else { return false };
    !counts.iter().filter(|(_, count)| **count > 0).eq(report.enumerated.iter())
}

/// True if ECR claims a result, whether or not it returns one.
fn has_result(scan: &Scan) -> bool {
    let is_past =
        matches!(scan.status, Status::ScanEligibilityExpired | Status::FindingsUnavailable | Status::ImageArchived);
    is_done(scan) || is_past || scan.report.is_some()
}

struct Times {
    current: Option<Timestamp>,
    source: Option<Timestamp>,
}

fn times(scan: &Scan, report: Option<&Report>) -> Times {
    let source = report.and_then(|report| report.source_update_time);
    let completed = report.and_then(|report| report.complete_time);
    if is_dated_by_coverage(scan) {
        let last = scan.coverage.as_ref().and_then(|coverage| coverage.last_scan_time);
        return Times { current: last, source: source.max(last) };
    }
    let is_continuous = scan.scan_type == ScanType::Enhanced && scan.status == Status::Active;
    let current = if is_continuous { completed.map(|at| at.max(source.unwrap_or(at))) } else { completed };
    Times { current, source }
}

fn is_done(scan: &Scan) -> bool {
    matches!(scan.status, Status::Complete | Status::Active)
}

fn is_dated_by_coverage(scan: &Scan) -> bool {
    let is_empty = |report: &Report| {
        report.findings.as_ref().is_some_and(Vec::is_empty)
            && report.counts.iter().flatten().all(|(_, count)| *count == 0)
    };
    scan.scan_type == ScanType::Enhanced && is_done(scan) && scan.report.as_ref().is_some_and(is_empty)
}

/// True if a policy accepts the scan, or warns of each of its situations.
fn is_tolerated(policy: &Policy, manifest: &ManifestDraft, now: Timestamp) -> bool {
    let warns = |evidence| policy.scan.on_shortfall(evidence) == Some(Action::Warn);
    let scan = manifest.scan.build();
    let is_void = scan.flaws.iter().any(|flaw| !matches!(flaw, Flaw::Incomplete(_))) || is_dated_ahead(manifest, now);
    !is_void && situations(manifest, policy, now).into_iter().all(warns)
}

fn is_dated_ahead(manifest: &ManifestDraft, now: Timestamp) -> bool {
    let scan = &manifest.scan;
    let last = scan.base.coverage.as_ref().and_then(|coverage| coverage.last_scan_time);
    let report = scan.report.as_ref().map(|report| [report.complete_time, report.source_update_time]);
    let times = report.into_iter().flatten().chain([last, manifest.manifest.push_time]);
    times.flatten().any(|at| at.duration_since(now) > CLOCK_SLACK)
}

/// The conditions of a proof, stated a second time.
fn is_proof(manifest: &ManifestDraft, now: Timestamp) -> bool {
    let scan = manifest.scan.build();
    scan.flaws.is_empty()
        && scan.frequency != Frequency::Unrecognised
        && !(scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual)
        && manifest.manifest.content == Content::Image
        && !manifest.manifest.archived
        && !scan
            .eligibility_expire_time
            .is_some_and(|until| scan.scan_type == ScanType::Enhanced && scan.read_time < until && until <= now)
        && has_proof(manifest, now)
}

/// The conditions on the content of a completed scan.
fn has_proof(manifest: &ManifestDraft, now: Timestamp) -> bool {
    let scan = manifest.scan.build();
    let (Some(report), Some(push_time)) = (&scan.report, manifest.manifest.push_time) else { return false };
    let is_not_ahead = |at: Timestamp| at.duration_since(now) <= CLOCK_SLACK;
    let is_settled = |at: Timestamp| {
        if is_dated_by_coverage(&scan) {
            // Equal readings do not settle an empty result; an earlier known scan of this push does.
            let first = scan.first_scan_time.filter(|first| *first >= push_time).map_or(at, |first| first.min(at));
            return scan.read_time.min(now).duration_since(first) >= SETTLE_TIME;
        }
        scan.read_time.min(now).duration_since(at) >= SETTLE_TIME
            || scan.read_time.duration_since(scan.unchanged_since) >= SETTLE_DELAY
    };
    is_done(&scan)
        && counts_agree(&manifest.scan.counting, &scan, report)
        && proven_at(&scan, report).is_some_and(|at| at >= push_time && is_not_ahead(at) && is_settled(at))
        && report.source_update_time.is_none_or(is_not_ahead)
}

/// The time of the scan; for an empty enhanced scan Inspector's coverage states it.
fn proven_at(scan: &Scan, report: &Report) -> Option<Timestamp> {
    let findings = report.findings.as_ref()?;
    if scan.scan_type == ScanType::Enhanced && findings.is_empty() {
        let coverage = scan.coverage.as_ref()?;
        let proves = coverage.active && coverage.reason == "SUCCESSFUL"
            || coverage.reason == "SCAN_FREQUENCY_SCAN_ON_PUSH" && scan.frequency == Frequency::ScanOnPush;
        coverage.last_scan_time.filter(|_| proves)
    } else {
        report.complete_time
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
