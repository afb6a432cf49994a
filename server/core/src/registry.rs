//! Registries: an account, a region, and the host names that ECR gives them.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A registry: one AWS account in one region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Registry {
    account: Arc<str>,
    region: Arc<str>,
}

/// Text that names no registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither `ACCOUNT/REGION` nor a host of ECR.
    #[error("must be ACCOUNT/REGION (12 digits, a region) or a host like 123456789012.dkr.ecr.eu-west-1.amazonaws.com")]
    Form,
    /// A host whose region does not lie in the partition that its suffix names.
    #[error("region {region} does not belong to the domain {suffix}")]
    Partition {
        /// The region named.
        region: String,
        /// The domain named.
        suffix: String,
    },
}

/// A domain of ECR's registry hosts: the service label before the region, the domain after it, and the partition's test.
struct Domain {
    service: &'static str,
    suffix: &'static str,
    partition: fn(&str) -> bool,
}

const DOMAINS: &[Domain] = &[
    Domain { service: "dkr.ecr", suffix: "amazonaws.com", partition: commercial_or_gov },
    Domain { service: "dkr.ecr-fips", suffix: "amazonaws.com", partition: commercial_or_gov },
    Domain { service: "dkr-ecr", suffix: "on.aws", partition: commercial_or_gov },
    Domain { service: "dkr-ecr-fips", suffix: "on.aws", partition: commercial_or_gov },
    Domain { service: "dkr.ecr", suffix: "amazonaws.com.cn", partition: china },
    Domain { service: "dkr-ecr", suffix: "on.amazonwebservices.com.cn", partition: china },
    Domain { service: "dkr.ecr", suffix: "amazonaws.eu", partition: |region| region.starts_with("eusc-") },
    Domain { service: "dkr.ecr", suffix: "c2s.ic.gov", partition: |region| region.starts_with("us-iso-") },
    Domain { service: "dkr.ecr", suffix: "sc2s.sgov.gov", partition: |region| region.starts_with("us-isob-") },
    Domain { service: "dkr.ecr", suffix: "cloud.adc-e.uk", partition: |region| region.starts_with("eu-isoe-") },
    Domain { service: "dkr.ecr", suffix: "csp.hci.ic.gov", partition: |region| region.starts_with("us-isof-") },
];

impl Registry {
    /// A registry from its parts.
    pub fn new(account: &str, region: &str) -> Result<Self, Error> {
        if is_account(account) && is_region(region) {
            Ok(Self { account: account.into(), region: region.into() })
        } else {
            Err(Error::Form)
        }
    }

    /// Reads `ACCOUNT/REGION` or any form of ECR host.
    pub fn parse(given: &str) -> Result<Self, Error> {
        match given.split_once('/') {
            Some((account, region)) => Self::new(account, region),
            None => Self::from_host(given),
        }
    }

    /// Reads a host name in any of the forms that ECR gives its registries.
    pub fn from_host(host: &str) -> Result<Self, Error> {
        let (account, rest) = host.split_once('.').ok_or(Error::Form)?;
        let mut foreign = None;
        for domain in DOMAINS {
            let Some(region) = region_within(rest, domain) else { continue };
            let registry = Self::new(account, region)?;
            if (domain.partition)(region) {
                return Ok(registry);
            }
            foreign = Some(Error::Partition { region: region.to_owned(), suffix: domain.suffix.to_owned() });
        }
        Err(foreign.unwrap_or(Error::Form))
    }

    /// The AWS account: 12 digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The AWS region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The host that ECR gives this registry by default.
    pub fn host(&self) -> String {
        let suffix = DOMAINS
            .iter()
            .find(|domain| domain.service == "dkr.ecr" && (domain.partition)(&self.region))
            .map_or("amazonaws.com", |domain| domain.suffix);
        format!("{}.dkr.ecr.{}.{suffix}", self.account, self.region)
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

impl TryFrom<String> for Registry {
    type Error = Error;

    fn try_from(given: String) -> Result<Self, Error> {
        Self::parse(&given)
    }
}

impl From<Registry> for String {
    fn from(registry: Registry) -> Self {
        registry.to_string()
    }
}

fn region_within<'a>(rest: &'a str, domain: &Domain) -> Option<&'a str> {
    let region =
        rest.strip_prefix(domain.service)?.strip_prefix('.')?.strip_suffix(domain.suffix)?.strip_suffix('.')?;
    (!region.contains('.')).then_some(region)
}

fn is_account(account: &str) -> bool {
    account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
}

fn is_region(region: &str) -> bool {
    (1..=32).contains(&region.len())
        && region.starts_with(|c: char| c.is_ascii_lowercase())
        && region.ends_with(|c: char| c.is_ascii_digit())
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn china(region: &str) -> bool {
    region.starts_with("cn-")
}

fn commercial_or_gov(region: &str) -> bool {
    !china(region) && !region.starts_with("eusc-") && !region.contains("-iso")
}
