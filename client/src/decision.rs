//! A decision, and the one way from it to a deployment: every doubt is a refusal.

use std::{fmt, ops::Deref, time::Duration};

use crate::{
    error::Seconds,
    v1::{self, Verdict},
};

/// What the gate decided about one image. Dereferences to the message with everything that the verdict rests on.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an unread decision allows nothing: call `require_allowed`"]
pub struct Decision(v1::Decision);

impl Decision {
    /// The reference to deploy, pinned by digest; everything but an enforced, consistent ALLOW is an error.
    ///
    /// ```no_run
    /// # async fn deploy(client: scangate_client::Client, request: scangate_client::v1::EvaluateGateRequest)
    /// # -> Result<(), scangate_client::Error> {
    /// let decision = client.evaluate(request).await?;
    /// let image = decision.require_allowed()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where several but not all platforms of an index were asked about there is no single reference and this is an error too:
    /// take [`require_allowed_manifests`](Self::require_allowed_manifests).
    pub fn require_allowed(&self) -> Result<&str, NotAllowed> {
        self.require_authority()?;
        if self.0.deploy_image.is_empty() {
            return Err(self.refuse(Refusal::NoReference));
        }
        if let [manifest] = self.0.manifests.as_slice()
            && is_pinned(&self.0.deploy_image, &manifest.digest)
        {
            // One manifest is all that was judged: its own reference stands for the whole.
            return Ok(&self.0.deploy_image);
        }
        let digest = self.0.image.as_ref().map(|image| image.digest.as_str()).unwrap_or_default();
        self.require_pinned(&self.0.deploy_image, digest)
    }

    /// The reference of every manifest that was asked about, pinned by digest, in the decision's order.
    ///
    /// The same conditions as for [`require_allowed`](Self::require_allowed), but for the reference to the whole image.
    pub fn require_allowed_manifests(&self) -> Result<Vec<&str>, NotAllowed> {
        self.require_authority()?;
        self.0.manifests.iter().map(|manifest| self.require_pinned(&manifest.deploy_image, &manifest.digest)).collect()
    }

    /// Accepts advice as well: a decision under a policy that the caller named. Hands out nothing to deploy, on purpose.
    pub fn require_allowed_as_advice(&self) -> Result<(), NotAllowed> {
        match self.0.verdict() {
            Verdict::Allow => {}
            Verdict::Deny => return Err(self.refuse(Refusal::Denied)),
            Verdict::Indeterminate => return Err(self.refuse(Refusal::Indeterminate)),
            Verdict::Unspecified => return Err(self.refuse(Refusal::UnknownVerdict(self.0.verdict))),
        }
        if self.0.manifests.is_empty() {
            return Err(self.refuse(Refusal::NothingProven));
        }
        if let Some(manifest) = self.0.manifests.iter().find(|manifest| manifest.verdict() != Verdict::Allow) {
            return Err(self.refuse(Refusal::ManifestNotAllowed { digest: manifest.digest.clone() }));
        }
        if self.0.violations.is_empty() { Ok(()) } else { Err(self.refuse(Refusal::Contradiction)) }
    }

    /// The message itself.
    pub fn into_inner(self) -> v1::Decision {
        self.0
    }

    fn require_authority(&self) -> Result<(), NotAllowed> {
        self.require_allowed_as_advice()?;
        if self.0.authoritative { Ok(()) } else { Err(self.refuse(Refusal::Advice)) }
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
            verdict: self.0.verdict(),
            refusal,
            reasons: self.0.reasons.clone(),
            retry_after: self.0.retry_after.and_then(|delay| Duration::try_from(delay).ok()),
        }
    }
}

/// `name@sha256:` and 64 hexadecimal digits, the digest being the one that the decision is about.
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

impl Deref for Decision {
    type Target = v1::Decision;

    fn deref(&self) -> &v1::Decision {
        &self.0
    }
}

/// The image must not be deployed on this decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct NotAllowed {
    /// The verdict; `Unspecified` for one that this version does not know. ALLOW where something else stands against it.
    pub verdict: Verdict,
    /// What stands against it.
    pub refusal: Refusal,
    /// The gate's own reasons, one sentence each.
    pub reasons: Vec<String>,
    /// When asking again makes sense.
    pub retry_after: Option<Duration>,
}

impl NotAllowed {
    /// Every item of a batch is allowed and the batch as a whole is not.
    pub(crate) fn of_batch(verdict: i32) -> Self {
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
            Some(delay) => write!(formatter, "; ask again in {}", Seconds(delay)),
            None => Ok(()),
        }
    }
}

/// What stands between a decision and a deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The verdict is DENY.
    #[error("the image is denied")]
    Denied,
    /// The verdict is INDETERMINATE: not now, ask again.
    #[error("the gate cannot decide yet")]
    Indeterminate,
    /// The verdict is none that this version knows.
    #[error("the gate answered an unknown verdict ({0})")]
    UnknownVerdict(i32),
    /// ALLOW under a policy that the caller named, not under those that the gate enforces.
    #[error("the decision is advice: no policy may be named where it shall be enforced")]
    Advice,
    /// ALLOW about no manifest at all.
    #[error("the decision is about no manifest")]
    NothingProven,
    /// ALLOW although a manifest is not.
    #[error("manifest {digest} is not allowed")]
    ManifestNotAllowed {
        /// Which manifest.
        digest: String,
    },
    /// ALLOW although violations are listed.
    #[error("the decision lists violations and allows all the same")]
    Contradiction,
    /// ALLOW without a reference to the whole image: only some platforms of an index were asked about.
    #[error("only some platforms were decided on: take the references of the manifests")]
    NoReference,
    /// ALLOW with a reference that is not pinned to the digest that was decided on.
    #[error("{reference:?} is not pinned to the digest that was decided on")]
    NotPinned {
        /// The reference.
        reference: String,
    },
}

#[cfg(test)]
mod tests;
