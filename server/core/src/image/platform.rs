//! Platforms, which identify the manifests of an index.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{error::Error, grammar::is_platform_part};

/// The platform of one manifest, or a selection of platforms: `os[(os version)]/architecture[/variant]`.
///
/// The names are those of containerd: `x86_64` is read as `amd64`, `aarch64` as `arm64`, `macos` as `darwin`, in any
/// case. A selection without a variant or an os version stands for all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// Operating system, e.g. `linux`.
    pub os: String,
    /// Version of the operating system, e.g. `10.0.17763.1` of Windows.
    pub os_version: Option<String>,
    /// Architecture, e.g. `amd64`.
    pub architecture: String,
    /// Variant, e.g. `v7`.
    pub variant: Option<String>,
}

impl Platform {
    /// An estimate of the memory of a platform with its texts, in bytes. Caches weigh their entries by it.
    pub const ESTIMATED_BYTES: usize = size_of::<Self>() + 4 * 32;

    /// Creates a platform from its parts, under containerd's names.
    pub fn new(os: &str, os_version: Option<&str>, architecture: &str, variant: Option<&str>) -> Result<Self, Error> {
        let parts = [Some(os), os_version, Some(architecture), variant];
        if !parts.into_iter().flatten().all(is_platform_part) {
            return Err(malformed(&display(os, os_version, architecture, variant)));
        }
        let (architecture, variant) = normalize_architecture(architecture, variant);
        Ok(Self { os: normalize_os(os), os_version: os_version.map(str::to_owned), architecture, variant })
    }

    /// Parses `os[(os version)]/architecture[/variant]`.
    ///
    /// ```
    /// use scangate_core::image::Platform;
    ///
    /// assert_eq!(Platform::parse("Linux/x86_64")?.to_string(), "linux/amd64");
    ///
    /// let windows = Platform::parse("windows(10.0.17763.1)/amd64")?;
    /// assert_eq!(windows.os_version.as_deref(), Some("10.0.17763.1"));
    /// # Ok::<(), scangate_core::image::Error>(())
    /// ```
    pub fn parse(platform: &str) -> Result<Self, Error> {
        let parsed = split(platform).map(|(os, version, architecture, variant)| {
            Self::new(os, version, architecture, variant).map_err(|_| malformed(platform))
        });
        parsed.unwrap_or_else(|| Err(malformed(platform)))
    }

    /// Returns the platforms sorted and each once: neither order nor repetition changes a selection.
    pub fn distinct(platforms: &[Self]) -> Vec<Self> {
        BTreeSet::from_iter(platforms).into_iter().cloned().collect()
    }

    /// Returns the platform of a manifest as containerd writes it: without the variant that its architecture implies
    /// (`arm64/v8`, `amd64/v1`), but always with the one of `arm`, which is `v7` where an index states none.
    #[must_use]
    pub fn into_stated(self) -> Self {
        let variant = match (self.architecture.as_str(), self.variant) {
            ("arm64", Some(variant)) if variant == "v8" => None,
            ("amd64", Some(variant)) if variant == "v1" => None,
            ("arm", None) => Some("v7".to_owned()),
            (_, variant) => variant,
        };
        Self { variant, ..self }
    }

    /// True if this platform of a manifest satisfies the requested one. A request without a variant stands for every
    /// variant, and one without an os version for every os version.
    ///
    /// ```
    /// use scangate_core::image::Platform;
    ///
    /// let platform = Platform::parse("linux/arm/v6")?;
    ///
    /// assert!(platform.satisfies(&Platform::parse("linux/arm")?));
    /// assert!(!platform.satisfies(&Platform::parse("linux/arm/v7")?));
    /// assert!(Platform::parse("linux/arm64")?.satisfies(&Platform::parse("linux/arm64/v8")?));
    /// # Ok::<(), scangate_core::image::Error>(())
    /// ```
    pub fn satisfies(&self, requested: &Self) -> bool {
        self.os == requested.os
            && self.architecture == requested.architecture
            && (requested.os_version.is_none() || requested.os_version == self.os_version)
            && (requested.variant.is_none() || requested.variant() == self.variant())
    }

    /// True if every manifest that satisfies a request for the other platform also satisfies one for this.
    pub fn covers(&self, other: &Self) -> bool {
        // As a request, a platform without a variant asks for any variant, and not for the one that is implied.
        other.satisfies(self) && (self.variant.is_none() || other.variant.is_some())
    }

    /// Returns the variant, or the one that the architecture implies.
    fn variant(&self) -> Option<&str> {
        let implied = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        self.variant.as_deref().or(implied)
    }
}

fn split(platform: &str) -> Option<(&str, Option<&str>, &str, Option<&str>)> {
    let mut parts = platform.split('/');
    let (Some(os), Some(architecture), variant, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let (os, version) = match os.split_once('(') {
        Some((os, version)) => (os, Some(version.strip_suffix(')')?)),
        None => (os, None),
    };
    Some((os, version, architecture, variant))
}

/// Mirrors `normalizeOS` of containerd's package `platforms`.
fn normalize_os(os: &str) -> String {
    match os.to_ascii_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    }
}

/// Mirrors `normalizeArch` of containerd's package `platforms`, apart from the variants that an architecture implies:
/// a request without a variant stands for all of them.
fn normalize_architecture(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.map(str::to_ascii_lowercase);
    let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
        ("i386", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", Some("8" | "8.0" | "v8.0")) => ("arm64", Some("v8")),
        ("aarch64" | "arm64", Some("9" | "9.0" | "v9.0")) => ("arm64", Some("v9")),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", Some("7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

fn malformed(platform: &str) -> Error {
    Error::Platform { value: platform.chars().take(100).collect() }
}

fn display(os: &str, os_version: Option<&str>, architecture: &str, variant: Option<&str>) -> String {
    let version = os_version.map(|version| format!("({version})")).unwrap_or_default();
    let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{os}{version}/{architecture}{variant}")
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display(&self.os, self.os_version.as_deref(), &self.architecture, self.variant.as_deref()))
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
