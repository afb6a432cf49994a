//! A decision and its check before a deployment. The check fails closed: anything unexpected is a refusal.

use std::{fmt, time::Duration};

use crate::{
    duration::HumanDuration,
    v1::{self, Verdict},
};

/// The server's decision on one image.
///
/// Deploy only what a `deploy_image` says: the decision's own ([`require_allowed`](Self::require_allowed)) or, if you asked for
/// several but not all platforms of an index, the one of each manifest
/// ([`require_allowed_manifests`](Self::require_allowed_manifests)).
///
/// [`require_allowed`](Self::require_allowed) returns the reference to deploy. The evidence behind the verdict is in
/// [`as_message`](Self::as_message).
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an unchecked decision allows nothing: call `require_allowed`"]
pub struct Decision(v1::Decision);

impl Decision {
    /// Returns the reference to deploy, pinned by digest; anything but a consistent ALLOW is an error.
    ///
    /// A request for several, but not all, platforms of an index has no single reference and fails with
    /// [`Refusal::NoReference`]. Use [`require_allowed_manifests`](Self::require_allowed_manifests) for it.
    ///
    /// ```
    /// use scangate_client::{Decision, Refusal, v1};
    ///
    /// let denied = Decision::from(v1::Decision { verdict: v1::Verdict::Deny.into(), ..Default::default() });
    /// assert_eq!(denied.require_allowed().unwrap_err().refusal, Refusal::Denied);
    ///
    /// // An ALLOW without evidence is refused, too.
    /// let unproven = Decision::from(v1::Decision { verdict: v1::Verdict::Allow.into(), ..Default::default() });
    /// assert_eq!(unproven.require_allowed().unwrap_err().refusal, Refusal::NoManifests);
    /// ```
    pub fn require_allowed(&self) -> Result<&str, NotAllowed> {
        self.require_consistent_allow()?;
        if self.0.deploy_image.is_empty() {
            return Err(self.refuse(Refusal::NoReference));
        }
        if let [manifest] = self.0.manifests.as_slice()
            && is_pinned(&self.0.deploy_image, &manifest.digest)
        {
            // With a single evaluated manifest, its reference is the reference of the image.
            return Ok(&self.0.deploy_image);
        }
        let digest = self.0.image.as_ref().map(|image| image.digest.as_str()).unwrap_or_default();
        self.require_pinned(&self.0.deploy_image, digest)
    }

    /// Returns the reference of every requested manifest, pinned by digest, in the order of the decision.
    ///
    /// The conditions are those of [`require_allowed`](Self::require_allowed), except for the reference of the image.
    pub fn require_allowed_manifests(&self) -> Result<Vec<&str>, NotAllowed> {
        self.require_consistent_allow()?;
        self.0.manifests.iter().map(|manifest| self.require_pinned(&manifest.deploy_image, &manifest.digest)).collect()
    }

    /// The resource name of the recorded decision, e.g. for `GetDecision`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The verdict; `Unspecified` if this version does not know it.
    pub fn verdict(&self) -> Verdict {
        self.0.verdict()
    }

    /// The reasons for the verdict, one sentence each.
    pub fn reasons(&self) -> &[String] {
        &self.0.reasons
    }

    /// The delay after which another evaluation may have another result; `None` if a retry does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after.and_then(|delay| Duration::try_from(delay).ok())
    }

    /// The whole message, for display and logs. Its `deploy_image` is unchecked: do not deploy it.
    pub fn as_message(&self) -> &v1::Decision {
        &self.0
    }

    /// Converts the decision into the message; see [`as_message`](Self::as_message).
    pub fn into_message(self) -> v1::Decision {
        self.0
    }

    fn require_consistent_allow(&self) -> Result<(), NotAllowed> {
        match self.0.verdict() {
            Verdict::Allow => {}
            Verdict::Deny => return Err(self.refuse(Refusal::Denied)),
            Verdict::Indeterminate => return Err(self.refuse(Refusal::Indeterminate)),
            Verdict::Unspecified => return Err(self.refuse(Refusal::UnknownVerdict(self.0.verdict))),
        }
        if !self.0.unreadable_detail.is_empty() {
            return Err(self.refuse(Refusal::Unreadable { cause: self.0.unreadable_detail.clone() }));
        }
        if self.0.manifests.is_empty() {
            return Err(self.refuse(Refusal::NoManifests));
        }
        if let Some(manifest) = self.0.manifests.iter().find(|manifest| manifest.verdict() != Verdict::Allow) {
            return Err(self.refuse(Refusal::ManifestNotAllowed { digest: manifest.digest.clone() }));
        }
        let unlisted = self.0.omitted.as_ref().map_or(0, |omitted| omitted.violation_count);
        if self.0.violations.is_empty() && unlisted == 0 { Ok(()) } else { Err(self.refuse(Refusal::Contradiction)) }
    }

    fn require_pinned<'a>(&self, reference: &'a str, digest: &str) -> Result<&'a str, NotAllowed> {
        if is_pinned(reference, digest) {
            Ok(reference)
        } else {
            Err(self.refuse(Refusal::NotPinned { reference: reference.to_owned() }))
        }
    }

    fn refuse(&self, refusal: Refusal) -> NotAllowed {
        NotAllowed {
            verdict: self.verdict(),
            refusal,
            reasons: self.0.reasons.clone(),
            retry_after: self.retry_after(),
        }
    }
}

