//! Reading and setting the scanning configuration.

use scangate_core::{
    image::RepositoryName,
    scan::{Frequency, ScanType},
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanFrequency, ScanScript, ScanningConfig, World};
use scangate_server::registry::{Error, Registry, RegistryScanning, RepositoryScanning, ScanningRule, Started};

use crate::support::{APP, IMAGE, basic, ecr, registry_id, repository};

fn rule(frequency: Frequency, filters: &[&str]) -> ScanningRule {
    ScanningRule { frequency, filters: filters.iter().map(ToString::to_string).collect() }
}

fn many(count: usize) -> (World, Vec<RepositoryName>) {
    let mut world = World::new().with_scanning(ScanningConfig::basic_on_push(&["team/*"]));
    let names: Vec<String> = (0..count).map(|number| format!("team/app-{number}")).collect();
    for name in &names {
        world.repository(name);
    }
    (world, names.iter().map(|name| repository(name).name).collect())
}

#[tokio::test]
async fn registry_rules_are_read_in_order() {
    let scanning = ScanningConfig { scan_type: scangate_ecr_simulator::ScanType::Enhanced, rules: Vec::new() }
        .rule(ScanFrequency::Continuous, &["b*", "a*"])
        .rule(ScanFrequency::OnPush, &["*"]);
    let harness = ecr(World::new().with_scanning(scanning)).await;

    let read = harness.registry.registry_scanning(&registry_id()).await.unwrap();

    let rules = vec![rule(Frequency::ScanOnPush, &["*"]), rule(Frequency::ContinuousScan, &["a*", "b*"])];
    assert_eq!(read, RegistryScanning { scan_type: ScanType::Enhanced, rules, accepts_rules: true });
}

#[tokio::test]
async fn configuration_put_is_visible_at_once() {
    let harness = ecr(basic(ScanScript::clean())).await;
    harness.read().await;
    let rules = vec![rule(Frequency::ContinuousScan, &["team/*"])];
    let enhanced = RegistryScanning { scan_type: ScanType::Enhanced, rules, accepts_rules: true };

    harness.registry.put_registry_scanning(&registry_id(), &enhanced).await.unwrap();

    assert_eq!(harness.registry.registry_scanning(&registry_id()).await.unwrap(), enhanced);
    let scan = harness.read().await.scan;
    assert_eq!((scan.scan_type, scan.frequency), (ScanType::Enhanced, Frequency::ContinuousScan));
}

#[tokio::test]
async fn configuration_is_read_once_for_many_scans() {
    let harness = ecr(basic(ScanScript::clean())).await;

    harness.read().await;
    harness.read().await;

    assert_eq!(harness.calls("GetRegistryScanningConfiguration"), 1);
    assert_eq!(harness.calls("BatchGetRepositoryScanningConfiguration"), 1);
}

#[tokio::test]
async fn repositories_are_read_in_requested_order() {
    let (world, mut names) = many(60);
    let harness = ecr(world).await;
    names.reverse();
    names.push(names[0].clone());

    let read = harness.registry.repository_scanning(&registry_id(), &names).await.unwrap();

    let read_names: Vec<_> = read.iter().map(|scanning| scanning.name.clone()).collect();
    assert_eq!(read_names, names);
    assert!(read.iter().all(|scanning| scanning.frequency == Frequency::ScanOnPush));
    assert_eq!(harness.calls("BatchGetRepositoryScanningConfiguration"), 3);
    assert_eq!(harness.calls("DescribeRepositories"), 1);
}

#[tokio::test]
async fn zero_or_too_many_repositories_cost_no_call() {
    let (world, names) = many(101);
    let harness = ecr(world).await;

    let none = harness.registry.repository_scanning(&registry_id(), &[]).await.unwrap();
    let error = harness.registry.repository_scanning(&registry_id(), &names).await.unwrap_err();

    assert_eq!(none, []);
    assert!(matches!(error, Error::TooComplex(_)), "{error:?}");
    assert_eq!(harness.simulator.calls().total(), 0);
}

#[tokio::test]
async fn missing_repository_is_named() {
    let (world, mut names) = many(2);
    let harness = ecr(world).await;
    names.push(repository("team/missing").name);

    let error = harness.registry.repository_scanning(&registry_id(), &names).await.unwrap_err();

    assert!(
        matches!(&error, Error::RepositoryNotFound(missing) if *missing == repository("team/missing")),
        "{error:?}"
    );
}

#[tokio::test]
async fn repository_flag_is_set_and_read() {
    let mut world = World::new();
    world.push(ImageSpec::single(APP, "1"));
    let harness = ecr(world).await;
    let repository = repository(APP);

    harness.registry.put_scan_on_push(&repository, true).await.unwrap();

    let names = [repository.name.clone()];
    let read = harness.registry.repository_scanning(&registry_id(), &names).await.unwrap();
    let expected = RepositoryScanning {
        name: repository.name,
        scan_on_push: true,
        frequency: Frequency::ScanOnPush,
        applied_filters: Vec::new(),
    };
    assert_eq!(read, [expected]);
}

