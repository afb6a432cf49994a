//! The contract's comments and docs/errors.md state what the server sends: code, metadata keys and retry of each reason.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use scangate_core::{
    image::{Platform, Repository, RepositoryName},
    name::Environment,
    registry::Registry,
};
use tonic_types::FieldViolation;

use super::*;
use crate::{
    auth::{Permission, Refusal},
    decision_log, evaluation, findings, observations, policies,
    policy_store::{self, ResourceName},
    registry::{self, Source},
    scan_reader, waivers,
};

/// The reason that is never sent.
const NEVER_SENT: &str = "UNSPECIFIED";

/// The properties of one reason.
#[derive(Debug, Default, PartialEq, Eq)]
struct Properties {
    code: String,
    keys: BTreeSet<String>,
    retries: bool,
}

fn registry_errors() -> Vec<registry::Error> {
    use registry::Error;
    let id = Registry::parse("123456789012/eu-west-1").unwrap();
    let repository = Repository { registry: id.clone(), name: RepositoryName::parse("team/app").unwrap() };
    let text = || "text".to_owned();
    let source = || Source::new("cause");
    vec![
        Error::NotConfigured { registry: id.clone(), configured: vec![id.clone()] },
        Error::RepositoryNotFound(repository.clone()),
        Error::ImageNotFound { repository, image: text() },
        Error::TagDigestMismatch { tag: text(), requested: text(), actual: text() },
        Error::AccessDenied { action: text(), detail: text() },
        Error::Credentials(source()),
        Error::Throttled { operation: "DescribeImages", retry_after: Duration::from_secs(3) },
        Error::Unavailable { operation: "DescribeImages", source: source() },
        Error::Unreachable { operation: "DescribeImages", status: 407, source: source() },
        Error::MalformedResponse { operation: "DescribeImages", detail: text() },
        Error::TooComplex(text()),
        Error::NoScanningRules(id),
        Error::Rejected { operation: "DescribeImages", code: text(), message: text() },
    ]
}

fn store_errors() -> Vec<policy_store::Error> {
    use policy_store::Error;
    let policy = || ResourceName::Policy(PolicyId::parse("prod").unwrap());
    let waiver = || ResourceName::Waiver(WaiverId::parse("prod").unwrap());
    vec![
        Error::NotFound(policy()),
        Error::NotFound(waiver()),
        Error::AlreadyExists(policy()),
        Error::AlreadyExists(waiver()),
        Error::Conflict { name: policy(), actual: 3 },
        Error::RequestIdReused,
        Error::BatchSize,
        Error::DefaultRequired,
        Error::TooManyPolicies,
        Error::TooManyWaivers,
        Error::Revoked(WaiverId::parse("prod").unwrap()),
        Error::FromNewerServer { name: policy(), fields: "rules[0].future".to_owned() },
        Error::Unavailable("cause".into()),
    ]
}

/// One status for each reason that the server sends.
fn statuses() -> Vec<Status> {
    let deflate = http::HeaderValue::from_static("deflate");
    let decision: decision_log::DecisionId = "abc-1".parse().unwrap();
    let platform = Platform::parse("linux/amd64").unwrap();
    let platforms = scan_reader::Error::PlatformNotFound { missing: platform.clone(), available: vec![platform] };
    let environments = [Environment::parse("prod").unwrap()].into();
    let unknown =
        evaluation::Error::EnvironmentUnknown { environment: Environment::parse("prd").unwrap(), known: environments };
    let field = super::super::wire_check::Refusal::UnknownField { message: "m", path: "99".to_owned(), number: 99 };
    let corrupt = decision_log::Error::Corrupt { what: "decisions/abc-1".to_owned(), source: "cause".into() };
    let (caller, permission) = ("ci:deployer".to_owned(), Permission::GateEvaluate);
    let missing = Refusal::PermissionMissing { caller: caller.clone(), permission };
    let (subject, allowed) = ("repository pay/core".to_owned(), "repositories shop/*".to_owned());
    let outside = Refusal::OutOfScope { caller, permission, subject, allowed };
    let waiver = || WaiverId::parse("w").unwrap();
    let mut statuses = vec![
        identity_missing(),
        identity_rejected("expired"),
        issuer_unavailable("ci"),
        from_refusal(missing),
        from_refusal(outside),
        grants_changed(),
        from_waivers(waivers::Error::SelfApproval(waiver())),
        from_waivers(waivers::Error::Expired(waiver())),
        invalid_fields(vec![FieldViolation::new("image", "must be set")]),
        deadline(),
        overloaded(),
        shutting_down(),
        foreign_resume_token(),
        expired_resume_token(),
        identity_required("ApproveWaiver", &waiver()),
        revision_not_found(&PolicyId::parse("prod").unwrap(), 3),
        malformed_request("cause"),
        request_too_large(4),
        unknown_method("/service/method"),
        unsupported_compression(&deflate, "gzip"),
        from_wire(field),
        from_evaluation(unknown),
        from_evaluation(platforms.into()),
        from_findings(findings::Error::Changed),
        from_decisions(decision_log::Error::NotFound(decision).into()),
        from_decisions(corrupt.into()),
        from_policies(policies::Error::Stale),
        from_policies(policies::Error::RevisionNotReached { required: 2, current: 1 }),
        from_evaluation(observations::Error::Unavailable("cause".into()).into()),
    ];
    statuses.extend(registry_errors().into_iter().map(from_registry));
    statuses.extend(store_errors().into_iter().map(|error| from_policies(error.into())));
    statuses
}

