//! Errors of identity and permission.

use scangate_core::name::WaiverId;
use scangate_proto::v1::ErrorReason as Reason;
use tonic::{Code, Status};

use super::{LONG_RETRY_DELAY, StatusBuilder, WAIVER};
use crate::auth::Refusal;

/// The status of a call without an identity.
pub(crate) fn identity_missing() -> Status {
    let message = "the call has no identity: send a client certificate, or a token in the header `authorization` as \
                   `Bearer TOKEN`";
    StatusBuilder::new(Code::Unauthenticated, Reason::IdentityMissing, message).build()
}

/// The status of a call whose certificate or token is refused. `kind` is a stable word for the cause.
pub(crate) fn identity_rejected(kind: &'static str) -> Status {
    let message = format!(
        "the identity of the call is refused ({kind}): get a new token or certificate; the server's log has the details under \
         the request id"
    );
    StatusBuilder::new(Code::Unauthenticated, Reason::IdentityRejected, message).metadata("kind", kind).build()
}

/// The status of a call whose token cannot be verified now.
pub(crate) fn issuer_unavailable(issuer: &str) -> Status {
    let message =
        format!("the keys of the issuer {issuer} cannot be read, so that the token cannot be verified; retry later");
    StatusBuilder::new(Code::Unavailable, Reason::IssuerUnavailable, message)
        .metadata("issuer", issuer)
        .retry_after(LONG_RETRY_DELAY)
        .build()
}

/// The status of a call that its caller may not make.
pub(crate) fn from_refusal(refusal: Refusal) -> Status {
    match refusal {
        Refusal::PermissionMissing { caller, permission } => {
            let permission = permission.name();
            let message = format!(
                "{caller} lacks the permission {permission}; ask the operator for a grant with it in the server's configuration"
            );
            StatusBuilder::new(Code::PermissionDenied, Reason::PermissionMissing, message)
                .metadata("permission", permission)
                .metadata("caller", caller)
                .build()
        }
        Refusal::OutOfScope { caller, permission, subject, allowed } => {
            let permission = permission.name();
            let message = format!(
                "{caller} has the permission {permission} for {allowed}, which does not cover {subject}; ask the operator for a \
                 wider grant"
            );
            StatusBuilder::new(Code::PermissionDenied, Reason::OutOfScope, message)
                .metadata("permission", permission)
                .metadata("caller", caller)
                .metadata("subject", subject)
                .metadata("allowed", allowed)
                .build()
        }
    }
}

/// The status of a stream whose caller has other grants than at its start.
pub(crate) fn grants_changed() -> Status {
    let message = "the grants of the caller changed, so the stream ends; call again, and continue a watch with its last \
                   resume_token";
    StatusBuilder::new(Code::Aborted, Reason::GrantsChanged, message).build()
}

/// The status of an approval by a caller that requested the waiver, or wrote a version of it since the last approval.
pub(crate) fn self_approval(id: &WaiverId) -> Status {
    let name = id.resource_name();
    let message = format!(
        "{name} needs the approval of another caller than those that requested it or wrote a version of it since the last approval"
    );
    StatusBuilder::new(Code::PermissionDenied, Reason::SelfApproval, message).resource(WAIVER, &name).build()
}
