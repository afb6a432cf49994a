//! ConfigureScanning: the settings before and after a change, and the dry run.

use scangate_client::v1::{
    ConfigureMode, ConfigureScanningRequest, GetFindingsRequest, RegistryScanning, RegistryTarget, RepositoryTarget,
    ScanFrequency, ScanType, ScanningRule, StartScanRequest, Verdict, WatchScanRequest,
    configure_scanning_request::Target,
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World};

use crate::harness::{gate, rejection};

fn world() -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1"));
    world.push(ImageSpec::single("other/app", "1"));
    world
}

fn rule(frequency: ScanFrequency, filter: &str) -> ScanningRule {
    ScanningRule { frequency: frequency.into(), repository_filters: vec![filter.to_owned()] }
}

fn registry(scan_type: ScanType, rules: Vec<ScanningRule>, mode: ConfigureMode) -> RegistryTarget {
    RegistryTarget {
        registry: String::new(),
        scanning: Some(RegistryScanning { scan_type: scan_type.into(), rules }),
        mode: mode.into(),
        report_repositories: vec!["team/app".into(), "other/app".into()],
    }
}

fn apply(target: Target) -> ConfigureScanningRequest {
    ConfigureScanningRequest { target: Some(target), validate_only: false }
}

#[tokio::test]
async fn repository_scan_on_push_is_set_and_read_back() {
    let gate = gate(world()).start().await;
    let target = RepositoryTarget { repository: "team/app".into(), scan_on_push: Some(true) };

    let configured = gate.client.configure_scanning(apply(Target::Repository(target.clone()))).await.unwrap();
    let again = gate.client.configure_scanning(apply(Target::Repository(target))).await.unwrap();

    let (before, after) = (configured.before.unwrap(), configured.after.unwrap());
    assert!(!before.repositories[0].scan_on_push);
    assert!(after.repositories[0].scan_on_push);
    assert!(configured.changed);
    assert!(!again.changed);
}

#[tokio::test]
async fn merge_keeps_rules_and_replace_drops_them() {
    let gate = gate(world()).start().await;
    let push = ScanFrequency::ScanOnPush;
    let first = registry(ScanType::Basic, vec![rule(push, "team/*")], ConfigureMode::Merge);
    let second = registry(ScanType::Basic, vec![rule(push, "other/*")], ConfigureMode::Merge);
    let third = registry(ScanType::Basic, vec![rule(push, "other/*")], ConfigureMode::Replace);

    gate.client.configure_scanning(apply(Target::Registry(first))).await.unwrap();
    let merged = gate.client.configure_scanning(apply(Target::Registry(second))).await.unwrap();
    let replaced = gate.client.configure_scanning(apply(Target::Registry(third))).await.unwrap();

    let rules = merged.after.unwrap().registry.unwrap().rules;
    assert_eq!(rules[0].repository_filters, ["other/*", "team/*"]);
    let rules = replaced.after.unwrap().registry.unwrap().rules;
    assert_eq!(rules[0].repository_filters, ["other/*"]);
    assert!(replaced.notes.iter().any(|note| note.contains("team/app")), "{:?}", replaced.notes);
}

#[tokio::test]
async fn scanning_dry_run_predicts_effect_without_write() {
    let gate = gate(world()).start().await;
    let rules = vec![rule(ScanFrequency::ContinuousScan, "team/*"), rule(ScanFrequency::ScanOnPush, "*")];
    let target = registry(ScanType::Enhanced, rules, ConfigureMode::Replace);

    let request = ConfigureScanningRequest { target: Some(Target::Registry(target.clone())), validate_only: true };
    let predicted = gate.client.configure_scanning(request).await.unwrap();
    let puts = gate.ecr.calls().count("PutRegistryScanningConfiguration");
    let applied = gate.client.configure_scanning(apply(Target::Registry(target))).await.unwrap();

    assert_eq!(puts, 0);
    assert_eq!(predicted.after, applied.after);
    let frequencies: Vec<ScanFrequency> =
        applied.after.unwrap().repositories.iter().map(scangate_client::v1::RepositoryScanning::frequency).collect();
    assert_eq!(frequencies, [ScanFrequency::ContinuousScan, ScanFrequency::ScanOnPush]);
}

