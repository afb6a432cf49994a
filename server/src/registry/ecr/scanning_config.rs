//! Reads and sets the scanning configuration of a registry and its repositories.
//!
//! Most of these operations have no registry parameter: they act on the account of the credentials. A response about
//! another account is therefore an error of the credentials. No configuration is set before the account is verified.

use aws_sdk_ecr::types::{
    ImageScanningConfiguration, RegistryScanningRule, RepositoryScanningConfiguration, ScanFrequency,
    ScanType as EcrScanType, ScanningConfigurationFailureCode, ScanningRepositoryFilter, ScanningRepositoryFilterType,
};
use scangate_core::{
    image::{Repository, RepositoryName},
    scan::{Frequency, ScanType},
};

use super::{
    error::{CallError, malformed, repository_not_found, sanitize},
    operation::Operation,
    registry_client::RegistryClient,
    retry::Deadline,
};
use crate::registry::{Error, RegistryScanning, RepositoryScanning, ScanningRule, Source};

pub(super) const GET_REGISTRY: Operation = Operation::read("GetRegistryScanningConfiguration");
pub(super) const GET_REPOSITORIES: Operation = Operation::read("BatchGetRepositoryScanningConfiguration");
const DESCRIBE_REPOSITORIES: Operation = Operation::read("DescribeRepositories");
const PUT_REGISTRY: Operation = Operation::write("PutRegistryScanningConfiguration");
const PUT_REPOSITORY: Operation = Operation::write("PutImageScanningConfiguration");

/// The maximum of repositories in one call of [`GET_REPOSITORIES`].
const BATCH_SIZE: usize = 25;
/// The maximum of repositories in one request of a caller, and in one call of [`DESCRIBE_REPOSITORIES`].
const MAX_REPOSITORIES: usize = 100;

/// Reads the configuration of a registry.
pub(super) async fn load_registry(client: &RegistryClient) -> Result<RegistryScanning, Error> {
    let permit = client.acquire(GET_REGISTRY).await?;
    fetch_registry(client, permit.deadline).await
}

/// Reads the scanning in effect for repositories, in the requested order.
pub(super) async fn load_repositories(
    client: &RegistryClient,
    names: &[RepositoryName],
) -> Result<Vec<RepositoryScanning>, Error> {
    if names.len() > MAX_REPOSITORIES {
        return Err(Error::TooComplex(format!(
            "{} repositories requested, at most {MAX_REPOSITORIES} allowed",
            names.len()
        )));
    }
    let mut distinct: Vec<&RepositoryName> = names.iter().collect();
    distinct.sort();
    distinct.dedup();
    if distinct.is_empty() {
        return Ok(Vec::new());
    }
    let permit = client.acquire(GET_REPOSITORIES).await?;
    let mut found = Vec::new();
    for names in distinct.chunks(BATCH_SIZE) {
        found.extend(fetch_repositories(client, names, permit.deadline).await?);
    }
    let scan_on_push = fetch_scan_on_push(client, &distinct, permit.deadline).await?;
    let scanning = |name: &RepositoryName| {
        let of_name = |value: Option<&str>| value == Some(name.as_str());
        let found = found.iter().find(|found| of_name(found.repository_name.as_deref()));
        let (_, scan_on_push) = scan_on_push.iter().find(|(value, _)| of_name(Some(value)))?;
        found.map(|found| RepositoryScanning {
            name: name.clone(),
            scan_on_push: *scan_on_push,
            frequency: parse_frequency(found.scan_frequency.as_ref()),
            applied_filters: parse_filters(found.applied_scan_filters.as_deref().unwrap_or_default()),
        })
    };
    let missing = |name: &RepositoryName| malformed(GET_REPOSITORIES, format!("the response lacks {name}"));
    names.iter().map(|name| scanning(name).ok_or_else(|| missing(name))).collect()
}

/// Replaces the configuration of a registry.
pub(super) async fn put_registry(client: &RegistryClient, scanning: &RegistryScanning) -> Result<(), Error> {
    let permit = client.acquire(PUT_REGISTRY).await?;
    if !fetch_registry(client, permit.deadline).await?.accepts_rules {
        return Err(Error::NoScanningRules(client.id.clone()));
    }
    let rules = scanning.rules.iter().map(to_sdk_rule).collect::<Result<Vec<_>, _>>()?;
    let request = client
        .ecr
        .put_registry_scanning_configuration()
        .scan_type(match scanning.scan_type {
            ScanType::Basic => EcrScanType::Basic,
            ScanType::Enhanced => EcrScanType::Enhanced,
        })
        .set_rules(Some(rules));
    let put = client.retry.call(PUT_REGISTRY, permit.deadline, || request.clone().send()).await;
    put.map(|_| ()).map_err(|error| {
        if error.is_feature_disabled() {
            Error::NoScanningRules(client.id.clone())
        } else {
            error.into_error(PUT_REGISTRY)
        }
    })
}

