//! Platforms, which identify the manifests of an index.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{error::Error, grammar::is_platform_part};

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
    /// Parses `os/architecture[/variant]`.
    pub fn parse(platform: &str) -> Result<Self, Error> {
        let mut parts = platform.split('/');
        let (Some(os), Some(architecture), variant, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed(platform));
        };
        if [Some(os), Some(architecture), variant].into_iter().flatten().all(is_platform_part) {
            Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) })
        } else {
            Err(malformed(platform))
        }
    }

    /// True if this platform satisfies the requested one. A request without a variant stands for every variant.
    ///
    /// ```
    /// use scangate_core::image::Platform;
    ///
    /// let platform = Platform::parse("linux/arm64/v8")?;
    ///
    /// assert!(platform.satisfies(&Platform::parse("linux/arm64")?));
    /// assert!(!Platform::parse("linux/arm64")?.satisfies(&platform));
    /// # Ok::<(), scangate_core::image::Error>(())
    /// ```
    pub fn satisfies(&self, requested: &Self) -> bool {
        self.os == requested.os
            && self.architecture == requested.architecture
            && (requested.variant.is_none() || requested.variant == self.variant)
    }
}

fn malformed(platform: &str) -> Error {
    Error::Platform { value: platform.chars().take(100).collect() }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl TryFrom<String> for Platform {
    type Error = Error;

    fn try_from(platform: String) -> Result<Self, Error> {
        Self::parse(&platform)
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}
