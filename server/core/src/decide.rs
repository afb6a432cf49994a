//! The decision: every governing policy over every manifest, the worst of all.

mod hearing;
mod horizon;
mod screen;
mod tally;

use std::sync::Arc;

use jiff::Timestamp;

pub(crate) use self::tally::Cause;
use self::{
    hearing::{Trail, decide_manifest},
    horizon::Standing,
};
use crate::{
    decision::{AppliedPolicy, Decision, MAX_WAIVED, ManifestDecision, ManifestInput, Verdict},
    image::Image,
    name::Environment,
    policy::{Mode, PolicySet, Revision},
    reasons, remediation,
    waiver::{Subject, WaiverSet},
};

/// Which policies to decide by.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// Those that govern the image: the decision is authoritative.
    Governing(&'a PolicySet),
    /// Exactly this one, as if it were enforced: the decision is advice.
    Only {
        /// The policy.
        policy: &'a Revision,
        /// The waivers.
        waivers: &'a WaiverSet,
        /// The store's revision that both were read at.
        revision: u64,
    },
}

impl<'a> Selection<'a> {
    fn waivers(self) -> &'a WaiverSet {
        match self {
            Self::Governing(set) => &set.waivers,
            Self::Only { waivers, .. } => waivers,
        }
    }

    fn revision(self) -> u64 {
        match self {
            Self::Governing(set) => set.revision,
            Self::Only { revision, .. } => revision,
        }
    }
}

/// Decides whether an image may be deployed.
///
/// `manifests` are all manifests of the image that the caller asks about. None at all is a DENY: nothing was proven.
pub fn decide(
    image: &Image,
    environment: Option<&Environment>,
    selection: Selection<'_>,
    manifests: &[ManifestInput],
    now: Timestamp,
) -> Decision {
    let policies = select(selection, image, environment, now);
    let mut examined: Vec<&ManifestInput> = manifests.iter().collect();
    examined
        .sort_by(|a, b| (&a.manifest.platform, &a.manifest.digest).cmp(&(&b.manifest.platform, &b.manifest.digest)));

    let mut trail = Trail::default();
    for (index, selected) in policies.iter().enumerate() {
        trail.horizon.policy(selected.standing(environment));
        if let Some(effective) = selected.enforced_from(now).filter(|from| *from > now) {
            trail.horizon.enforce(index, effective, Cause::Effective(&selected.revised.policy));
        }
    }
    let mut manifests = Vec::with_capacity(examined.len());
    for examined in examined {
        let place = Subject {
            repository: &image.repository,
            image: &image.digest,
            manifest: &examined.manifest.digest,
            platform: examined.manifest.platform.as_ref(),
            environment,
        };
        let waivers = selection.waivers().applicable_to(place, now);
        manifests.push(decide_manifest(examined, &policies, waivers, now, &mut trail));
    }
    let enforced = is_enforced(&policies);
    let verdict = if enforced {
        manifests.iter().map(|manifest: &ManifestDecision| manifest.verdict).max().unwrap_or(Verdict::Deny)
    } else {
        Verdict::Deny
    };
    trail.waived.truncate(MAX_WAIVED);
    let mut decision = Decision {
        verdict,
        reasons: Vec::new(),
        manifests,
        remediation: (enforced && verdict == Verdict::Deny)
            .then(|| remediation::of(&trail.broken, &trail.violations))
            .flatten(),
        violations: trail.violations,
        warnings: trail.warnings,
        waived: trail.waived,
        waived_total: trail.waived_total,
        policies: policies.iter().map(applied).collect(),
        authoritative: matches!(selection, Selection::Governing(_)),
        revision: selection.revision(),
        evaluated_at: now,
        retry_after: trail.retry_after.filter(|_| verdict == Verdict::Indeterminate),
        unchanged_until: trail.horizon.unchanged_until(),
        next_change: trail.horizon.next_change(verdict),
    };
    decision.reasons = reasons::of_decision(&decision, enforced, unnamed(selection, environment));
    decision
}

/// A policy to decide by, in the mode that it is applied in.
#[derive(Clone, Copy)]
struct Selected<'a> {
    revised: &'a Revision,
    mode: Mode,
    by_name: bool,
    /// From when on another policy takes its place.
    displaced_from: Option<Timestamp>,
}

impl Selected<'_> {
    /// From when on the policy is enforced; `None`: never.
    fn enforced_from(&self, now: Timestamp) -> Option<Timestamp> {
        let policy = &self.revised.policy;
        match (self.mode, policy.mode) {
            (Mode::Enforce, _) => Some(now),
            (Mode::Warn, Mode::Enforce) => policy.effective_time,
            (Mode::Warn | Mode::Off, _) => None,
        }
    }

    /// Whether a denial that this policy would give from `at` on is one to warn of `now`.
    fn is_to_come(&self, at: Timestamp, now: Timestamp) -> bool {
        at > now && self.displaced_from.is_none_or(|displaced| at < displaced)
    }

    fn standing(&self, environment: Option<&Environment>) -> Standing {
        let policy = &self.revised.policy;
        Standing {
            mode: self.mode,
            is_default: policy.id.is_default() && !self.by_name,
            displaces: !self.by_name && policy.can_displace_default(environment),
        }
    }
}

fn select<'a>(
    selection: Selection<'a>,
    image: &Image,
    environment: Option<&Environment>,
    now: Timestamp,
) -> Vec<Selected<'a>> {
    match selection {
        Selection::Governing(set) => {
            let governing = set.governing(&image.registry, &image.repository, environment, now);
            let displacing = governing.iter().map(|revised| &revised.policy);
            let displacing =
                displacing.filter(|policy| policy.mode == Mode::Enforce && policy.can_displace_default(environment));
            let displaced_from = displacing.filter_map(|policy| policy.effective_time.filter(|at| *at > now)).min();
            let selected = |revised: &'a Arc<Revision>| Selected {
                revised,
                mode: revised.policy.mode_at(now),
                by_name: false,
                displaced_from: displaced_from.filter(|_| revised.policy.id.is_default()),
            };
            governing.into_iter().map(selected).collect()
        }
        Selection::Only { policy, .. } => {
            vec![Selected { revised: policy, mode: Mode::Enforce, by_name: true, displaced_from: None }]
        }
    }
}

/// Whether something enforced governs the image. Where the default governs, some environment is left to it alone.
fn is_enforced(policies: &[Selected<'_>]) -> bool {
    let enforced = |selected: &Selected<'_>| selected.mode == Mode::Enforce;
    let is_default = |selected: &&Selected<'_>| selected.revised.policy.id.is_default();
    policies.iter().any(enforced) && policies.iter().filter(is_default).all(enforced)
}

fn applied(selected: &Selected<'_>) -> AppliedPolicy {
    AppliedPolicy {
        id: selected.revised.policy.id.clone(),
        revision: selected.revised.revision,
        content_digest: selected.revised.content_digest.clone(),
        mode: selected.mode,
    }
}

fn unnamed<'a>(selection: Selection<'_>, environment: Option<&'a Environment>) -> Option<&'a Environment> {
    match selection {
        Selection::Governing(set) => environment.filter(|environment| !set.names_environment(environment)),
        Selection::Only { .. } => None,
    }
}