/// Sets a repository's own scan-on-push flag.
pub(super) async fn put_scan_on_push(
    client: &RegistryClient,
    repository: &Repository,
    scan_on_push: bool,
) -> Result<(), Error> {
    let permit = client.acquire(PUT_REPOSITORY).await?;
    let request = client
        .ecr
        .put_image_scanning_configuration()
        .registry_id(repository.registry.account())
        .repository_name(repository.name.as_str())
        .image_scanning_configuration(ImageScanningConfiguration::builder().scan_on_push(scan_on_push).build());
    let put = client.retry.call(PUT_REPOSITORY, permit.deadline, || request.clone().send()).await;
    put.map(|_| ()).map_err(|error| error.into_repository_error(PUT_REPOSITORY, repository))
}

/// Reads the configuration of a registry before a deadline. A Region without enhanced scanning has basic scanning, and
/// no rules for a registry.
pub(super) async fn fetch_registry(client: &RegistryClient, deadline: Deadline) -> Result<RegistryScanning, Error> {
    let send = || client.ecr.get_registry_scanning_configuration().send();
    let response = match client.retry.call(GET_REGISTRY, deadline, send).await {
        Ok(response) => response,
        Err(error) if error.is_feature_disabled() => {
            return Ok(RegistryScanning { scan_type: ScanType::Basic, rules: Vec::new(), accepts_rules: false });
        }
        Err(error) => return Err(error.into_error(GET_REGISTRY)),
    };
    let account = response.registry_id.ok_or_else(|| malformed(GET_REGISTRY, "registryId is missing"))?;
    verify_account(client, &account)?;
    let configuration = response.scanning_configuration;
    let configuration = configuration.ok_or_else(|| malformed(GET_REGISTRY, "the configuration is missing"))?;
    let scan_type = match configuration.scan_type {
        Some(EcrScanType::Basic) => ScanType::Basic,
        Some(EcrScanType::Enhanced) => ScanType::Enhanced,
        Some(other) => return Err(malformed(GET_REGISTRY, format!("unknown scan type {:?}", other.as_str()))),
        None => return Err(malformed(GET_REGISTRY, "the scan type is missing")),
    };
    let rules = configuration.rules.unwrap_or_default();
    let mut rules: Vec<_> = rules.iter().map(parse_rule).collect();
    rules.sort_by(|a, b| (a.frequency, &a.filters).cmp(&(b.frequency, &b.filters)));
    Ok(RegistryScanning { scan_type, rules, accepts_rules: true })
}

/// Reads the configuration of at most [`BATCH_SIZE`] repositories. A single unknown repository fails the whole call. In a
/// Region without enhanced scanning, the repository's own flag is the configuration.
pub(super) async fn fetch_repositories(
    client: &RegistryClient,
    names: &[&RepositoryName],
    deadline: Deadline,
) -> Result<Vec<RepositoryScanningConfiguration>, Error> {
    let request = client
        .ecr
        .batch_get_repository_scanning_configuration()
        .set_repository_names(Some(names.iter().map(ToString::to_string).collect()));
    let response = client.retry.call(GET_REPOSITORIES, deadline, || request.clone().send()).await;
    if response.as_ref().is_err_and(CallError::is_feature_disabled) {
        return fetch_by_flag(client, names, deadline).await;
    }
    let response = response.map_err(|error| match (error.has_code("RepositoryNotFoundException"), names) {
        (true, [name]) => repository_not_found(&client.id, name),
        _ => error.into_error(GET_REPOSITORIES),
    })?;
    if let Some(failed) = response.failures.into_iter().flatten().next() {
        let name = failed.repository_name.as_deref().unwrap_or_default();
        let code = failed.failure_code.unwrap_or_else(|| ScanningConfigurationFailureCode::from(""));
        return Err(match names.iter().find(|requested| requested.as_str() == name) {
            Some(name) if code == ScanningConfigurationFailureCode::RepositoryNotFound => {
                repository_not_found(&client.id, name)
            }
            Some(_) | None => Error::Rejected {
                operation: GET_REPOSITORIES.name,
                code: sanitize(code.as_str()),
                message: sanitize(failed.failure_reason.as_deref().unwrap_or_default()),
            },
        });
    }
    let found = response.scanning_configurations.unwrap_or_default();
    for found in &found {
        let arn = found.repository_arn.as_deref().unwrap_or_default();
        verify_account(client, arn.split(':').nth(4).unwrap_or_default())?;
        let requested = names.iter().any(|name| found.repository_name.as_deref() == Some(name.as_str()));
        if !requested {
            return Err(malformed(GET_REPOSITORIES, format!("the response is about {arn:?}")));
        }
    }
    Ok(found)
}