#[tokio::test]
async fn flag_of_missing_repository_cannot_be_set() {
    let harness = ecr(World::new()).await;

    let error = harness.registry.put_scan_on_push(&repository(APP), true).await.unwrap_err();

    assert!(matches!(error, Error::RepositoryNotFound(_)), "{error:?}");
}

#[tokio::test]
async fn configuration_of_other_account_is_never_set() {
    let harness = ecr(World::new()).await;
    let other = Fault::SetField { pointer: "/registryId".into(), value: "999999999999".into() };
    harness.simulator.faults().script(other.on("GetRegistryScanningConfiguration"));
    let scanning = RegistryScanning { scan_type: ScanType::Enhanced, rules: Vec::new(), accepts_rules: true };

    let error = harness.registry.put_registry_scanning(&registry_id(), &scanning).await.unwrap_err();

    assert!(matches!(error, Error::Credentials(_)), "{error:?}");
    assert_eq!(harness.calls("PutRegistryScanningConfiguration"), 0);
}

#[tokio::test]
async fn put_is_retried_only_if_not_accepted() {
    let scanning = RegistryScanning { scan_type: ScanType::Basic, rules: Vec::new(), accepts_rules: true };
    for (fault, calls) in [(Fault::Throttle429, 2), (Fault::ServerError500, 1), (Fault::CutConnection, 1)] {
        let harness = ecr(World::new()).await;
        harness.simulator.faults().script(fault.on("PutRegistryScanningConfiguration").once());

        let put = harness.registry.put_registry_scanning(&registry_id(), &scanning).await;

        assert_eq!(put.is_ok(), calls == 2, "{put:?}");
        assert_eq!(harness.calls("PutRegistryScanningConfiguration"), calls);
    }
}

fn without_enhanced_scanning(scan: ScanScript, on_push: bool) -> World {
    let mut world = World::new().without_enhanced_scanning();
    world.push(ImageSpec::single(APP, "1").scan(scan));
    world.repository(APP).set_scan_on_push(on_push);
    world
}

#[tokio::test]
async fn region_without_enhanced_scanning_is_basic() {
    for on_push in [true, false] {
        let harness = ecr(without_enhanced_scanning(ScanScript::clean(), on_push)).await;

        let scan = harness.read().await.scan;

        let frequency = if on_push { Frequency::ScanOnPush } else { Frequency::Manual };
        assert_eq!((scan.scan_type, scan.frequency), (ScanType::Basic, frequency));
        let registry = harness.registry.registry_scanning(&registry_id()).await.unwrap();
        assert_eq!(registry, RegistryScanning { scan_type: ScanType::Basic, rules: Vec::new(), accepts_rules: false });
        let repositories = harness.registry.repository_scanning(&registry_id(), &[repository(APP).name]).await.unwrap();
        assert!(matches!(repositories.as_slice(), [one] if one.frequency == frequency), "{repositories:?}");
    }
}

#[tokio::test]
async fn region_without_enhanced_scanning_scans_on_call() {
    let harness = ecr(without_enhanced_scanning(ScanScript::never(), false)).await;
    let resolved = harness.resolve(IMAGE).await.unwrap();

    let started = harness.registry.start_scan(&resolved.repository(), &resolved.manifests[0]).await.unwrap();

    assert_eq!(started, Started::Started);
}

#[tokio::test]
async fn region_without_enhanced_scanning_has_no_rules() {
    let harness = ecr(World::new().without_enhanced_scanning()).await;
    let rules = vec![rule(Frequency::ScanOnPush, &["*"])];
    let scanning = RegistryScanning { scan_type: ScanType::Basic, rules, accepts_rules: true };

    let error = harness.registry.put_registry_scanning(&registry_id(), &scanning).await.unwrap_err();

    assert!(matches!(error, Error::NoScanningRules(_)), "{error:?}");
    assert_eq!(harness.calls("PutRegistryScanningConfiguration"), 0);
}

#[tokio::test]
async fn unrecognised_rule_is_not_sent() {
    let harness = ecr(basic(ScanScript::clean())).await;
    let rules = vec![rule(Frequency::Unrecognised, &["*"])];
    let scanning = RegistryScanning { scan_type: ScanType::Basic, rules, accepts_rules: true };

    let error = harness.registry.put_registry_scanning(&registry_id(), &scanning).await.unwrap_err();

    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert_eq!(harness.calls("PutRegistryScanningConfiguration"), 0);
    assert!(harness.scan(IMAGE).await.is_ok());
}
