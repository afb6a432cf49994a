//! Platforms: what an index names its manifests by.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Error, grammar::is_platform_part};

/// The platform of one manifest: `os/architecture[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// Operating system, e.g. `linux`.
    pub os: String,
    /// Architecture, e.g. `amd64`.
    pub architecture: String,
    /// Variant, e.g. `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// Reads `os/architecture[/variant]`.
    pub fn parse(given: &str) -> Result<Self, Error> {
        let mut parts = given.split('/');
        let (Some(os), Some(architecture), variant, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::Platform { given: given.chars().take(100).collect() });
        };
        if [Some(os), Some(architecture), variant].into_iter().flatten().all(is_platform_part) {
            Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) })
        } else {
            Err(Error::Platform { given: given.chars().take(100).collect() })
        }
    }

    /// Whether a platform that was asked for means this one: without a variant it means every variant.
    pub fn satisfies(&self, asked: &Self) -> bool {
        self.os == asked.os
            && self.architecture == asked.architecture
            && (asked.variant.is_none() || asked.variant == self.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl TryFrom<String> for Platform {
    type Error = Error;

    fn try_from(given: String) -> Result<Self, Error> {
        Self::parse(&given)
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}
