//! The caller of a request: by the token in its headers, by the certificate or socket of its connection, or anonymous.

use std::{net::SocketAddr, sync::Arc};

use http::{Extensions, HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use scangate_proto::requests::Method;
use tonic::Status;

use super::{audit::Entry, status};
use crate::{
    auth::{
        Access, Authorization, Caller, Principal, Source,
        token::{TokenError, Tokens},
    },
    listen::Peer,
};

/// A call that has no acceptable identity, or that its caller may not make.
#[derive(Debug)]
pub(super) struct Refused {
    /// The response.
    pub(super) status: Box<Status>,
    /// The caller's name; empty if it has none.
    pub(super) caller: String,
    /// The source of its identity.
    pub(super) source: Source,
    /// A stable word for the cause.
    pub(super) reason: &'static str,
    /// The details, for the operator only.
    pub(super) detail: String,
}

impl Refused {
    /// The line of the audit trail.
    pub(super) fn into_entry(self, method: Method, peer: Option<SocketAddr>, request_id: String) -> Entry {
        let Self { status, caller, source, reason, detail } = self;
        Entry { method, caller, source, peer, code: status.code(), reason, detail, request_id, resource: String::new() }
    }
}

/// The sources of identities, and the grants.
#[derive(Debug)]
pub(crate) struct Callers {
    access: Arc<Access>,
    tokens: Arc<Tokens>,
    /// The principal of callers without an identity; `None`: they are refused.
    anonymous: Option<Arc<Principal>>,
}

/// An authorized call.
#[derive(Clone, Debug)]
pub(super) struct Authorized {
    pub(super) principal: Arc<Principal>,
    pub(super) authorization: Authorization,
}

impl Callers {
    /// Creates the callers.
    pub(crate) fn new(access: Arc<Access>, tokens: Arc<Tokens>, anonymous: Option<Arc<Principal>>) -> Self {
        Self { access, tokens, anonymous }
    }

    /// Authorizes a call, before its body is read. Waits only for the verification of a token that is not known yet.
    pub(super) async fn authorize(
        &self,
        method: Method,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Authorized, Refused> {
        let principal = match bearer_token(headers)? {
            // A bad token is refused even on a good certificate: the caller means to be the one that the token names.
            Some(token) => self.token_principal(token).await?,
            None => {
                peer.and_then(|peer| peer.principal.clone()).or_else(|| self.anonymous.clone()).ok_or_else(missing)?
            }
        };
        let authorization = self.authorize_principal(method, &principal)?;
        Ok(Authorized { principal, authorization })
    }

    fn authorize_principal(&self, method: Method, principal: &Principal) -> Result<Authorization, Refused> {
        let caller = self.access.caller(principal);
        check_expiry(&caller)?;
        if principal.is_withdrawn() {
            let detail = "the issuer of the token was removed from the configuration".to_owned();
            return Err(rejected("unknown_issuer", caller.name(), caller.source(), detail));
        }
        caller.authorize(method).map_err(|refusal| Refused {
            caller: caller.name().to_owned(),
            source: caller.source(),
            reason: "permission",
            detail: refusal.to_string(),
            status: Box::new(status::from_refusal(refusal)),
        })
    }

    /// Checks that a call is still authorized as it was; for streams, which outlive changes of grants.
    pub(super) fn check_again(&self, method: Method, authorized: &mut Authorized) -> Result<(), Refused> {
        let now = self.authorize_principal(method, &authorized.principal)?;
        if !now.equals(&authorized.authorization) {
            return Err(Refused {
                status: Box::new(status::grants_changed()),
                caller: now.name().to_owned(),
                source: now.caller().source(),
                reason: "grants_changed",
                detail: "the stream ends, since the grants of its caller changed".to_owned(),
            });
        }
        authorized.authorization = now;
        Ok(())
    }

    async fn token_principal(&self, token: &str) -> Result<Arc<Principal>, Refused> {
        if let Some(known) = self.tokens.remembered(token, Timestamp::now()) {
            return Ok(known);
        }
        self.tokens.verify(token).await.map_err(|error| match error {
            TokenError::Rejected { kind, detail } => rejected(kind, "", Source::Token, detail),
            TokenError::Unavailable { ref issuer } => Refused {
                status: Box::new(status::issuer_unavailable(issuer)),
                caller: String::new(),
                source: Source::Token,
                reason: "issuer_unavailable",
                detail: error.to_string(),
            },
        })
    }
}

fn missing() -> Refused {
    Refused {
        status: Box::new(status::identity_missing()),
        caller: String::new(),
        source: Source::None,
        reason: "missing",
        detail: "no client certificate and no token".to_owned(),
    }
}

/// Returns the token of a request. A request has one at most: a proxy and a server could each believe another one.
fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(rejected("malformed", "", Source::Token, "several headers `authorization`".to_owned()));
    }
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        Some(_) | None => {
            Err(rejected("malformed", "", Source::Token, "the header `authorization` is not `Bearer TOKEN`".to_owned()))
        }
    }
}

/// Refuses a caller whose identity has ended: connections outlive certificates.
fn check_expiry(caller: &Caller) -> Result<(), Refused> {
    match caller.expire_time() {
        Some(end) if Timestamp::now() >= end => {
            Err(rejected("expired", caller.name(), caller.source(), format!("the identity ended at {end}")))
        }
        Some(_) | None => Ok(()),
    }
}

fn rejected(kind: &'static str, caller: &str, source: Source, detail: String) -> Refused {
    let status = Box::new(status::identity_rejected(kind));
    Refused { status, caller: caller.to_owned(), source, reason: kind, detail }
}

/// Returns the authorization that the edge gave to a request.
pub(super) fn authorization(extensions: &Extensions) -> Result<&Authorization, Status> {
    // Absent only if a request reached the method beside the edge.
    extensions.get().ok_or_else(|| status::internal("a call was not authorized"))
}
