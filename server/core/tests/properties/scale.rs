//! Evaluation of large inputs.
//!
//! These tests show that evaluation ends without a panic. They do not show its growth with findings and rules, because
//! a clock is unreliable on a busy machine: `scangate-bench` measures it, and docs/performance.md lists 1, 20 and 100
//! rules.

use scangate_core::{
    Verdict,
    decision::{Breach, MAX_FINDINGS, MAX_WAIVED},
    glob::Glob,
};

use crate::fixtures::{image_of_many_packages, image_of_waived_advisories, large_image};

#[test]
fn large_image_counts_all_and_lists_worst_hundred() {
    let decision = large_image(2000).decide();

    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.violations.len(), 20);
    for violation in &decision.violations {
        let Breach::Rule { matched, findings, .. } = &violation.breach else { panic!("{violation:?}") };
        assert_eq!((*matched, findings.len()), (2000, MAX_FINDINGS));
    }
    assert!(decision.reasons.len() <= 22);
}

/// Each waived finding repeats its waivers with their reasons, so they are what a list is bounded by.
#[test]
fn waived_findings_are_listed_by_number_of_waivers() {
    let decision = image_of_waived_advisories(MAX_WAIVED).decide();

    assert_eq!((decision.verdict, decision.waived_count as usize), (Verdict::Allow, MAX_WAIVED));
    assert_eq!(decision.waived.len(), MAX_WAIVED / 2);
    assert!(decision.waived.iter().all(|waived| waived.waivers.len() == 2));
}

/// A remediation whose time grew with the square of the packages would take minutes.
#[test]
fn upgrades_of_many_packages_leave_the_allowed() {
    let remediation = image_of_many_packages(5000).decide().remediation.unwrap();

    // One finding per package, ten may stay, and every third one needs two upgrades.
    let all = 5000 + 1667;
    assert!((all - 20..=all - 10).contains(&remediation.upgrades.len()), "{}", remediation.upgrades.len());
    assert_eq!(remediation.unfixable, Vec::new());
}

#[test]
fn glob_of_many_stars_ends_over_long_name() {
    let glob = Glob::parse(&"*a".repeat(128)).unwrap();

    assert!(!glob.matches(&"ab".repeat(100_000)));
    assert!(!glob.matches(&"b".repeat(200_000)));
    assert!(glob.matches(&"a".repeat(200_000)));
}
