//! The decision: every governing policy over every manifest, the worst of all.

mod hearing;

use jiff::Timestamp;

use self::hearing::{Trail, decide_manifest};
use crate::{
    decision::{Applied, Decision, Examined, ManifestDecision, Verdict},
    image::Image,
    name::Environment,
    policy::{Mode, PolicySet, Revised},
    reasons,
};

/// Which policies to decide by.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// Those that govern the image: the decision is authoritative.
    Governing(&'a PolicySet),
    /// Exactly this one, as if it were enforced: the decision is advice.
    Only {
        /// The policy.
        policy: &'a Revised,
        /// The store's revision that it was read at.
        revision: u64,
    },
}

/// Decides whether an image may be deployed.
///
/// `manifests` are all manifests of the image that the caller asks about. None at all is a DENY: nothing was proven.
pub fn decide(
    image: &Image,
    environment: Option<&Environment>,
    selection: Selection<'_>,
    manifests: &[Examined],
    now: Timestamp,
) -> Decision {
    let policies = select(selection, image, environment);
    let mut examined: Vec<&Examined> = manifests.iter().collect();
    examined
        .sort_by(|a, b| (&a.manifest.platform, &a.manifest.digest).cmp(&(&b.manifest.platform, &b.manifest.digest)));

    let mut trail = Trail::default();
    let manifests: Vec<ManifestDecision> =
        examined.iter().map(|examined| decide_manifest(examined, &policies, now, &mut trail)).collect();
    let enforced = is_enforced(&policies);
    let verdict = if enforced {
        manifests.iter().map(|manifest| manifest.verdict).max().unwrap_or(Verdict::Deny)
    } else {
        Verdict::Deny
    };
    let mut decision = Decision {
        verdict,
        reasons: Vec::new(),
        manifests,
        violations: trail.violations,
        warnings: trail.warnings,
        policies: policies.iter().map(applied).collect(),
        authoritative: matches!(selection, Selection::Governing(_)),
        revision: match selection {
            Selection::Governing(set) => set.revision,
            Selection::Only { revision, .. } => revision,
        },
        evaluated_at: now,
        retry_after: trail.retry_after.filter(|_| verdict == Verdict::Indeterminate),
    };
    decision.reasons = reasons::of_decision(&decision, enforced, unnamed(selection, environment));
    decision
}

type Selected<'a> = (&'a Revised, Mode);

fn select<'a>(selection: Selection<'a>, image: &Image, environment: Option<&Environment>) -> Vec<Selected<'a>> {
    match selection {
        Selection::Governing(set) => set
            .governing(&image.registry, &image.repository, environment)
            .into_iter()
            .map(|revised| (revised.as_ref(), revised.policy.mode))
            .collect(),
        Selection::Only { policy, .. } => vec![(policy, Mode::Enforce)],
    }
}

/// Whether something enforced governs the image. Where the default governs, some environment is left to it alone.
fn is_enforced(policies: &[Selected<'_>]) -> bool {
    let enforced = |(_, mode): &Selected<'_>| *mode == Mode::Enforce;
    policies.iter().any(enforced) && policies.iter().filter(|(revised, _)| revised.policy.id.is_default()).all(enforced)
}

fn applied((revised, mode): &Selected<'_>) -> Applied {
    Applied {
        id: revised.policy.id.clone(),
        revision: revised.revision,
        content_digest: revised.content_digest.clone(),
        mode: *mode,
    }
}

fn unnamed<'a>(selection: Selection<'_>, environment: Option<&'a Environment>) -> Option<&'a Environment> {
    match selection {
        Selection::Governing(set) => environment.filter(|environment| !set.names_environment(environment)),
        Selection::Only { .. } => None,
    }
}
