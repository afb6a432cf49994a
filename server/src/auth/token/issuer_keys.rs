//! The keys of one issuer in force, and their refresh: at start, in intervals, and for an unknown key id.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep},
};

use super::{
    TokenError, fetch,
    key_set::KeySet,
    rejected,
    settings::{Issuer, Keys},
};

/// The least time between two fetches, so that tokens with invented key ids do not flood the issuer.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);
/// The interval of fetches over the network.
const FETCH_INTERVAL: Duration = Duration::from_hours(1);
/// The pause after a failed fetch over the network.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);
/// The interval in which a file is read.
const FILE_INTERVAL: Duration = MIN_FETCH_INTERVAL;
/// The time for which the last good set serves while the issuer is unreachable.
const MAX_AGE: Duration = Duration::from_hours(24);

/// The most callers that wait for a fetch. Tokens with invented key ids cannot keep more calls busy while an issuer is slow.
const MAX_WAITING: usize = 256;

/// An issuer with its keys.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    pub(super) issuer: Issuer,
    /// True once the configuration no longer has the issuer: its principals no longer count.
    pub(super) withdrawn: Arc<AtomicBool>,
    keys: ArcSwapOption<Fetched>,
    /// The latest fetch. Its lock makes the fetches of all callers one flight.
    latest: Mutex<Option<Fetch>>,
    waiting: Semaphore,
}

#[derive(Debug)]
struct Fetched {
    keys: Arc<KeySet>,
    at: Instant,
}

#[derive(Debug)]
struct Fetch {
    at: Instant,
    error: Option<String>,
}

impl IssuerKeys {
    /// Starts to fetch the keys, until the last reference is gone.
    pub(super) fn start(issuer: Issuer) -> Arc<Self> {
        let keys = Arc::new(Self {
            issuer,
            withdrawn: Arc::default(),
            keys: ArcSwapOption::empty(),
            latest: Mutex::new(None),
            waiting: Semaphore::new(MAX_WAITING),
        });
        let weak = Arc::downgrade(&keys);
        tokio::spawn(async move {
            while let Some(keys) = weak.upgrade() {
                let is_fetched = keys.fetch(MIN_FETCH_INTERVAL).await;
                let pause = match keys.issuer.keys {
                    Keys::File(_) => FILE_INTERVAL,
                    Keys::Discover | Keys::Url(_) if is_fetched => FETCH_INTERVAL,
                    Keys::Discover | Keys::Url(_) => RETRY_INTERVAL,
                };
                drop(keys);
                sleep(pause).await;
            }
        });
        keys
    }

    /// Returns a set that has the key id. An unknown id causes a fetch, if the latest one is old enough.
    pub(super) async fn with_key(self: &Arc<Self>, key_id: &str) -> Result<Arc<KeySet>, TokenError> {
        if let Some(keys) = self.known(key_id) {
            return Ok(keys);
        }
        let unavailable = || TokenError::Unavailable { issuer: self.issuer.name.clone() };
        let _place = self.waiting.try_acquire().map_err(|_| unavailable())?;
        let issuer = Arc::clone(self);
        // In a task of its own: a caller that gives up does not end the flight of the others.
        let fetch = tokio::spawn(async move { issuer.fetch(MIN_FETCH_INTERVAL).await }).await;
        match (self.known(key_id), fetch) {
            (Some(keys), _) => Ok(keys),
            (None, Ok(true)) => {
                Err(rejected("unknown_key", format!("issuer {} has no key with the token's kid", self.issuer.name)))
            }
            (None, Ok(false) | Err(_)) => Err(unavailable()),
        }
    }

    /// Fetches the keys now.
    pub(super) async fn reload(&self) {
        self.fetch(Duration::ZERO).await;
    }

    fn known(&self, key_id: &str) -> Option<Arc<KeySet>> {
        let fetched = self.keys.load();
        let fetched = fetched.as_ref().filter(|fetched| fetched.at.elapsed() < MAX_AGE)?;
        fetched.keys.get(key_id).map(|_| Arc::clone(&fetched.keys))
    }

    /// Fetches the keys, unless the latest fetch is younger than `min_age`. Returns true if the latest fetch succeeded.
    async fn fetch(&self, min_age: Duration) -> bool {
        let mut latest = self.latest.lock().await;
        if let Some(fetch) = latest.as_ref().filter(|fetch| fetch.at.elapsed() < min_age) {
            return fetch.error.is_none();
        }
        let result = fetch::keys(&self.issuer).await;
        let at = Instant::now();
        let issuer = self.issuer.name.as_str();
        let error = match result {
            Ok(keys) => {
                if latest.as_ref().is_none_or(|fetch| fetch.error.is_some()) {
                    tracing::info!(issuer, "keys of the token issuer read");
                }
                self.keys.store(Some(Arc::new(Fetched { keys: Arc::new(keys), at })));
                None
            }
            Err(error) => {
                let error = error.to_string();
                // A file is read every few seconds: the same error is logged once.
                if latest.as_ref().is_none_or(|fetch| fetch.error.as_ref() != Some(&error)) {
                    tracing::error!(
                        issuer,
                        error,
                        "keys of the token issuer not read; the earlier ones serve for 24 h"
                    );
                }
                Some(error)
            }
        };
        let is_fetched = error.is_none();
        *latest = Some(Fetch { at, error });
        is_fetched
    }
}
