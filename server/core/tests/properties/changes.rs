//! Comparisons of two versions: a change that is not reported never widens a waiver, and never loosens a policy.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use scangate_core::{
    finding::{Finding, Package},
    glob::Glob,
    package_name,
    policy::{Match, Policy, ScanRequirements},
    rule::{Condition, Rule},
    waiver::{Approval, Conditions, Scope, Subject, Waiver},
};

use crate::{
    config,
    fixtures::{Request, finding, image, policy, request, waiver},
};

/// For each field, true to take it from the other version. Most fields stay, so that many changes narrow.
type Choices = Vec<bool>;

fn choices() -> impl Strategy<Value = Choices> {
    vec(prop::bool::weighted(0.2), 24)
}

/// Takes the next choice.
fn pick<T>(choices: &mut impl Iterator<Item = bool>, old: T, other: T) -> T {
    if choices.next().unwrap_or_default() { other } else { old }
}

fn mixed_waiver(old: Waiver, other: Waiver, choices: Choices) -> Waiver {
    let c = &mut choices.into_iter();
    Waiver {
        scope: Scope {
            vulnerability: pick(c, old.scope.vulnerability, other.scope.vulnerability),
            package: pick(c, old.scope.package, other.scope.package),
            repository: pick(c, old.scope.repository, other.scope.repository),
            digest: pick(c, old.scope.digest, other.scope.digest),
            environment: pick(c, old.scope.environment, other.scope.environment),
            platform: pick(c, old.scope.platform, other.scope.platform),
            everywhere: old.scope.everywhere,
        },
        conditions: Conditions {
            until_fixed: pick(c, old.conditions.until_fixed, other.conditions.until_fixed),
            max_severity: pick(c, old.conditions.max_severity, other.conditions.max_severity),
            max_epss: pick(c, old.conditions.max_epss, other.conditions.max_epss),
            while_not_exploited: pick(c, old.conditions.while_not_exploited, other.conditions.while_not_exploited),
        },
        start_time: pick(c, old.start_time, other.start_time),
        expire_time: pick(c, old.expire_time, other.expire_time),
        reason: pick(c, old.reason, "another".to_owned()),
        ..old
    }
}

fn mixed_condition(old: Condition, other: Condition, c: &mut impl Iterator<Item = bool>) -> Condition {
    Condition {
        min_severity: pick(c, old.min_severity, other.min_severity),
        severities: pick(c, old.severities, other.severities),
        fix: pick(c, old.fix, other.fix),
        min_cvss: pick(c, old.min_cvss, other.min_cvss),
        min_epss: pick(c, old.min_epss, other.min_epss),
        exploit_known: pick(c, old.exploit_known, other.exploit_known),
        vulnerability_ids: pick(c, old.vulnerability_ids, other.vulnerability_ids),
        packages: pick(c, old.packages, other.packages),
        package_managers: pick(c, old.package_managers, other.package_managers),
        expression: pick(c, old.expression, other.expression),
        when_unknown: pick(c, old.when_unknown, other.when_unknown),
    }
}

fn mixed_rule(old: Rule, other: Rule, c: &mut impl Iterator<Item = bool>) -> Rule {
    Rule {
        when: mixed_condition(old.when, other.when, c),
        allowed_count: pick(c, old.allowed_count, other.allowed_count),
        grace: pick(c, old.grace, other.grace),
        effect: pick(c, old.effect, other.effect),
        waivable: pick(c, old.waivable, other.waivable),
        ..old
    }
}

fn mixed_scan(
    old: &ScanRequirements,
    other: &ScanRequirements,
    c: &mut impl Iterator<Item = bool>,
) -> ScanRequirements {
    ScanRequirements {
        max_scan_age: pick(c, old.max_scan_age, other.max_scan_age),
        max_basic_scan_age: pick(c, old.max_basic_scan_age, other.max_basic_scan_age),
        max_source_age: pick(c, old.max_source_age, other.max_source_age),
        never_scanned: pick(c, old.never_scanned, other.never_scanned),
        scanning: pick(c, old.scanning, other.scanning),
        failed: pick(c, old.failed, other.failed),
        unsupported: pick(c, old.unsupported, other.unsupported),
        eligibility_expired: pick(c, old.eligibility_expired, other.eligibility_expired),
        findings_unavailable: pick(c, old.findings_unavailable, other.findings_unavailable),
        archived: pick(c, old.archived, other.archived),
        too_old: pick(c, old.too_old, other.too_old),
        unknown: pick(c, old.unknown, other.unknown),
    }
}

/// Changes a policy as an update can: the default policy keeps its mode and its place.
fn mixed_policy(old: Policy, mut other: Policy, choices: Choices) -> Policy {
    if old.id.is_default() {
        other = Policy { matches: old.matches.clone(), mode: old.mode, effective_time: old.effective_time, ..other };
    }
    let c = &mut choices.into_iter().cycle();
    let mut rules: Vec<Rule> = Vec::new();
    let mut others = other.rules.into_iter();
    for rule in old.rules {
        rules.push(match others.next() {
            Some(other) => mixed_rule(rule, other, c),
            None => rule,
        });
    }
    Policy {
        matches: Match {
            repositories: pick(c, old.matches.repositories, other.matches.repositories),
            environments: pick(c, old.matches.environments, other.matches.environments),
            ..old.matches
        },
        mode: pick(c, old.mode, other.mode),
        effective_time: pick(c, old.effective_time, other.effective_time),
        replaces_default: pick(c, old.replaces_default, other.replaces_default),
        scan: mixed_scan(&old.scan, &other.scan, c),
        rules,
        unrated_as: pick(c, old.unrated_as, other.unrated_as),
        honor_suppression: pick(c, old.honor_suppression, other.honor_suppression),
        ..old
    }
}

