//! The registry: repositories and the scanning configuration.

use aws_sdk_ecr::types::{ScanFrequency as Frequency, ScanType as WireScanType};
use scangate_ecr_simulator::{ScanFrequency, ScanningConfig, World, filter_matches};
use serde_json::{Value, json};

use crate::harness::{code, ecr, http, start, world};

#[tokio::test]
async fn filter_matches_as_documented() {
    let repositories = ["prod", "repo-prod", "prod-repo", "repo-prod-repo", "prodrepo"];
    for (filter, matches) in [
        ("prod", [true, true, true, true, true]),
        ("*prod", [true, true, false, false, false]),
        ("prod*", [true, false, true, false, true]),
        ("*prod*", [true, true, true, true, true]),
        ("prod*repo", [false, false, true, false, true]),
        ("*", [true, true, true, true, true]),
        ("re*-*-repo", [false, false, false, true, false]),
        ("prod.repo", [false, false, false, false, false]),
    ] {
        assert_eq!(repositories.map(|name| filter_matches(filter, name)), matches, "{filter}");
    }
}

#[tokio::test]
async fn continuous_rule_overrides_on_push_rule() {
    let mut world = world().with_scanning(
        ScanningConfig::enhanced()
            .rule(ScanFrequency::OnPush, &["team/*"])
            .rule(ScanFrequency::Continuous, &["team/app", "team/a*"]),
    );
    for name in ["team/app", "team/web", "other/app"] {
        world.repository(name);
    }
    let (_simulator, client) = start(world).await;

    let names = ["team/app", "team/web", "other/app", "none"].map(str::to_owned);
    let response = client
        .batch_get_repository_scanning_configuration()
        .set_repository_names(Some(names.into()))
        .send()
        .await
        .unwrap();

    let rows = response.scanning_configurations.unwrap();
    let frequencies: Vec<&Frequency> = rows.iter().filter_map(|row| row.scan_frequency.as_ref()).collect();
    assert_eq!(frequencies, [&Frequency::ContinuousScan, &Frequency::ScanOnPush, &Frequency::Manual]);
    assert_eq!(rows[0].applied_scan_filters.as_ref().unwrap().len(), 2);
    assert_eq!(response.failures.unwrap()[0].repository_name.as_deref(), Some("none"));
}

#[tokio::test]
async fn region_without_enhanced_scanning_has_no_rules() {
    let mut world = world().without_enhanced_scanning();
    world.repository("team/app");
    let (_simulator, client) = start(world).await;

    let get = client.get_registry_scanning_configuration().send().await;
    let put = client.put_registry_scanning_configuration().scan_type(WireScanType::Basic).send().await;
    let names = client.batch_get_repository_scanning_configuration().repository_names("team/app").send().await;

    assert_eq!([code(get), code(put), code(names)], ["ValidationException"; 3].map(str::to_owned));
}

#[tokio::test]
async fn frequency_without_rules_depends_on_scan_type() {
    let mut world = World::enhanced();
    world.repository("team/app");
    let (simulator, client) = start(world).await;
    let frequency = || async {
        let request = client.batch_get_repository_scanning_configuration().repository_names("team/app");
        request.send().await.unwrap().scanning_configurations.unwrap().remove(0).scan_frequency.unwrap()
    };

    assert_eq!(frequency().await, Frequency::ContinuousScan);
    simulator.world(|world| world.set_scanning(ScanningConfig::default()));
    assert_eq!(frequency().await, Frequency::Manual);
    simulator.world(|world| {
        world.repository("team/app").set_scan_on_push(true);
    });
    assert_eq!(frequency().await, Frequency::ScanOnPush);
}

