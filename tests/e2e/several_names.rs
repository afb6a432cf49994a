//! Several names for one thing: related ids, case, and spellings of packages, in rules, waivers, GetFindings and notes.

use scangate_client::v1::{
    CreateWaiverRequest, FindingCondition, GetFindingsRequest, ListWaiversRequest, Policy, PolicyMatch, Rule, Severity,
    Verdict, Waiver, WaiverFilter, WaiverScope,
};
use scangate_ecr_simulator::{EnhancedFinding, ImageSpec, ScanScript, World};

use crate::harness::{Gate, gate};

const IMAGE: &str = "shop/web:1";

/// A gate over one image with these findings.
async fn gate_over(findings: Vec<EnhancedFinding>) -> Gate {
    let mut world = World::enhanced();
    world.push(ImageSpec::single("shop/web", "1").scan(ScanScript::complete(findings)));
    gate(world).start().await
}

fn npm(id: &str, related: &[&str]) -> EnhancedFinding {
    EnhancedFinding::new(id, "MEDIUM").package("next", "15.0.0").manager("NODEPKG").related(related)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A policy over the shop that denies what matches a filter.
fn deny(when: FindingCondition) -> Policy {
    let rule = Rule { id: "banned".into(), when: Some(when), ..Default::default() };
    let matches = PolicyMatch { repositories: names(&["shop/*"]), ..Default::default() };
    Policy { r#match: Some(matches), rules: vec![rule], ..Default::default() }
}

fn deny_ids(ids: &[&str]) -> Policy {
    deny(FindingCondition { vulnerability_ids: names(ids), ..Default::default() })
}

fn deny_from_medium() -> Policy {
    deny(FindingCondition { min_severity: Severity::Medium.into(), ..Default::default() })
}

/// Waives a vulnerability in the shop; returns the notes.
async fn waive(gate: &Gate, id: &str, vulnerability: &str) -> Vec<String> {
    let scope =
        WaiverScope { vulnerability_id: vulnerability.into(), repository: "shop/*".into(), ..Default::default() };
    let waiver = Waiver { scope: Some(scope), reason: "no server actions".into(), ..Default::default() };
    let request = CreateWaiverRequest { waiver_id: id.into(), waiver: Some(waiver), ..Default::default() };
    gate.client.policies().create_waiver(request).await.unwrap().into_inner().notes
}

#[tokio::test]
async fn denylist_finds_vulnerability_under_other_name() {
    let gate = gate_over(vec![npm("GHSA-9qv9-x3m4-v8cp", &["CVE-2025-55182"])]).await;
    gate.create_policy("banned", deny_ids(&["CVE-2025-55182"])).await;

    let decision = gate.decide(IMAGE).await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    let finding = &decision.violations[0].findings[0];
    assert_eq!(
        (finding.vulnerability_id.as_str(), &finding.related_ids[..]),
        ("GHSA-9qv9-x3m4-v8cp", &names(&["CVE-2025-55182"])[..])
    );
}

#[tokio::test]
async fn denylist_ignores_case_of_ids() {
    let gate = gate_over(vec![npm("CVE-2021-44228", &[])]).await;
    gate.create_policy("banned", deny_ids(&["cve-2021-44228"])).await;

    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny);
}

#[tokio::test]
async fn denylist_finds_packages_in_other_spellings() {
    let finding =
        |name: &str, manager: &str| EnhancedFinding::new("CVE-2026-42", "LOW").package(name, "1.0").manager(manager);
    let found = [("PyYAML", "PYTHONPKG"), ("org.apache.logging.log4j:log4j-core", "JAR")];
    for (name, manager) in found {
        let gate = gate_over(vec![finding(name, manager)]).await;
        let packages = names(&["pyyaml", "log4j-core"]);
        gate.create_policy("banned", deny(FindingCondition { packages, ..Default::default() })).await;

        assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny, "{name}");
    }
}

