//! Errors of image references.

use crate::registry;

/// Maximum length of an image reference, in bytes.
pub const MAX_REFERENCE: usize = 1024;

/// An error of an image reference or one of its parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The reference is empty.
    #[error("must not be empty; write an image like team/app:2.3.0 or team/app@sha256:…")]
    Empty,
    /// The reference is longer than [`MAX_REFERENCE`].
    #[error("must be at most {MAX_REFERENCE} bytes long")]
    TooLong,
    /// The part before the first `/` looks like a host and is not one of ECR's.
    #[error("{host:?} is not an Amazon ECR registry: {source}")]
    Host {
        /// The host as written.
        host: String,
        /// The error of the host.
        source: registry::Error,
    },
    /// The repository's name does not follow ECR's rules.
    #[error(
        "repository {value:?} must be 2 to 256 characters: lower-case letters and digits, separated by `.`, `_`, `__`, `-` or `/`"
    )]
    Repository {
        /// The name, shortened.
        value: String,
    },
    /// The tag does not follow the rules for tags.
    #[error("tag {value:?} must be 1 to 128 letters, digits, `_`, `.` or `-`, and must not start with `.` or `-`")]
    Tag {
        /// The tag, shortened.
        value: String,
    },
    /// The digest is malformed.
    #[error("digest {value:?} must be `sha256:` and 64 lower-case hexadecimal digits")]
    Digest {
        /// The digest, shortened.
        value: String,
    },
    /// The reference has neither a tag nor a digest.
    #[error("must name a tag or a digest; there is no default tag, so `latest` is never deployed by accident")]
    Unpinned,
    /// The platform is malformed.
    #[error(
        "platform {value:?} must be os/architecture[/variant], with an os version in brackets if it matters, e.g. linux/arm64 or windows(10.0.17763.1)/amd64"
    )]
    Platform {
        /// The platform, shortened.
        value: String,
    },
}