/// A waiver and a changed version of it. Boxed, so that the tests fit on their stack.
fn changed_waiver() -> BoxedStrategy<(Waiver, Waiver)> {
    let versions = (waiver(), waiver(), choices());
    versions
        .prop_map(|(old, other, choices)| {
            let old = Waiver { revocation: None, ..old };
            (old.clone(), mixed_waiver(old, other, choices))
        })
        .boxed()
}

/// True if a waiver covers the id of a finding in a manifest of the request.
fn covers(waiver: &Waiver, finding: &Finding, request: &Request) -> bool {
    let image = image();
    let ranks = [scangate_core::severity::Severity::Low, scangate_core::severity::Severity::Critical];
    request.manifests.iter().any(|draft| {
        let subject = Subject {
            repository: &image.repository,
            image: &image.digest,
            manifest: &draft.manifest.digest,
            platform: draft.manifest.platform.as_ref(),
            environment: request.environment.as_ref(),
        };
        waiver.holds_at(request.now)
            && waiver.scope.includes(subject)
            && waiver.scope.names(&finding.id, finding)
            && ranks.iter().any(|rank| waiver.conditions.are_met_by(finding, *rank))
    })
}

fn pattern() -> impl Strategy<Value = Glob> {
    let symbols = select(vec!["a", "B", "-", "_", ".", ":", "*", "*"]);
    vec(symbols, 1..6).prop_map(|symbols| Glob::parse(&symbols.concat()).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "B", "-", "_", ".", ":"]), 0..6).prop_map(|symbols| symbols.concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn covered_pattern_matches_nothing_more(
        (wide, narrow) in (pattern(), pattern()), name in name(),
        manager in select(vec![None, Some("PIP"), Some("JAR"), Some("NPM")]),
    ) {
        let package = Package { name: name.as_str().into(), manager: manager.map(Into::into), ..Package::default() };
        let may_match = |glob: &Glob| package_name::any_may_match(std::slice::from_ref(glob), &package);

        prop_assert!(!wide.covers(&narrow) || !narrow.matches(&name) || wide.matches(&name));
        let covers = package_name::covers(&wide, &narrow);
        prop_assert!(!covers || !package_name::matches(&narrow, &package) || package_name::matches(&wide, &package));
        prop_assert!(!package_name::may_cover(&wide, &narrow) || !may_match(&narrow) || may_match(&wide));
    }

    #[test]
    fn unreported_change_never_widens_waiver(
        (old, new) in changed_waiver(), request in request().boxed(), finding in finding(),
    ) {
        let (old, new) = (Waiver { approval: None, ..old }, Waiver { approval: None, ..new });

        prop_assert!(old.widened_by(&old).is_empty());
        if old.widened_by(&new).is_empty() {
            prop_assert!(!covers(&new, &finding, &request) || covers(&old, &finding, &request));
        }
    }

    #[test]
    fn kept_approval_only_narrows(
        (old, mut new) in changed_waiver(), is_demanded in any::<bool>(), request in request().boxed(),
        finding in finding(),
    ) {
        new.approval = old.approval_of_change(&new, is_demanded);

        match (&old.approval, &new.approval) {
            (Some(Approval::Given { .. }), Some(Approval::Given { .. })) => {
                prop_assert_eq!(&old.approval, &new.approval);
                prop_assert_eq!(&old.reason, &new.reason);
                prop_assert!(!covers(&new, &finding, &request) || covers(&old, &finding, &request));
            }
            (Some(_), Some(Approval::Awaited)) => prop_assert!(!covers(&new, &finding, &request)),
            (None, Some(Approval::Awaited)) => {
                prop_assert!(is_demanded && !covers(&new, &finding, &request));
            }
            (None, None) if is_demanded => {
                prop_assert_eq!(&old.reason, &new.reason);
                prop_assert!(!covers(&new, &finding, &request) || covers(&old, &finding, &request));
            }
            (None, None) => {}
            (old, new) => prop_assert!(false, "{old:?} became {new:?}"),
        }
    }

    #[test]
    fn proposed_waivers_change_no_decision(request in request()) {
        let mut without = request.clone();
        without.waivers.retain(|waiver| !waiver.awaits_approval());

        prop_assert_eq!(request.decide(), without.decide());
    }

    #[test]
    fn unreported_change_never_loosens_policy(
        request in request().boxed(), at in any::<Index>(), (other, choices) in (policy(), choices()).boxed(),
    ) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        let changed = after.policy(at);
        let old = changed.clone();
        *changed = mixed_policy(old.clone(), other, choices);

        prop_assert!(old.loosened_by(&old).is_empty());
        if old.loosened_by(changed).is_empty() {
            prop_assert!(after.decide().verdict >= before.verdict);
        }
    }
}
