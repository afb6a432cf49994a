//! ConfigureScanning: the settings before and after a change, and the dry run.

use scangate_client::v1::{
    ConfigureMode, ConfigureScanningRequest, RegistryScanning, RegistryTarget, RepositoryTarget, ScanFrequency,
    ScanType, ScanningRule, configure_scanning_request::Target,
};
use scangate_ecr_simulator::{ImageSpec, World};

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
    let target = RepositoryTarget { repository: "team/app".into(), scan_on_push: true };

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
