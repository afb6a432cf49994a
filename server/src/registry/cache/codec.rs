//! Encodes and decodes scans. Small ones take an async worker for milliseconds; large ones take a thread for blocking work, a
//! bounded number at a time.

use std::{
    hash::{Hash, Hasher},
    io,
    sync::Arc,
    time::Duration,
};

use scangate_core::scan::Scan;
use tokio::sync::Semaphore;

use super::encoded::{EncodedScan, MAX_JSON_BYTES, damaged};
use crate::registry::{Error, Freshness, single_flight::SingleFlight};

/// The maximum size of findings as JSON that an async worker encodes or decodes, in bytes: about 2,000 findings, a few
/// milliseconds. A thread for blocking work takes larger ones.
const MAX_WORKER_JSON_BYTES: usize = 1024 * 1024;
/// The most large scans that are encoded or decoded at once: each keeps a core busy and its JSON in memory.
const MAX_LARGE_SCANS: usize = 4;

/// The work on scans in cached form.
#[derive(Debug)]
pub(super) struct Codec {
    large: Arc<Semaphore>,
    /// Callers that wait for the same large scan share its decoding, also with one whose first caller is gone.
    decodings: SingleFlight<Identity, Arc<Scan>>,
}

impl Default for Codec {
    fn default() -> Self {
        // Decoding ends by itself, so it needs no timeout.
        Self { large: Arc::new(Semaphore::new(MAX_LARGE_SCANS)), decodings: SingleFlight::new(Duration::MAX) }
    }
}

impl Codec {
    /// Encodes a scan.
    pub(super) async fn encode(&self, scan: &Arc<Scan>) -> Result<EncodedScan, Error> {
        if let Some(encoded) = EncodedScan::new(scan, MAX_WORKER_JSON_BYTES)? {
            return Ok(encoded);
        }
        let scan = Arc::clone(scan);
        let encoded = run_blocking(Arc::clone(&self.large), move || EncodedScan::new(&scan, MAX_JSON_BYTES)).await?;
        encoded.ok_or_else(|| Error::TooComplex("findings that exceed 256 MiB as JSON".to_owned()))
    }

    /// Returns the decoded scan, the one of concurrent readers if there are any; an error if its encoding is damaged.
    pub(super) async fn decode(&self, encoded: &Arc<EncodedScan>) -> Result<Arc<Scan>, Error> {
        if encoded.json_bytes() <= MAX_WORKER_JSON_BYTES {
            return encoded.decode_once().await;
        }
        let start = |_| {
            let encoded = Arc::clone(encoded);
            run_blocking(Arc::clone(&self.large), move || encoded.decode())
        };
        let key = Identity(Arc::clone(encoded));
        self.decodings.run(&key, Freshness::default(), || encoded.decoded(), start).await
    }
}

/// Runs work on a large scan on a thread for blocking work. The work holds its permit: it goes on if its caller gives up.
async fn run_blocking<T: Send + 'static>(
    permits: Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let permit = permits.acquire_owned().await.map_err(|closed| damaged(io::Error::other(closed)))?;
    let working = tokio::task::spawn_blocking(move || {
        let _held = permit;
        work()
    });
    working.await.map_err(|lost| damaged(io::Error::other(lost)))?
}

/// An encoded scan itself: a newer reading of the same image is another one.
#[derive(Clone, Debug)]
struct Identity(Arc<EncodedScan>);

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