#[tokio::test]
async fn waiver_of_only_related_cve_covers_advisory() {
    let gate = gate_over(vec![npm("GHSA-77r5-gw3j-2mpf", &["CVE-2024-34351"])]).await;
    gate.create_policy("none", deny_from_medium()).await;
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny);

    let notes = waive(&gate, "next", "CVE-2024-34351").await;
    let decision = gate.decide(IMAGE).await;
    let unused = ListWaiversRequest {
        filter: Some(WaiverFilter { matches_findings: Some(false), ..Default::default() }),
        ..Default::default()
    };
    let unused = gate.client.policies().list_waivers(unused).await.unwrap().into_inner().waivers;

    assert_eq!(
        (decision.verdict(), decision.waived_findings[0].waivers[0].waiver.as_str()),
        (Verdict::Allow, "waivers/next")
    );
    assert!(notes.is_empty() && unused.is_empty(), "{notes:?} {unused:?}");
}

#[tokio::test]
async fn waiver_for_one_of_two_related_cves_denies() {
    let gate = gate_over(vec![npm("ALAS-2026-1", &["CVE-2026-1", "CVE-2026-2"])]).await;
    gate.create_policy("none", deny_from_medium()).await;

    waive(&gate, "one", "CVE-2026-1").await;
    let one = gate.decide(IMAGE).await;
    waive(&gate, "two", "CVE-2026-2").await;
    let both = gate.decide(IMAGE).await;

    assert_eq!((one.verdict(), both.verdict()), (Verdict::Deny, Verdict::Allow));
    let shown = &both.waived_findings[0];
    let names: Vec<&str> = shown.waivers.iter().map(|applied| applied.waiver.as_str()).collect();
    assert_eq!(names, ["waivers/one", "waivers/two"]);
    assert_eq!(shown.expire_time, shown.waivers[0].expire_time, "the first one ends first");
}

#[tokio::test]
async fn findings_filter_takes_any_name() {
    let gate = gate_over(vec![
        npm("GHSA-9qv9-x3m4-v8cp", &["CVE-2025-55182"]),
        EnhancedFinding::new("CVE-2026-42", "LOW").package("PyYAML", "6.0").manager("PYTHONPKG"),
    ])
    .await;

    for (vulnerability_id, package, expected) in [
        ("cve-2025-55182", "", Some("GHSA-9qv9-x3m4-v8cp")),
        ("GHSA-9QV9-X3M4-V8CP", "NEXT", Some("GHSA-9qv9-x3m4-v8cp")),
        ("", "pyyaml", Some("CVE-2026-42")),
        ("CVE-2025-5518", "", None),
    ] {
        let one = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        let (vulnerability_ids, packages) = (one(vulnerability_id), one(package));
        let filter = FindingCondition { vulnerability_ids, packages, ..Default::default() };
        let request = GetFindingsRequest { image: IMAGE.into(), filter: Some(filter), ..Default::default() };
        let found = gate.client.all_findings(request).await.unwrap().findings;

        let ids: Vec<&str> = found.iter().map(|finding| finding.vulnerability_id.as_str()).collect();
        assert_eq!(ids, expected.into_iter().collect::<Vec<_>>(), "{vulnerability_id:?} {package:?}");
    }
}

#[tokio::test]
async fn policy_patterns_without_effect_are_noted() {
    let gate = gate_over(vec![npm("GHSA-9qv9-x3m4-v8cp", &["CVE-2025-55182"])]).await;
    drop(gate.decide(IMAGE).await);
    let policy = deny(FindingCondition {
        vulnerability_ids: names(&["cve-2025-55182", "CVE-2021-44228", "CVE-2026-1 exp:2026-12-31"]),
        packages: names(&["NEXT", "openssl", "next@15.0.0"]),
        ..Default::default()
    });

    let notes = gate.create_policy("banned", policy).await.notes;

    for part in [
        r#"rule banned: vulnerability_ids "CVE-2026-1 exp:2026-12-31" can match nothing"#,
        r#"rule banned: this gate has seen no finding that matches vulnerability_ids "CVE-2021-44228""#,
        r#"rule banned: packages "next@15.0.0" can match nothing"#,
        r#"rule banned: this gate has seen no finding that matches packages "openssl""#,
    ] {
        assert_eq!(notes.iter().filter(|note| note.starts_with(part)).count(), 1, "{part}: {notes:?}");
    }
    assert_eq!(notes.len(), 4, "{notes:?}");
}
