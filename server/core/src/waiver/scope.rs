//! The scope of a waiver: the vulnerabilities, packages and images that it covers.

use serde::{Deserialize, Serialize};

use crate::{
    finding::Finding,
    glob::Glob,
    image::{Digest, Platform, RepositoryName},
    name::Environment,
    package_name,
    stored::is_default,
};

/// The findings that a waiver covers: every field that is set must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// A glob over vulnerability ids.
    pub vulnerability: Glob,
    /// A glob over package names; `None`: any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub package: Option<Glob>,
    /// A glob over repository names; `None`: any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repository: Option<Glob>,
    /// The digest of the requested image or of the manifest; `None`: any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub digest: Option<Digest>,
    /// A glob over environments; `None`: any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub environment: Option<Glob>,
    /// The platform of the manifest; `None`: any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub platform: Option<Platform>,
    /// True if the scope is not narrowed to a place, on purpose: see [`Scope::has_place`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub everywhere: bool,
}

/// The manifest in which a finding occurs, with the image and environment of the call.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The repository.
    pub repository: &'a RepositoryName,
    /// The requested image.
    pub image: &'a Digest,
    /// The manifest.
    pub manifest: &'a Digest,
    /// Its platform.
    pub platform: Option<&'a Platform>,
    /// The environment in which the image will run.
    pub environment: Option<&'a Environment>,
}

impl Scope {
    /// True if the scope covers findings of the subject.
    ///
    /// The policies of all environments govern a call without an environment, so only waivers for all environments cover
    /// it: leaving the environment out never loosens the verdict.
    pub fn includes(&self, subject: Subject<'_>) -> bool {
        let environment = |glob: &Glob| match subject.environment {
            Some(environment) => glob.matches(environment.as_str()),
            None => glob.matches_everything(),
        };
        self.repository.as_ref().is_none_or(|glob| glob.matches(subject.repository.as_str()))
            && self.digest.as_ref().is_none_or(|digest| digest == subject.image || digest == subject.manifest)
            && self.environment.as_ref().is_none_or(environment)
            && self.platform.as_ref().is_none_or(|platform| subject.platform.is_some_and(|own| own.satisfies(platform)))
    }

    /// True if a repository, a digest or an environment narrows the scope. A glob that matches everything does not.
    ///
    /// A scope without a place must say [`everywhere`](Self::everywhere). The edge checks it when a waiver is written.
    pub fn has_place(&self) -> bool {
        let narrows = |glob: &Option<Glob>| glob.as_ref().is_some_and(|glob| !glob.matches_everything());
        narrows(&self.repository) || self.digest.is_some() || narrows(&self.environment)
    }

    /// True if the scope covers this vulnerability in the package of the finding. The id is the finding's own one, or one
    /// of its related ids: see [`Cover`](super::Cover).
    ///
    /// ```
    /// use scangate_core::{finding::Finding, waiver::Scope};
    ///
    /// let scope: Scope = serde_json::from_str(r#"{ "vulnerability": "CVE-2026-*", "package": "openssl" }"#)?;
    /// let finding: Finding =
    ///     serde_json::from_str(r#"{ "id": "CVE-2026-1", "package": { "name": "zlib" }, "severity": "HIGH" }"#)?;
    ///
    /// assert!(!scope.names(&finding.id, &finding));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn names(&self, id: &str, finding: &Finding) -> bool {
        self.vulnerability.matches(id)
            && self.package.as_ref().is_none_or(|glob| package_name::matches(glob, &finding.package))
    }
}
