//! The decision: every governing policy over every manifest, the worst of all.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::{
    decision::{Applied, Breach, Decision, Examined, MAX_FINDINGS, ManifestDecision, Start, Verdict, Violation},
    evidence::{Assessment, Evidence, POLL, assess},
    image::Image,
    name::Environment,
    policy::{Action, Mode, PolicySet, Revised},
    reasons,
    rule::{Effect, Rule},
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
    let enforced = policies.iter().any(|(_, mode)| *mode == Mode::Enforce);
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

#[derive(Default)]
struct Trail {
    violations: Vec<Violation>,
    warnings: Vec<Violation>,
    retry_after: Option<SignedDuration>,
}

/// What one policy makes of one manifest.
struct Ruling {
    verdict: Verdict,
    wants_scan: bool,
}

fn decide_manifest(
    examined: &Examined,
    policies: &[Selected<'_>],
    now: Timestamp,
    trail: &mut Trail,
) -> ManifestDecision {
    let assessment = assess(&examined.manifest, &examined.scan, now);
    let mut verdict = Verdict::Allow;
    let mut wants_scan = false;
    let mut sentences = BTreeSet::new();
    for (revised, mode) in policies {
        let ruling = rule_on(examined, revised, *mode, &assessment, now, trail, &mut sentences);
        verdict = verdict.max(ruling.verdict);
        wants_scan |= ruling.wants_scan;
    }
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

fn rule_on(
    examined: &Examined,
    revised: &Revised,
    mode: Mode,
    assessment: &Assessment,
    now: Timestamp,
    trail: &mut Trail,
    sentences: &mut BTreeSet<String>,
) -> Ruling {
    let policy = &revised.policy;
    let enforced = match mode {
        Mode::Enforce => true,
        Mode::Warn => false,
        Mode::Off => return Ruling { verdict: Verdict::Allow, wants_scan: false },
    };
    let aged = assessment.aged(policy.scan.max_scan_age, now);
    let mut ruling = Ruling { verdict: Verdict::Allow, wants_scan: false };
    let mut report = |violation: Violation, denies: bool, sentences: &mut BTreeSet<String>| {
        sentences.insert(reasons::of_violation(&violation, denies));
        if denies { trail.violations.push(violation) } else { trail.warnings.push(violation) }
    };

    match shortfall(policy.scan.on_shortfall(aged.evidence), examined, &aged) {
        Shortfall::None => {}
        Shortfall::Wait { wants_scan } if enforced => {
            sentences.insert(aged.detail.clone());
            let retry = aged.retry_after.unwrap_or(POLL);
            trail.retry_after = Some(trail.retry_after.map_or(retry, |sooner| sooner.max(retry)));
            return Ruling { verdict: Verdict::Indeterminate, wants_scan };
        }
        // A policy that only warns neither waits nor starts anything.
        Shortfall::Wait { .. } | Shortfall::Warn => report(breach(examined, revised, &aged), false, sentences),
        Shortfall::Deny(detail) => {
            report(breach(examined, revised, &Assessment { detail, ..aged }), enforced, sentences);
            ruling.verdict = if enforced { Verdict::Deny } else { Verdict::Allow };
        }
    }
    for rule in &policy.rules {
        if let Some(violation) = broken(rule, revised, examined) {
            let denies = enforced && rule.effect == Effect::Deny;
            report(violation, denies, sentences);
            if denies {
                ruling.verdict = Verdict::Deny;
            }
        }
    }
    ruling
}

enum Shortfall {
    None,
    Warn,
    Deny(String),
    Wait { wants_scan: bool },
}

fn shortfall(action: Option<Action>, examined: &Examined, aged: &Assessment) -> Shortfall {
    match (action, &examined.start) {
        (None, _) => Shortfall::None,
        (Some(Action::Warn), _) => Shortfall::Warn,
        (Some(Action::Deny), _) => Shortfall::Deny(aged.detail.clone()),
        (Some(Action::StartScan), _) if aged.evidence == Evidence::ScanPending => Shortfall::Wait { wants_scan: false },
        (Some(Action::StartScan), None) => Shortfall::Wait { wants_scan: true },
        (Some(Action::StartScan), Some(Start::Running)) => Shortfall::Wait { wants_scan: false },
        (Some(Action::StartScan), Some(Start::Refused(why))) => {
            Shortfall::Deny(format!("{}; no scan can be started: {why}", aged.detail))
        }
    }
}

fn breach(examined: &Examined, revised: &Revised, aged: &Assessment) -> Violation {
    Violation {
        policy: revised.policy.id.clone(),
        breach: Breach::Scan(aged.evidence),
        description: aged.detail.clone(),
        manifest: examined.manifest.digest.clone(),
        platform: examined.manifest.platform.clone(),
    }
}

fn broken(rule: &Rule, revised: &Revised, examined: &Examined) -> Option<Violation> {
    let policy = &revised.policy;
    let matching = || {
        let counting = examined.scan.findings().iter().filter(|finding| policy.counts(finding));
        counting.filter(|finding| rule.when.matches(finding, policy.unrated_as))
    };
    let matched = u32::try_from(matching().count()).unwrap_or(u32::MAX);
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