#[tokio::test]
async fn invalid_scanning_rule_reports_field_paths() {
    let gate = gate(world()).start().await;
    let continuous = vec![rule(ScanFrequency::ContinuousScan, "UPPER")];
    let target = registry(ScanType::Basic, continuous, ConfigureMode::Merge);

    let refused = rejection(gate.client.configure_scanning(apply(Target::Registry(target))).await);

    let fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["registry.scanning.rules[0].frequency", "registry.scanning.rules[0].repository_filters[0]"]);
}

/// Rules that ECR would refuse, each with the refused field.
#[tokio::test]
async fn rule_that_ecr_refuses_names_its_field() {
    use ScanFrequency::{ContinuousScan, Manual, ScanOnPush};
    use ScanType::{Basic, Enhanced};
    let gate = gate(world()).start().await;
    let many = ScanningRule {
        frequency: ScanOnPush.into(),
        repository_filters: (0..101).map(|number| format!("repo{number}")).collect(),
    };
    let cases = [
        (Enhanced, vec![rule(ScanOnPush, "*"), rule(ScanOnPush, "test*")], "rules[1].frequency"),
        (Basic, vec![rule(ContinuousScan, "*")], "rules[0].frequency"),
        (Basic, vec![rule(Manual, "*")], "rules[0].frequency"),
        (Enhanced, vec![rule(Manual, "*")], "rules[0].frequency"),
        (Enhanced, vec![many], "rules[0].repository_filters"),
        (Enhanced, vec![rule(ScanOnPush, "Team-A/*")], "rules[0].repository_filters[0]"),
        (Enhanced, vec![rule(ScanOnPush, "team-a/app?")], "rules[0].repository_filters[0]"),
        (Enhanced, vec![rule(ScanOnPush, "team--a")], "rules[0].repository_filters[0]"),
    ];
    for (scan_type, rules, field) in cases {
        let target = registry(scan_type, rules.clone(), ConfigureMode::Replace);
        let request = ConfigureScanningRequest { target: Some(Target::Registry(target)), validate_only: true };

        let refused = rejection(gate.client.configure_scanning(request).await);

        let fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, [format!("registry.scanning.{field}")], "{rules:?}");
    }
}

#[tokio::test]
async fn repository_that_drops_out_is_noted() {
    let gate = gate(world()).start().await;
    let everything = || registry(ScanType::Basic, vec![rule(ScanFrequency::ScanOnPush, "*")], ConfigureMode::Replace);
    let targets = [
        Target::Registry(registry(ScanType::Basic, Vec::new(), ConfigureMode::Replace)),
        Target::Registry(registry(
            ScanType::Enhanced,
            vec![rule(ScanFrequency::ContinuousScan, "prod")],
            ConfigureMode::Replace,
        )),
    ];
    gate.client.configure_scanning(apply(Target::Registry(everything()))).await.unwrap();
    for target in targets {
        let request = ConfigureScanningRequest { target: Some(target.clone()), validate_only: true };

        let notes = gate.client.configure_scanning(request).await.unwrap().notes;

        for lost in ["filter \"*\" selects no", "repository team/app is no longer", "repository other/app is no longer"]
        {
            assert!(notes.iter().any(|note| note.contains(lost)), "{target:?}: {notes:?}");
        }
    }
}

#[tokio::test]
async fn flag_that_ends_scanning_is_noted() {
    let gate = gate(world()).start().await;
    let flag = |scan_on_push| {
        Target::Repository(RepositoryTarget { repository: "team/app".into(), scan_on_push: Some(scan_on_push) })
    };
    gate.client.configure_scanning(apply(flag(true))).await.unwrap();

    let notes = gate.client.configure_scanning(apply(flag(false))).await.unwrap().notes;

    assert_eq!(notes, ["repository team/app is no longer scanned automatically"]);
}

#[tokio::test]
async fn missing_scan_on_push_is_refused() {
    let gate = gate(world()).start().await;
    let target = Target::Repository(RepositoryTarget { repository: "team/app".into(), scan_on_push: None });

    let refused = rejection(gate.client.configure_scanning(apply(target)).await);

    assert_eq!(refused.violations[0].field, "repository.scan_on_push");
    assert_eq!(gate.ecr.calls().count("PutImageScanningConfiguration"), 0);
}

