//! Tokens: JSON Web Tokens (JWT) of the configured issuers, verified and remembered.
//!
//! [`Tokens::remembered`] answers for a token that was verified before, at the cost of a hash. Otherwise [`Tokens::verify`] takes
//! the keys of the token's issuer, which may wait for a fetch, and verifies signature and claims. Only the configured issuers
//! count: a token cannot name the place of its own key.

mod claims;
mod fetch;
mod issuer_keys;
mod key_set;
mod ring_provider;
mod settings;
mod verification;

use std::sync::{Arc, atomic::Ordering};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

pub use self::settings::{
    Algorithm, InvalidIssuer, Issuer, Issuers, Keys, MAX_AUDIENCES, MAX_ISSUERS, MAX_NAME_LENGTH,
};
use self::{issuer_keys::IssuerKeys, verification::Unverified};
use super::Principal;

/// The most remembered tokens.
const MAX_REMEMBERED: u64 = 10_000;
/// The time for which a verified token is remembered. A key that its issuer withdraws counts for so much longer.
const REMEMBERED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// A token that names no caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is refused. Another attempt with the same token is refused too.
    #[error("token refused ({kind}): {detail}")]
    Rejected {
        /// The kind, a stable word in snake case for callers: `too_large`, `malformed`, `algorithm`, `unknown_issuer`,
        /// `unknown_key`, `signature`, `claims`, `audience`, `expired` or `not_yet_valid`.
        kind: &'static str,
        /// The reason for the log. It has no part of the token.
        detail: String,
    },
    /// The keys of the issuer are out of reach, so the token can be neither accepted nor refused. A later attempt may succeed.
    #[error("keys of issuer {issuer} unavailable; retry later, and check its URL and the server's network")]
    Unavailable {
        /// The name of the issuer.
        issuer: String,
    },
}

fn rejected(kind: &'static str, detail: String) -> TokenError {
    TokenError::Rejected { kind, detail }
}

/// The issuers in force with their keys, and the tokens that were verified lately.
#[derive(Debug)]
pub struct Tokens {
    issuers: ArcSwap<Vec<Arc<IssuerKeys>>>,
    /// Verified tokens by their SHA-256, so that no token stays in memory.
    remembered: Cache<[u8; 32], Remembered>,
}

#[derive(Clone, Debug)]
struct Remembered {
    principal: Arc<Principal>,
    until: Timestamp,
}

/// Checks the files of issuers: keys, and certificate authorities. Returns the first problem, with the name of its issuer.
pub fn check_files(issuers: &Issuers) -> Result<(), String> {
    ring_provider::install();
    issuers
        .iter()
        .try_for_each(|issuer| fetch::check_files(issuer).map_err(|error| format!("issuer {}: {error}", issuer.name)))
}

impl Tokens {
    /// Starts to fetch the keys of the issuers. An unreachable issuer delays nothing; its tokens are `Unavailable` until it answers.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn start(issuers: Issuers) -> Arc<Self> {
        ring_provider::install();
        Arc::new(Self {
            issuers: ArcSwap::from_pointee(issuers.into_iter().map(IssuerKeys::start).collect()),
            remembered: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED_FOR.unsigned_abs())
                .build(),
        })
    }

    /// Replaces the issuers. Unchanged ones keep their keys; remembered tokens of the others no longer count.
    pub fn replace(&self, issuers: Issuers) {
        let current = self.issuers.load();
        let keep_or_start = |issuer: Issuer| {
            let unchanged = current.iter().find(|known| known.issuer == issuer);
            unchanged.map_or_else(|| IssuerKeys::start(issuer.clone()), Arc::clone)
        };
        let next: Vec<Arc<IssuerKeys>> = issuers.into_iter().map(keep_or_start).collect();
        let removed = current.iter().filter(|known| !next.iter().any(|kept| Arc::ptr_eq(kept, known)));
        removed.for_each(|issuer| issuer.withdrawn.store(true, Ordering::Relaxed));
        drop(current);
        self.issuers.store(Arc::new(next));
    }

    /// Reads all keys again, those in files and those of the network. A failure keeps the earlier ones, and is logged.
    pub async fn reload(&self) {
        let start = |issuer: &Arc<IssuerKeys>| {
            let issuer = Arc::clone(issuer);
            tokio::spawn(async move { issuer.reload().await })
        };
        let reloads: Vec<_> = self.issuers.load_full().iter().map(start).collect();
        for reload in reloads {
            // A panic would be a defect of one issuer's reload; the others are still waited for.
            let _ = reload.await;
        }
    }

    /// Returns the principal of a token that was verified in the last 5 minutes, and whose issuer is still in force.
    pub fn remembered(&self, token: &str, now: Timestamp) -> Option<Arc<Principal>> {
        let known = self.remembered.get(&digest(token)).filter(|known| now < known.until)?;
        Some(known.principal).filter(|principal| !principal.is_withdrawn())
    }

    /// Verifies a token and remembers it. May wait for the keys of its issuer, for 6 seconds at most.
    pub async fn verify(&self, token: &str) -> Result<Arc<Principal>, TokenError> {
        let unverified = Unverified::parse(token)?;
        let issuers = self.issuers.load_full();
        let issuer = issuers.iter().find(|known| known.issuer.issuer == unverified.issuer).ok_or_else(|| {
            rejected("unknown_issuer", "the token's iss is none of the configured issuers".to_owned())
        })?;
        let keys = issuer.with_key(&unverified.key_id).await?;
        let claims = unverified.verify(token, &issuer.issuer, &keys)?;
        let identity = claims.identity(&issuer.issuer.name)?;
        let end = Timestamp::now().saturating_add(REMEMBERED_FOR).unwrap_or(Timestamp::MIN);
        let until = identity.expire_time.map_or(Timestamp::MIN, |expire_time| expire_time.min(end));
        let principal = Principal::until_withdrawn(identity, Arc::clone(&issuer.withdrawn));
        self.remembered.insert(digest(token), Remembered { principal: Arc::clone(&principal), until });
        Ok(principal)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