/// True if the reference is `name@sha256:` plus 64 lower-case hexadecimal digits, and the digest is the evaluated one.
fn is_pinned(reference: &str, digest: &str) -> bool {
    let Some((name, pinned)) = reference.split_once('@') else {
        return false;
    };
    let hexadecimal =
        |digits: &str| digits.len() == 64 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && pinned.strip_prefix("sha256:").is_some_and(hexadecimal)
        && pinned == digest
}

impl From<v1::Decision> for Decision {
    fn from(message: v1::Decision) -> Self {
        Self(message)
    }
}

/// A decision that does not permit a deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct NotAllowed {
    /// The verdict; `Unspecified` if this version does not know it. It is ALLOW if only another check refused the decision.
    pub verdict: Verdict,
    /// The cause of the refusal.
    pub refusal: Refusal,
    /// The server's reasons for the verdict, one sentence each.
    pub reasons: Vec<String>,
    /// The delay after which a retry may succeed; `None` if a retry does not help.
    pub retry_after: Option<Duration>,
}

impl NotAllowed {
    /// Creates the refusal of a batch in which all items are ALLOW, but the verdict on the batch is another.
    pub(crate) fn from_batch_verdict(verdict: i32) -> Self {
        let refusal = match Verdict::try_from(verdict) {
            Ok(Verdict::Deny) => Refusal::Denied,
            Ok(Verdict::Indeterminate) => Refusal::Indeterminate,
            Ok(Verdict::Allow | Verdict::Unspecified) | Err(_) => Refusal::UnknownVerdict(verdict),
        };
        let verdict = Verdict::try_from(verdict).unwrap_or_default();
        Self { verdict, refusal, reasons: Vec::new(), retry_after: None }
    }
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.refusal)?;
        if !self.reasons.is_empty() {
            write!(formatter, ": {}", self.reasons.join("; "))?;
        }
        match self.retry_after {
            Some(delay) => write!(formatter, "; retry in {}", HumanDuration(delay)),
            None => Ok(()),
        }
    }
}

/// The cause for which a decision does not permit a deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The verdict is DENY.
    #[error("the image is denied")]
    Denied,
    /// The verdict is INDETERMINATE; a later evaluation may decide.
    #[error("the server cannot decide yet")]
    Indeterminate,
    /// The verdict is unknown to this version.
    #[error("unknown verdict ({0})")]
    UnknownVerdict(i32),
    /// A recorded decision that the server cannot read as a whole.
    #[error("the server cannot read the decision: {cause}")]
    Unreadable {
        /// The server's cause.
        cause: String,
    },
    /// ALLOW without any manifest, as in the view BASIC of a list.
    #[error("the decision covers no manifest")]
    NoManifests,
    /// The verdict is ALLOW, but the verdict on a manifest is another.
    #[error("manifest {digest} is not allowed")]
    ManifestNotAllowed {
        /// The digest of the manifest.
        digest: String,
    },
    /// ALLOW although violations are listed.
    #[error("the verdict is ALLOW, but violations are listed")]
    Contradiction,
    /// ALLOW without a reference to the whole image: the request selected some platforms of an index.
    #[error("no reference to the whole image: only some platforms were evaluated; use the references of the manifests")]
    NoReference,
    /// ALLOW with a reference that is not pinned to the evaluated digest.
    #[error("{reference:?} is not pinned to the evaluated digest")]
    NotPinned {
        /// The reference.
        reference: String,
    },
}

#[cfg(test)]
mod tests;
