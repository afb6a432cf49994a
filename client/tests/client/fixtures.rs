//! Requests and responses for the fake server.

use std::time::Duration;

use scangate_client::v1::*;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub const IMAGE: &str = "team/app:2.3.0";
pub const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub const DEPLOY: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app\
    @sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub fn decision(verdict: Verdict) -> Decision {
    let deploy_image = if verdict == Verdict::Allow { DEPLOY } else { "" };
    let manifest = ManifestDecision {
        digest: DIGEST.into(),
        platform: Some(Platform { os: "linux".into(), architecture: "amd64".into(), ..Default::default() }),
        verdict: verdict.into(),
        deploy_image: deploy_image.into(),
        scan: Some(ScanState { evidence: Evidence::Proven.into(), ..Default::default() }),
        ..Default::default()
    };
    Decision {
        verdict: verdict.into(),
        reasons: vec![format!("because {verdict:?}")],
        image: Some(Image { digest: DIGEST.into(), ..Default::default() }),
        deploy_image: deploy_image.into(),
        manifests: vec![manifest],
        policies: vec![PolicyReference { policy: "policies/default".into(), ..Default::default() }],
        revision: "rev-7".into(),
        ..Default::default()
    }
}

/// A DENY for a critical finding that an upgrade fixes.
pub fn denied() -> Decision {
    let openssl = AffectedPackage {
        name: "openssl".into(),
        version: "3.0.1".into(),
        fixed_version: "3.0.7".into(),
        ..Default::default()
    };
    let finding = Finding {
        vulnerability_id: "CVE-2024-0001".into(),
        package: Some(openssl),
        severity: Severity::Critical.into(),
        ..Default::default()
    };
    let violation = Violation {
        policy: "policies/default".into(),
        rule: "no-critical".into(),
        description: "upgrade them".into(),
        kind: ViolationKind::Rule.into(),
        matched_count: Some(12),
        allowed_count: Some(0),
        findings: vec![finding],
        ..Default::default()
    };
    Decision { violations: vec![violation], ..decision(Verdict::Deny) }
}

pub fn evaluate_response(decision: Decision) -> EvaluateGateResponse {
    EvaluateGateResponse { decision: Some(decision), ..Default::default() }
}

pub fn evaluate_request() -> EvaluateGateRequest {
    EvaluateGateRequest { image: IMAGE.into(), ..Default::default() }
}

pub fn item(decision: Decision) -> BatchEvaluateGateItem {
    let response = EvaluateGateResponse { decision: Some(decision), replayed: false };
    BatchEvaluateGateItem { result: Some(batch_evaluate_gate_item::Result::Response(response)) }
}

pub fn error_item(code: Code, reason: &str) -> BatchEvaluateGateItem {
    let error = BatchEvaluateGateError {
        code: code.into(),
        reason: reason.to_owned(),
        message: format!("{reason} happened"),
        ..Default::default()
    };
    BatchEvaluateGateItem { result: Some(batch_evaluate_gate_item::Result::Error(error)) }
}

pub fn unavailable() -> Status {
    Status::unavailable("try another replica")
}

pub fn unavailable_with_delay(delay: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(delay));
    Status::with_error_details(Code::Unavailable, "throttled", details)
}

pub fn error_status(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "scangate.dev", std::collections::HashMap::new());
    Status::with_error_details(code, format!("{reason} happened"), details)
}

/// INVALID_ARGUMENT with one invalid field.
pub fn invalid_field(field: &str, description: &str) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(field, description);
    details.set_error_info("INVALID_FIELDS", "scangate.dev", std::collections::HashMap::new());
    Status::with_error_details(Code::InvalidArgument, "invalid fields", details)
}
