//! Remediation: the listed upgrades resolve every fixable violation, and none of them is superfluous.

use std::collections::BTreeSet;

use proptest::prelude::*;
use scangate_core::{
    Decision, Verdict,
    decision::{RuleReference, Upgrade},
    finding::{Finding, Fix, Package},
    image::Digest,
};

use crate::{
    config,
    fixtures::{Request, request_over, sound_manifests},
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn remediation_is_sufficient_and_minimal(request in request_over(sound_manifests())) {
        let decision = request.decide();

        let Some(remediation) = &decision.remediation else { return Ok(()) };
        prop_assert_eq!(decision.verdict, Verdict::Deny);
        let all: Vec<&Upgrade> = remediation.upgrades.iter().collect();
        prop_assert!(all.iter().all(|upgrade| !upgrade.package.name.trim().is_empty()));
        let upgraded = after_upgrades(&request, &all);
        for (remaining, _) in &violated(&upgraded) {
            prop_assert!(remediation.unfixable.contains(remaining), "{:?} remains: {:?}", remaining, remediation);
        }
        for unfixable in &remediation.unfixable {
            prop_assert!(violated(&decision).iter().any(|(name, _)| name == unfixable));
        }
        for omitted in 0..all.len().min(6) {
            let mut fewer = all.clone();
            fewer.remove(omitted);
            // Violations are counted, because generated rules may share an id.
            let partly_upgraded = after_upgrades(&request, &fewer);
            prop_assert!(
                partly_upgraded.violations.len() > upgraded.violations.len(), "{:?} is superfluous", all[omitted]
            );
        }
    }
}

/// Decides on the findings that remain after upgrades.
fn after_upgrades(request: &Request, upgrades: &[&Upgrade]) -> Decision {
    let mut after = request.clone();
    for manifest in &mut after.manifests {
        let findings = manifest.scan.findings.as_mut().unwrap();
        findings.retain(|finding| !upgrades.iter().any(|upgrade| removes(upgrade, finding)));
    }
    after.decide()
}

/// Returns the violations as remediation names them, with their manifests.
fn violated(decision: &Decision) -> BTreeSet<(RuleReference, Digest)> {
    decision.violations.iter().map(|violation| (violation.reference(), violation.manifest.clone())).collect()
}

/// True if an upgrade removes a finding.
fn removes(upgrade: &Upgrade, finding: &Finding) -> bool {
    let package = &upgrade.package;
    let of = |package: &Package| Package { path: None, fixed_version: None, source_layer: None, ..package.clone() };
    of(package) == of(&finding.package)
        && upgrade.vulnerability_ids.contains(&finding.id.to_string())
        && matches!(finding.fix, Fix::Available | Fix::Partial)
}