fn sent() -> BTreeMap<String, Properties> {
    let mut sent = BTreeMap::new();
    for status in statuses() {
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        let retries = details.retry_info().is_some();
        let properties =
            Properties { code: v1_code(status.code()), keys: info.metadata.keys().cloned().collect(), retries };
        assert_eq!(info.domain, DOMAIN);
        assert_eq!(status.metadata().contains_key(PUSHBACK), retries, "{status:?}");
        let earlier: Option<Properties> = sent.insert(info.reason.clone(), properties);
        assert!(earlier.is_none_or(|earlier| earlier == sent[&info.reason]), "{} has two forms", info.reason);
    }
    sent
}

/// The name of a code in capitals.
fn v1_code(code: Code) -> String {
    let name = format!("{code:?}");
    let words = name.chars().enumerate().flat_map(|(index, letter)| {
        let separator = (index > 0 && letter.is_uppercase()).then_some('_');
        separator.into_iter().chain(letter.to_uppercase())
    });
    words.collect()
}

/// The names between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The comments of the reasons in the contract, without line breaks.
fn comments() -> BTreeMap<String, String> {
    let set = FileDescriptorSet::decode(scangate_proto::FILE_DESCRIPTOR_SET).unwrap();
    let is_reason = |name: &str| name == "ErrorReason";
    let file = set.file.iter().find(|file| file.enum_type.iter().any(|entry| is_reason(entry.name()))).unwrap();
    let at = file.enum_type.iter().position(|entry| is_reason(entry.name())).unwrap();
    let locations = &file.source_code_info.as_ref().unwrap().location;
    let comment = |value: usize| {
        let path = [5, i32::try_from(at).unwrap(), 2, i32::try_from(value).unwrap()];
        let location = locations.iter().find(|location| location.path == path).unwrap();
        location.leading_comments().replace('\n', " ").trim().to_owned()
    };
    let values = file.enum_type[at].value.iter().enumerate();
    values.map(|(index, value)| (value.name().replace("ERROR_REASON_", ""), comment(index))).collect()
}

#[test]
fn comment_of_reason_lists_code_and_keys() {
    let sent = sent();
    for (reason, comment) in comments() {
        let Some(properties) = sent.get(&reason) else {
            assert_eq!(reason, NEVER_SENT, "add the error to `statuses`");
            continue;
        };
        let keys = comment.split_once("etadata").map(|(_, keys)| quoted(keys)).unwrap_or_default();
        assert_eq!(keys, properties.keys, "{reason}");
        assert!(comment.starts_with(&format!("{}:", properties.code)), "{reason}: {comment}");
    }
}

#[test]
fn manual_lists_code_keys_and_retry_of_each_reason() {
    let manual = include_str!("../../../../docs/errors.md");
    for (reason, properties) in sent() {
        let row = manual.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let cells: Vec<&str> = row.unwrap_or_else(|| panic!("{reason} has no row")).split('|').map(str::trim).collect();
        let found =
            Properties { code: cells[2].to_owned(), keys: quoted(cells[3]), retries: cells[4].starts_with("yes") };
        assert_eq!(found, properties, "{reason}");
    }
}