#[tokio::test]
async fn end_of_enhanced_scanning_is_noted() {
    let gate = gate(world()).start().await;
    let continuous = vec![rule(ScanFrequency::ContinuousScan, "*")];
    let enhanced = registry(ScanType::Enhanced, continuous, ConfigureMode::Replace);
    gate.client.configure_scanning(apply(Target::Registry(enhanced))).await.unwrap();
    let on_push = vec![rule(ScanFrequency::ScanOnPush, "*")];
    let cases = [
        (ScanType::Basic, vec!["Amazon Inspector no longer scans", "filter \"*\" selects are no longer scanned cont"]),
        (ScanType::Enhanced, vec!["filter \"*\" selects are no longer", "repository team/app is scanned on push only"]),
    ];
    for (scan_type, expected) in cases {
        let target = Target::Registry(registry(scan_type, on_push.clone(), ConfigureMode::Replace));
        let request = ConfigureScanningRequest { target: Some(target), validate_only: true };

        let notes = gate.client.configure_scanning(request).await.unwrap().notes;

        for lost in expected {
            assert!(notes.iter().any(|note| note.contains(lost)), "{scan_type:?}: {lost} is not in {notes:?}");
        }
    }
}

#[tokio::test]
async fn region_without_enhanced_scanning_is_basic() {
    let mut world = World::new().without_enhanced_scanning();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world.push(ImageSpec::single("team/new", "1"));
    let gate = gate(world).start().await;
    let rules = vec![rule(ScanFrequency::ScanOnPush, "*")];
    let target = Target::Registry(RegistryTarget {
        report_repositories: Vec::new(),
        ..registry(ScanType::Basic, rules, ConfigureMode::Merge)
    });
    for validate_only in [true, false] {
        let request = ConfigureScanningRequest { target: Some(target.clone()), validate_only };

        let refused = rejection(gate.client.configure_scanning(request).await);

        assert_eq!(refused.reason, "ENHANCED_SCANNING_UNAVAILABLE");
        assert!(refused.message.contains("set scan_on_push of each repository instead"), "{}", refused.message);
    }
    let flag = RepositoryTarget { repository: "team/app".into(), scan_on_push: Some(true) };
    let configured = gate.client.configure_scanning(apply(Target::Repository(flag))).await.unwrap();
    assert_eq!(configured.after.unwrap().repositories[0].frequency(), ScanFrequency::ScanOnPush);
    assert_eq!(gate.decide("team/app:1").await.verdict(), Verdict::Allow);
    let findings = GetFindingsRequest { image: "team/app:1".into(), ..Default::default() };
    assert!(gate.client.findings(findings).await.is_ok());
    let start = StartScanRequest { image: "team/new:1".into(), platforms: Vec::new() };
    assert!(gate.client.start_scan(start).await.is_ok());
    let watch = WatchScanRequest { image: "team/new:1".into(), platforms: Vec::new() };
    assert!(gate.client.watch(watch).await.unwrap().next().await.is_ok());
}

#[tokio::test]
async fn uncovered_repository_denies_next_decision() {
    let gate = gate(World::demo_enhanced()).start().await;
    assert_eq!(gate.decide("shop/api:2.0.0").await.verdict(), scangate_client::v1::Verdict::Allow);
    let rules = vec![rule(ScanFrequency::ContinuousScan, "elsewhere/*")];
    let mut target = registry(ScanType::Enhanced, rules, ConfigureMode::Replace);
    target.report_repositories = Vec::new();

    gate.client.configure_scanning(apply(Target::Registry(target))).await.unwrap();
    let fresh = scangate_client::v1::EvaluateGateRequest {
        max_findings_age: Some(Default::default()),
        ..crate::harness::evaluate_request("shop/api:2.0.0")
    };
    let decision = gate.client.evaluate(fresh).await.unwrap().into_message();

    assert_eq!(decision.verdict(), scangate_client::v1::Verdict::Deny);
    assert_eq!(decision.violations[0].evidence(), scangate_client::v1::Evidence::NotCovered);
}
