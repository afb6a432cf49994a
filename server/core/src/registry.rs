//! Registries: an AWS account in a region, with ECR's host names for it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A registry: one AWS account in one region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Registry {
    account: Arc<str>,
    region: Arc<str>,
}

/// An error of a registry or its host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is neither `ACCOUNT/REGION` nor an ECR host.
    #[error("must be ACCOUNT/REGION (12 digits, a region) or a host like 123456789012.dkr.ecr.eu-west-1.amazonaws.com")]
    Form,
    /// The host's region belongs to another partition than its domain.
    #[error("region {region} does not belong to the domain {suffix}")]
    Partition {
        /// The region.
        region: String,
        /// The domain.
        suffix: String,
    },
}

/// A domain of ECR's hosts: the service label before the region, the suffix after it, and a test for its partition.
struct Domain {
    service: &'static str,
    suffix: &'static str,
    has_region: fn(&str) -> bool,
}

const DOMAINS: &[Domain] = &[
    Domain { service: "dkr.ecr", suffix: "amazonaws.com", has_region: is_commercial_or_gov },
    Domain { service: "dkr.ecr-fips", suffix: "amazonaws.com", has_region: is_commercial_or_gov },
    Domain { service: "dkr-ecr", suffix: "on.aws", has_region: is_commercial_or_gov },
    Domain { service: "dkr-ecr-fips", suffix: "on.aws", has_region: is_commercial_or_gov },
    Domain { service: "dkr.ecr", suffix: "amazonaws.com.cn", has_region: is_china },
    Domain { service: "dkr-ecr", suffix: "on.amazonwebservices.com.cn", has_region: is_china },
    Domain { service: "dkr.ecr", suffix: "amazonaws.eu", has_region: |region| region.starts_with("eusc-") },
    Domain { service: "dkr.ecr", suffix: "c2s.ic.gov", has_region: |region| region.starts_with("us-iso-") },
    Domain { service: "dkr.ecr", suffix: "sc2s.sgov.gov", has_region: |region| region.starts_with("us-isob-") },
    Domain { service: "dkr.ecr", suffix: "cloud.adc-e.uk", has_region: |region| region.starts_with("eu-isoe-") },
    Domain { service: "dkr.ecr", suffix: "csp.hci.ic.gov", has_region: |region| region.starts_with("us-isof-") },
];

impl Registry {
    /// Creates a registry from an account and a region.
    pub fn new(account: &str, region: &str) -> Result<Self, Error> {
        if is_account(account) && is_region(region) {
            Ok(Self { account: account.into(), region: region.into() })
        } else {
            Err(Error::Form)
        }
    }

    /// Parses `ACCOUNT/REGION` or any form of ECR host.
    ///
    /// ```
    /// use scangate_core::registry::Registry;
    ///
    /// let registry = Registry::parse("123456789012/eu-west-1")?;
    ///
    /// assert_eq!(registry.host(), "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    /// assert_eq!(Registry::parse("123456789012.dkr-ecr.eu-west-1.on.aws")?, registry);
    /// assert!(Registry::parse("ghcr.io").is_err());
    /// # Ok::<(), scangate_core::registry::Error>(())
    /// ```
    pub fn parse(registry: &str) -> Result<Self, Error> {
        match registry.split_once('/') {
            Some((account, region)) => Self::new(account, region),
            None => Self::from_host(registry),
        }
    }

    /// Parses an ECR host name in any of its forms.
    pub fn from_host(host: &str) -> Result<Self, Error> {
        let (account, rest) = host.split_once('.').ok_or(Error::Form)?;
        let mut wrong_partition = None;
        for domain in DOMAINS {
            let Some(region) = parse_region(rest, domain) else { continue };
            let registry = Self::new(account, region)?;
            if (domain.has_region)(region) {
                return Ok(registry);
            }
            wrong_partition = Some(Error::Partition { region: region.to_owned(), suffix: domain.suffix.to_owned() });
        }
        Err(wrong_partition.unwrap_or(Error::Form))
    }

    /// Returns the AWS account: 12 digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Returns the AWS region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns ECR's default host for this registry.
    pub fn host(&self) -> String {
        let suffix = DOMAINS
            .iter()
            .find(|domain| domain.service == "dkr.ecr" && (domain.has_region)(&self.region))
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

    fn try_from(registry: String) -> Result<Self, Error> {
        Self::parse(&registry)
    }
}

impl From<Registry> for String {
    fn from(registry: Registry) -> Self {
        registry.to_string()
    }
}

fn parse_region<'a>(rest: &'a str, domain: &Domain) -> Option<&'a str> {
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

fn is_china(region: &str) -> bool {
    region.starts_with("cn-")
}

fn is_commercial_or_gov(region: &str) -> bool {
    !is_china(region) && !region.starts_with("eusc-") && !region.contains("-iso")
}
