//! Errors of image references.

use crate::registry;

/// Maximum length of an image reference, in bytes.
pub const MAX_REFERENCE: usize = 1024;

const EXAMPLE_HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// An error of an image reference or one of its parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The reference is empty.
    #[error("must not be empty; write an image like team/app:2.3.0 or team/app@sha256:…")]
    Empty,
    /// The reference is longer than [`MAX_REFERENCE`].
    #[error("must be at most {MAX_REFERENCE} bytes long")]
    TooLong,
    /// The reference begins with a scheme that is not accepted.
    #[error(
        "begins with {scheme:?}, which is not accepted; write the image without it, like {EXAMPLE_HOST}/team/app:1"
    )]
    Scheme {
        /// The scheme, shortened.
        scheme: String,
    },
    /// No registry's host follows the scheme.
    #[error(
        "begins with {scheme:?} without a registry's host; add a host like {EXAMPLE_HOST}, or leave out {scheme:?} for the default registry"
    )]
    SchemeWithoutHost {
        /// The scheme.
        scheme: String,
    },
    /// The host is one of ECR's, and has another port.
    #[error("{host:?} has a port that Amazon ECR does not serve; leave out the port")]
    Port {
        /// The host as written.
        host: String,
    },
    /// The part before the first `/` looks like a host and is not one of ECR's.
    #[error("{}", describe_host(host, source))]
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
    #[error(
        "tag {value:?} must be 1 to 128 letters, digits, `_`, `.` or `-`, and must not start with `.` or `-`{}",
        describe_plus(value)
    )]
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

fn describe_host(host: &str, source: &registry::Error) -> String {
    let host: String = host.chars().take(300).collect();
    match source {
        registry::Error::Form => format!(
            "{host:?} is not the host of a private Amazon ECR registry; write one like {EXAMPLE_HOST}, or no host for the default registry"
        ),
        registry::Error::Partition { .. } => format!("{host:?} is not the host of an Amazon ECR registry: {source}"),
    }
}

fn describe_plus(tag: &str) -> &'static str {
    if tag.contains('+') { "; a version with `+` is pushed with `_` in its place" } else { "" }
}