#[tokio::test]
async fn scanning_configuration_is_validated_and_replaced() {
    let (simulator, client) = start(world()).await;
    let put = |body: Value| {
        let simulator = &simulator;
        async move {
            let response = ecr(simulator, "PutRegistryScanningConfiguration", &body).await.unwrap();
            response.json()["__type"].as_str().unwrap_or("accepted").to_owned()
        }
    };
    let rule = |frequency: &str, filter: &str| json!({"scanFrequency": frequency, "repositoryFilters": [{"filter": filter, "filterType": "WILDCARD"}]});

    assert_eq!(put(json!({"scanType": "CLAIR"})).await, "InvalidParameterException");
    assert_eq!(put(json!({"rules": [rule("SOMETIMES", "*")]})).await, "InvalidParameterException");
    for filter in ["", "a..b", "-a", "a/", "A"] {
        assert_eq!(
            put(json!({"rules": [rule("SCAN_ON_PUSH", filter)]})).await,
            "InvalidParameterException",
            "{filter}"
        );
    }
    let three = json!([rule("SCAN_ON_PUSH", "a"), rule("SCAN_ON_PUSH", "b"), rule("SCAN_ON_PUSH", "c")]);
    assert_eq!(put(json!({"rules": three})).await, "InvalidParameterException");
    assert_eq!(put(json!({"scanType": "BASIC", "rules": [rule("CONTINUOUS_SCAN", "*")]})).await, "ValidationException");
    let accepted =
        json!({"scanType": "ENHANCED", "rules": [rule("CONTINUOUS_SCAN", "prod*"), rule("SCAN_ON_PUSH", "*")]});
    assert_eq!(put(accepted).await, "accepted");
    let held = client.get_registry_scanning_configuration().send().await.unwrap().scanning_configuration.unwrap();
    assert_eq!(held.scan_type, Some(WireScanType::Enhanced));
    assert_eq!(held.rules.unwrap().len(), 2);
}

#[tokio::test]
async fn repository_is_created_once_and_described() {
    let (_simulator, client) = start(world()).await;

    let made = client.create_repository().repository_name("team/app").send().await.unwrap().repository.unwrap();
    assert_eq!(made.repository_arn.as_deref(), Some("arn:aws:ecr:eu-west-1:123456789012:repository/team/app"));
    assert_eq!(made.repository_uri.as_deref(), Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app"));
    let again = client.create_repository().repository_name("team/app").send().await;
    assert_eq!(code(again), "RepositoryAlreadyExistsException");
    let described = client.describe_repositories().send().await.unwrap().repositories.unwrap();
    assert_eq!(described.len(), 1);
    let missing = client.describe_repositories().repository_names("none").send().await;
    assert_eq!(code(missing), "RepositoryNotFoundException");
    let set = aws_sdk_ecr::types::ImageScanningConfiguration::builder().scan_on_push(true).build();
    let flagged =
        client.put_image_scanning_configuration().repository_name("team/app").image_scanning_configuration(set);
    assert!(flagged.send().await.unwrap().image_scanning_configuration.unwrap().scan_on_push);
}

#[tokio::test]
async fn registry_returns_its_id_and_token() {
    let (_simulator, client) = start(world().in_account("210987654321", "us-east-1")).await;

    assert_eq!(client.describe_registry().send().await.unwrap().registry_id.as_deref(), Some("210987654321"));
    let token = client.get_authorization_token().send().await.unwrap().authorization_data.unwrap().remove(0);
    assert_eq!(token.proxy_endpoint.as_deref(), Some("https://210987654321.dkr.ecr.us-east-1.amazonaws.com"));
}

#[tokio::test]
async fn unknown_operations_and_paths_are_refused() {
    let (simulator, client) = start(world()).await;

    assert_eq!(code(client.describe_pull_through_cache_rules().send().await), "UnknownOperationException");
    // Inspector's operations are not ECR's.
    let crossed = ecr(&simulator, "ListCoverage", &json!({})).await.unwrap();
    assert_eq!((crossed.status, crossed.header("x-amzn-errortype")), (400, Some("UnknownOperationException")));
    assert_eq!(http(&simulator, "POST", "/", "", "{}").await.unwrap().status, 400);
    assert_eq!(http(&simulator, "GET", "/v2/", "", "").await.unwrap().status, 404);
}
