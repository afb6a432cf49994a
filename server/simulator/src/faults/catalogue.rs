//! The catalogue of faults by stable name, and constructors for common errors.

use std::time::Duration;

use serde_json::json;

use super::Fault;

impl Fault {
    /// One fault of each kind, with parameters that make it visible, so that a test can iterate over all of them.
    pub fn all() -> Vec<(&'static str, Self)> {
        let mut all = Self::transport();
        all.extend(Self::credential_errors());
        all.extend(Self::request_errors());
        all.extend(Self::content());
        all
    }

    /// The fault with this name in [`Fault::all`].
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|(known, _)| *known == name).map(|(_, fault)| fault)
    }

    fn transport() -> Vec<(&'static str, Self)> {
        vec![
            ("throttle_400", Self::Throttle400),
            ("throttle_429", Self::Throttle429),
            ("throttle_429_empty", Self::Throttle429Empty),
            ("server_error_500", Self::ServerError500),
            ("service_unavailable_503", Self::ServiceUnavailable503),
            ("login_page_200", Self::Html(200)),
            ("proxy_page_403", Self::Html(403)),
            ("proxy_page_407", Self::Html(407)),
            ("delay", Self::Delay(Duration::from_secs(2))),
            ("hang", Self::Hang),
            ("drop_connection", Self::DropConnection),
            ("cut_connection", Self::CutConnection),
            ("truncate_body", Self::TruncateBody),
            ("malformed_json", Self::MalformedJson),
            ("empty_body_200", Self::EmptyBody200),
            ("empty_object", Self::EmptyObject),
        ]
    }

    fn credential_errors() -> Vec<(&'static str, Self)> {
        vec![
            ("access_denied", Self::access_denied()),
            ("inspector_not_authorized", Self::inspector_not_authorized()),
            (
                "expired_token",
                Self::error("ExpiredTokenException", "The security token included in the request is expired"),
            ),
            (
                "unrecognized_client",
                Self::error("UnrecognizedClientException", "The security token included in the request is invalid."),
            ),
        ]
    }

    fn request_errors() -> Vec<(&'static str, Self)> {
        vec![
            ("scan_not_found", Self::error("ScanNotFoundException", "Image scan does not exist for the image")),
            (
                "image_not_found",
                Self::error("ImageNotFoundException", "The image does not exist within the repository"),
            ),
            (
                "repository_not_found",
                Self::error("RepositoryNotFoundException", "The repository does not exist in the registry"),
            ),
            (
                "limit_exceeded",
                Self::error(
                    "LimitExceededException",
                    "The scan quota per image has been exceeded. Wait and try again.",
                ),
            ),
            ("validation_error", Self::error("ValidationException", "There was an exception validating this request.")),
            ("invalid_parameter", Self::error("InvalidParameterException", "The specified parameter is invalid.")),
        ]
    }

    fn content() -> Vec<(&'static str, Self)> {
        vec![
            ("repeat_page", Self::RepeatPage),
            ("duplicate_page", Self::DuplicatePage),
            ("missing_page", Self::MissingPage),
            ("token_loop", Self::TokenLoop),
            ("counts_disagree", Self::CountsDisagree),
            ("count_negative", Self::CountNegative),
            ("drop_counts", Self::DropCounts),
            ("drop_findings_object", Self::DropFindingsObject),
            ("drop_status", Self::DropStatus),
            ("unknown_status", Self::UnknownStatus("IMAGE_SIZE_EXCEEDED".into())),
            ("unknown_severity", Self::UnknownSeverity("SEVERE".into())),
            ("wrong_digest", Self::WrongDigest),
            ("wrong_repository", Self::WrongRepository),
            ("wrong_registry", Self::WrongRegistry),
            ("nan_score", Self::NanScore),
            ("huge_timestamp", Self::HugeTimestamp),
            ("future_complete_time", Self::FutureCompletedAt),
            ("drop_field", Self::DropField("/imageScanFindings/imageScanCompletedAt".into())),
            ("set_field", Self::SetField { pointer: "/imageScanStatus/status".into(), value: json!("complete ") }),
            ("scan_changes_between_pages", Self::ScanChangesBetweenPages),
            ("per_page_facts", Self::PerPageFacts),
            ("partial_failure", Self::PartialFailure),
            ("corrupt_manifest", Self::CorruptManifest),
        ]
    }

    /// An error with HTTP status 400.
    pub fn error(code: &str, message: &str) -> Self {
        Self::Error { code: code.to_owned(), message: message.to_owned(), status: 400 }
    }

    /// The error for a caller without permission.
    pub fn access_denied() -> Self {
        Self::error(
            "AccessDeniedException",
            "User: arn:aws:iam::123456789012:user/test is not authorized to perform this action",
        )
    }

    /// The error of an enhanced read for a caller without permission to list Inspector's findings.
    pub fn inspector_not_authorized() -> Self {
        Self::error(
            "AccessDeniedException",
            "User: arn:aws:iam::123456789012:user/test is not authorized to perform: inspector2:ListFindings on \
             resource: arn:aws:inspector2:eu-west-1:123456789012:/findings/list",
        )
    }
}