/// Derives the configuration of repositories from their scan-on-push flags.
async fn fetch_by_flag(
    client: &RegistryClient,
    names: &[&RepositoryName],
    deadline: Deadline,
) -> Result<Vec<RepositoryScanningConfiguration>, Error> {
    let flags = fetch_scan_on_push(client, names, deadline).await?;
    let configuration = |(name, scan_on_push)| {
        let frequency = if scan_on_push { ScanFrequency::ScanOnPush } else { ScanFrequency::Manual };
        let configuration = RepositoryScanningConfiguration::builder().repository_name(name);
        configuration.scan_on_push(scan_on_push).scan_frequency(frequency).build()
    };
    Ok(flags.into_iter().map(configuration).collect())
}

async fn fetch_scan_on_push(
    client: &RegistryClient,
    names: &[&RepositoryName],
    deadline: Deadline,
) -> Result<Vec<(String, bool)>, Error> {
    let request = client
        .ecr
        .describe_repositories()
        .registry_id(client.id.account())
        .set_repository_names(Some(names.iter().map(ToString::to_string).collect()));
    let response = client.retry.call(DESCRIBE_REPOSITORIES, deadline, || request.clone().send()).await;
    let response = response.map_err(|error| match (error.has_code("RepositoryNotFoundException"), names) {
        (true, [name]) => repository_not_found(&client.id, name),
        _ => error.into_error(DESCRIBE_REPOSITORIES),
    })?;
    let found = response.repositories.into_iter().flatten();
    let flags = found.map(|found| {
        verify_account(client, found.registry_id.as_deref().unwrap_or_default())?;
        let scan_on_push = found.image_scanning_configuration.is_some_and(|configuration| configuration.scan_on_push);
        Ok((found.repository_name.unwrap_or_default(), scan_on_push))
    });
    flags.collect()
}

fn verify_account(client: &RegistryClient, account: &str) -> Result<(), Error> {
    if account == client.id.account() {
        return Ok(());
    }
    let detail = format!(
        "the credentials belong to account {}; registry {} is served only with credentials of its own account",
        sanitize(account),
        client.id
    );
    Err(Error::Credentials(Source::new(detail)))
}

/// Parses a frequency. A missing one is unrecognised.
pub(super) fn parse_frequency(value: Option<&ScanFrequency>) -> Frequency {
    match value {
        Some(ScanFrequency::ScanOnPush) => Frequency::ScanOnPush,
        Some(ScanFrequency::ContinuousScan) => Frequency::ContinuousScan,
        Some(ScanFrequency::Manual) => Frequency::Manual,
        Some(_) | None => Frequency::Unrecognised,
    }
}

fn parse_filters(value: &[ScanningRepositoryFilter]) -> Vec<String> {
    let mut filters: Vec<String> = value.iter().map(|filter| filter.filter.clone()).collect();
    filters.sort();
    filters.dedup();
    filters
}

fn parse_rule(rule: &RegistryScanningRule) -> ScanningRule {
    ScanningRule {
        frequency: parse_frequency(Some(&rule.scan_frequency)),
        filters: parse_filters(&rule.repository_filters),
    }
}

fn to_sdk_rule(rule: &ScanningRule) -> Result<RegistryScanningRule, Error> {
    let frequency = match rule.frequency {
        Frequency::ScanOnPush => ScanFrequency::ScanOnPush,
        Frequency::ContinuousScan => ScanFrequency::ContinuousScan,
        Frequency::Manual => ScanFrequency::Manual,
        Frequency::Unrecognised => {
            return Err(invalid_request("a rule has an unrecognised frequency"));
        }
    };
    let filters = rule.filters.iter().map(|filter| {
        let filter = ScanningRepositoryFilter::builder().filter(filter);
        filter.filter_type(ScanningRepositoryFilterType::Wildcard).build()
    });
    let filters = filters.collect::<Result<Vec<_>, _>>().map_err(|error| invalid_request(&error.to_string()))?;
    let rule = RegistryScanningRule::builder().scan_frequency(frequency).set_repository_filters(Some(filters));
    rule.build().map_err(|error| invalid_request(&error.to_string()))
}

/// Returns the error for a request that is not sent.
fn invalid_request(why: &str) -> Error {
    Error::Rejected { operation: PUT_REGISTRY.name, code: "BadRequest".to_owned(), message: sanitize(why) }
}
