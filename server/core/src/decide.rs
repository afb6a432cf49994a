//! The decision: every selected policy is applied to every manifest, and the worst manifest sets the verdict.

mod horizon;
mod manifest;
mod prefilter;
mod record;
mod rule_count;
mod scan_outcome;
mod selection;

use jiff::Timestamp;

pub use self::selection::Selection;
use self::{
    manifest::{Accumulator, decide_manifest},
    selection::{SelectedPolicy, is_enforced, select},
};
use crate::{
    decision::{Decision, MAX_WAIVED, ManifestDecision, ManifestInput, Verdict, Waived},
    image::Image,
    name::Environment,
    reasons,
    waiver::Subject,
};

/// Decides whether an image may be deployed.
///
/// `manifests` are all manifests of the image that the request covers. An empty list returns DENY, because it proves
/// nothing.
///
/// ```
/// use std::sync::Arc;
///
/// use scangate_core::{
///     Verdict, decide,
///     decide::Selection,
///     decision::ManifestInput,
///     image::{Digest, Image, RepositoryName, Tag},
///     policy::{Policy, PolicySet, Revision},
///     registry::Registry,
///     scan::Scan,
/// };
///
/// let now = "2026-03-01T12:00:00Z".parse()?;
/// let push_time = Some("2026-02-28T12:00:00Z".parse()?);
/// let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64)))?;
/// let registry = Registry::parse("123456789012/eu-west-1")?;
/// let image = Image {
///     host: registry.host(),
///     registry,
///     repository: RepositoryName::parse("team/app")?,
///     tag: Some(Tag::parse("1.0")?),
///     digest: digest.clone(),
///     push_time,
/// };
///
/// let scan: Scan = serde_json::from_str(
///     r#"{
///         "read_time": "2026-03-01T12:00:00Z", "unchanged_since": "2026-03-01T12:00:00Z",
///         "status": "COMPLETE", "scan_type": "BASIC", "frequency": "SCAN_ON_PUSH",
///         "report": {
///             "complete_time": "2026-02-28T12:01:00Z", "source_update_time": "2026-02-28T11:00:00Z",
///             "counts": { "CRITICAL": 1 }, "enumerated": { "CRITICAL": 1 },
///             "findings": [{ "id": "CVE-2026-1", "package": { "name": "openssl" }, "severity": "CRITICAL" }]
///         }
///     }"#,
/// )?;
/// let manifest = serde_json::from_value(serde_json::json!({ "digest": digest, "push_time": push_time }))?;
/// let input = ManifestInput { manifest, scan: Arc::new(scan), start: None, first_seen: Arc::default() };
///
/// let policy = Policy::built_in_default()?;
/// let id = policy.id.clone();
/// let revision = Arc::new(Revision::unsaved(policy, 1));
/// let set = PolicySet { revision: 1, policies: [(id, revision)].into(), ..PolicySet::default() };
///
/// let decision = decide(&image, None, Selection::Governing(&set), &[input], now);
///
/// assert_eq!(decision.verdict, Verdict::Deny);
/// assert_eq!(
///     decision.reasons,
///     [
///         "the policies are not satisfied: policies/default",
///         "policies/default, rule no-critical: 1 matching, 0 allowed, worst CRITICAL CVE-2026-1 in openssl (fix unknown)",
///         "policies/default, rule no-fixable-high: 1 matching, 0 allowed, worst CRITICAL CVE-2026-1 in openssl (fix unknown)",
///         "the scan dates from 2026-02-28T12:01:00Z, its vulnerability data from 2026-02-28T11:00:00Z",
///     ]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decide(
    image: &Image,
    environment: Option<&Environment>,
    selection: Selection<'_>,
    manifests: &[ManifestInput],
    now: Timestamp,
) -> Decision {
    let policies = select(selection, image, environment, now);
    let mut accumulator = Accumulator::default();
    add_policies(&mut accumulator, &policies, now);
    let mut decisions = Vec::with_capacity(manifests.len());
    for input in sorted(manifests) {
        let waivers = selection.waivers().applicable_to(subject(image, environment, input), now);
        decisions.push(decide_manifest(input, &policies, waivers, now, &mut accumulator));
    }
    let enforced = is_enforced(&policies);
    let verdict = verdict(&decisions, enforced);
    let remediation = if enforced && verdict == Verdict::Deny { accumulator.remediation() } else { None };
    accumulator.waived.truncate(listed_waived(&accumulator.waived));
    let mut decision = Decision {
        verdict,
        reasons: Vec::new(),
        manifests: decisions,
        remediation,
        violations: accumulator.violations,
        warnings: accumulator.warnings,
        waived: accumulator.waived,
        waived_count: accumulator.waived_count,
        policies: policies.iter().map(SelectedPolicy::applied).collect(),
        revision: selection.revision(),
        evaluate_time: now,
        retry_after: accumulator.retry_after.filter(|_| verdict == Verdict::Indeterminate),
        unchanged_until: accumulator.horizon.unchanged_until(),
        next_change: accumulator.horizon.next_change(verdict),
    };
    decision.reasons = reasons::for_decision(&decision, enforced, selection.unnamed(environment));
    decision
}

/// Returns how many waived findings a decision lists: those with at most [`MAX_WAIVED`] waivers in total.
fn listed_waived(waived: &[Waived]) -> usize {
    let mut total = 0_usize;
    let fits = |waived: &&Waived| {
        total = total.saturating_add(waived.waivers.len());
        total <= MAX_WAIVED
    };
    waived.iter().take_while(fits).count()
}

fn sorted(manifests: &[ManifestInput]) -> Vec<&ManifestInput> {
    let mut inputs: Vec<&ManifestInput> = manifests.iter().collect();
    inputs.sort_by(|a, b| (&a.manifest.platform, &a.manifest.digest).cmp(&(&b.manifest.platform, &b.manifest.digest)));
    inputs
}

/// Adds the policies to the horizon, each with the instant from which on it will be enforced.
fn add_policies<'a>(accumulator: &mut Accumulator<'a>, policies: &'a [SelectedPolicy<'a>], now: Timestamp) {
    for (index, selected) in policies.iter().enumerate() {
        accumulator.horizon.add_policy(selected.status());
        if let Some(effective) = selected.enforced_from(now).filter(|from| *from > now) {
            accumulator.horizon.add_enforcement(index, effective, selected.effective());
        }
    }
}

fn subject<'a>(image: &'a Image, environment: Option<&'a Environment>, input: &'a ManifestInput) -> Subject<'a> {
    Subject {
        repository: &image.repository,
        image: &image.digest,
        manifest: &input.manifest.digest,
        platform: input.manifest.platform.as_ref(),
        environment,
    }
}

fn verdict(manifests: &[ManifestDecision], enforced: bool) -> Verdict {
    let worst = manifests.iter().map(|manifest| manifest.verdict).max();
    worst.filter(|_| enforced).unwrap_or(Verdict::Deny)
}
