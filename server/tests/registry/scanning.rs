//! Reading and setting the scanning configuration.

use scangate_core::{
    image::RepositoryName,
    scan::{Frequency, ScanType},
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanFrequency, ScanScript, ScanningConfig, World};
use scangate_server::registry::{Error, Registry, RegistryScanning, RepositoryScanning, ScanningRule};

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
async fn a_registrys_rules_are_read_in_order() {
    let scanning = ScanningConfig { scan_type: scangate_ecr_simulator::ScanType::Enhanced, rules: Vec::new() }
        .rule(ScanFrequency::Continuous, &["b*", "a*"])
        .rule(ScanFrequency::OnPush, &["*"]);
    let bench = ecr(World::new().with_scanning(scanning)).await;

    let read = bench.registry.registry_scanning(&registry_id()).await.unwrap();

    let rules = vec![rule(Frequency::ScanOnPush, &["*"]), rule(Frequency::ContinuousScan, &["a*", "b*"])];
    assert_eq!(read, RegistryScanning { scan_type: ScanType::Enhanced, rules });
}

#[tokio::test]
async fn what_is_put_is_read_back_and_scans_see_it_at_once() {
    let bench = ecr(basic(ScanScript::clean())).await;
    bench.read().await;
    let rules = vec![rule(Frequency::ContinuousScan, &["team/*"])];
    let enhanced = RegistryScanning { scan_type: ScanType::Enhanced, rules };

    bench.registry.put_registry_scanning(&registry_id(), &enhanced).await.unwrap();

    assert_eq!(bench.registry.registry_scanning(&registry_id()).await.unwrap(), enhanced);
    let scan = bench.read().await.scan;
    assert_eq!((scan.scan_type, scan.frequency), (ScanType::Enhanced, Frequency::ContinuousScan));
}

#[tokio::test]
async fn the_configuration_in_force_is_read_once_for_many_scans() {
    let bench = ecr(basic(ScanScript::clean())).await;

    bench.read().await;
    bench.read().await;

    assert_eq!(bench.calls("GetRegistryScanningConfiguration"), 1);
    assert_eq!(bench.calls("BatchGetRepositoryScanningConfiguration"), 1);
}

#[tokio::test]
async fn repositories_are_read_in_the_order_asked_25_at_a_time() {
    let (world, mut names) = many(60);
    let bench = ecr(world).await;
    names.reverse();
    names.push(names[0].clone());

    let read = bench.registry.repository_scanning(&registry_id(), &names).await.unwrap();

    let read_names: Vec<_> = read.iter().map(|scanning| scanning.name.clone()).collect();
    assert_eq!(read_names, names);
    assert!(read.iter().all(|scanning| scanning.frequency == Frequency::ScanOnPush));
    assert_eq!(bench.calls("BatchGetRepositoryScanningConfiguration"), 3);
    assert_eq!(bench.calls("DescribeRepositories"), 1);
}

#[tokio::test]
async fn nothing_is_asked_for_no_repositories_and_too_many_are_refused() {
    let (world, names) = many(101);
    let bench = ecr(world).await;

    let none = bench.registry.repository_scanning(&registry_id(), &[]).await.unwrap();
    let error = bench.registry.repository_scanning(&registry_id(), &names).await.unwrap_err();

    assert_eq!(none, []);
    assert!(matches!(error, Error::TooComplex(_)), "{error:?}");
    assert_eq!(bench.simulator.calls().total(), 0);
}

#[tokio::test]
async fn a_repository_that_does_not_exist_is_named() {
    let (world, mut names) = many(2);
    let bench = ecr(world).await;
    names.push(repository("team/missing").name);

    let error = bench.registry.repository_scanning(&registry_id(), &names).await.unwrap_err();

    assert!(
        matches!(&error, Error::RepositoryNotFound(missing) if *missing == repository("team/missing")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_repositorys_own_flag_is_set_and_read() {
    let mut world = World::new();
    world.push(ImageSpec::single(APP, "1"));
    let bench = ecr(world).await;
    let repository = repository(APP);

    bench.registry.put_scan_on_push(&repository, true).await.unwrap();

    let names = [repository.name.clone()];
    let read = bench.registry.repository_scanning(&registry_id(), &names).await.unwrap();
    let expected = RepositoryScanning {
        name: repository.name,
        scan_on_push: true,
        frequency: Frequency::ScanOnPush,
        applied_filters: Vec::new(),
    };
    assert_eq!(read, [expected]);
}

#[tokio::test]
async fn the_flag_of_a_repository_that_does_not_exist_cannot_be_set() {
    let bench = ecr(World::new()).await;

    let error = bench.registry.put_scan_on_push(&repository(APP), true).await.unwrap_err();

    assert!(matches!(error, Error::RepositoryNotFound(_)), "{error:?}");
}

#[tokio::test]
async fn another_accounts_configuration_is_never_set() {
    let bench = ecr(World::new()).await;
    let other = Fault::SetField { pointer: "/registryId".into(), value: "999999999999".into() };
    bench.simulator.faults().script(other.on("GetRegistryScanningConfiguration"));
    let scanning = RegistryScanning { scan_type: ScanType::Enhanced, rules: Vec::new() };

    let error = bench.registry.put_registry_scanning(&registry_id(), &scanning).await.unwrap_err();

    assert!(matches!(error, Error::Credentials(_)), "{error:?}");
    assert_eq!(bench.calls("PutRegistryScanningConfiguration"), 0);
}

#[tokio::test]
async fn a_put_is_sent_again_only_where_ecr_did_not_take_it() {
    let scanning = RegistryScanning { scan_type: ScanType::Basic, rules: Vec::new() };
    for (fault, calls) in [(Fault::Throttle429, 2), (Fault::ServerError500, 1), (Fault::CutConnection, 1)] {
        let bench = ecr(World::new()).await;
        bench.simulator.faults().script(fault.on("PutRegistryScanningConfiguration").once());

        let put = bench.registry.put_registry_scanning(&registry_id(), &scanning).await;

        assert_eq!(put.is_ok(), calls == 2, "{put:?}");
        assert_eq!(bench.calls("PutRegistryScanningConfiguration"), calls);
    }
}

#[tokio::test]
async fn a_rule_that_we_do_not_know_is_not_sent() {
    let bench = ecr(basic(ScanScript::clean())).await;
    let rules = vec![rule(Frequency::Unrecognised, &["*"])];
    let scanning = RegistryScanning { scan_type: ScanType::Basic, rules };

    let error = bench.registry.put_registry_scanning(&registry_id(), &scanning).await.unwrap_err();

    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert_eq!(bench.calls("PutRegistryScanningConfiguration"), 0);
    assert!(bench.scan(IMAGE).await.is_ok());
}
