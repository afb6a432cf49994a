//! Single flight: concurrent callers of the same key share one call.
//!
//! The call runs in a task of its own, so a cancelled caller does not affect the others. It ends when the call
//! completes, times out or panics; in each case it is removed from the map.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::{Error, Freshness, Source};

/// The calls in flight, by key.
pub(super) struct SingleFlight<K, V> {
    in_flight: Arc<CallMap<K, V>>,
    timeout: Duration,
}

/// Every change is a single call, so the map is consistent after a panic.
type CallMap<K, V> = Mutex<HashMap<K, Call<V>>>;
type Outcome<V> = Option<Result<V, Error>>;

/// A call in flight.
struct Call<V> {
    began: Instant,
    outcome: watch::Receiver<Outcome<V>>,
}

/// The result of entering the single flight.
enum Entry<V> {
    /// The value was ready.
    Ready(V),
    /// The caller started a call.
    Started(watch::Receiver<Outcome<V>>),
    /// Another caller's call is in flight.
    InFlight { began: Instant, outcome: watch::Receiver<Outcome<V>> },
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Creates a single flight that cancels a call after `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { in_flight: Arc::default(), timeout }
    }

    /// Joins the call of `key`, or starts one.
    ///
    /// If the current call started too early for the required freshness, the caller waits for it to end and then starts
    /// or joins the next one. Concurrent callers that require a fresh read therefore cause at most two calls.
    ///
    /// `recheck` runs under the lock before a call starts, and returns the value if an earlier call has cached it
    /// meanwhile. `start` receives the instant at which the call began.
    pub(super) async fn run<F>(
        &self,
        key: &K,
        freshness: Freshness,
        recheck: impl Fn() -> Option<V>,
        start: impl FnOnce(Instant) -> F,
    ) -> Result<V, Error>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let mut start = Some(start);
        loop {
            match self.enter(key, &recheck, &mut start) {
                Entry::Ready(value) => return Ok(value),
                Entry::Started(outcome) => return wait(outcome).await,
                Entry::InFlight { began, outcome } if freshness.admits(began) => return wait(outcome).await,
                Entry::InFlight { mut outcome, .. } => {
                    // Successful or not, its outcome is too old for this caller.
                    let _ = outcome.wait_for(Option::is_some).await;
                }
            }
        }
    }

    fn enter<F>(
        &self,
        key: &K,
        recheck: impl Fn() -> Option<V>,
        start: &mut Option<impl FnOnce(Instant) -> F>,
    ) -> Entry<V>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let mut in_flight = self.in_flight.lock();
        if let Some(call) = in_flight.get(key) {
            return Entry::InFlight { began: call.began, outcome: call.outcome.clone() };
        }
        match (recheck(), start.take()) {
            (None, Some(start)) => Entry::Started(self.spawn(&mut in_flight, key, start)),
            (Some(value), _) => Entry::Ready(value),
            // Unreachable: a caller that has started a call does not enter again.
            (None, None) => Entry::Started(watch::channel(None).1),
        }
    }

    fn spawn<F>(
        &self,
        in_flight: &mut HashMap<K, Call<V>>,
        key: &K,
        start: impl FnOnce(Instant) -> F,
    ) -> watch::Receiver<Outcome<V>>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let began = Instant::now();
        let (sender, outcome) = watch::channel(None);
        in_flight.insert(key.clone(), Call { began, outcome: outcome.clone() });
        let guard = Guard { in_flight: Arc::clone(&self.in_flight), key: Some(key.clone()), sender };
        let (call, timeout) = (start(began), self.timeout);
        let task = async move {
            let outcome = tokio::time::timeout(timeout, call).await;
            guard.complete(outcome.unwrap_or_else(|_| Err(unavailable("timeout exceeded"))));
        };
        tokio::spawn(task.in_current_span());
        outcome
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").field("in_flight", &self.in_flight.lock().len()).finish_non_exhaustive()
    }
}

/// Removes the call from the map before its outcome is published, so that no caller joins a finished call.
struct Guard<K: Eq + Hash, V> {
    in_flight: Arc<CallMap<K, V>>,
    key: Option<K>,
    sender: watch::Sender<Outcome<V>>,
}

impl<K: Eq + Hash, V> Guard<K, V> {
    fn complete(mut self, outcome: Result<V, Error>) {
        self.remove();
        self.sender.send_replace(Some(outcome));
    }

    fn remove(&mut self) {
        if let Some(key) = self.key.take() {
            self.in_flight.lock().remove(&key);
        }
    }
}

impl<K: Eq + Hash, V> Drop for Guard<K, V> {
    fn drop(&mut self) {
        self.remove();
    }
}

async fn wait<V: Clone>(mut outcome: watch::Receiver<Outcome<V>>) -> Result<V, Error> {
    match outcome.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(unavailable("no outcome"))),
        // The sender was dropped without an outcome: a panic, or the runtime stops.
        Err(_) => Err(unavailable("task aborted")),
    }
}

fn unavailable(why: &'static str) -> Error {
    Error::Unavailable { operation: "a call to ECR", source: Source::new(why) }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::resume_unwind,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Notify;

    use super::*;

    fn single_flight() -> SingleFlight<&'static str, usize> {
        SingleFlight::new(Duration::from_secs(5))
    }

    fn not_ready() -> Option<usize> {
        None
    }

    #[tokio::test]
    async fn panicking_flight_is_error_and_is_removed() {
        let single_flight = single_flight();

        let joined = single_flight
            .run(&"key", Freshness::default(), not_ready, |_| async { resume_unwind(Box::new("lost")) })
            .await;

        assert!(matches!(joined, Err(Error::Unavailable { .. })));
        assert!(single_flight.in_flight.lock().is_empty());
    }

    #[tokio::test]
    async fn flight_ends_after_timeout() {
        let single_flight: SingleFlight<&str, usize> = SingleFlight::new(Duration::from_millis(5));

        let joined = single_flight.run(&"key", Freshness::default(), not_ready, |_| std::future::pending()).await;

        assert!(matches!(joined, Err(Error::Unavailable { .. })));
        assert!(single_flight.in_flight.lock().is_empty());
    }

    #[tokio::test]
    async fn ready_value_starts_no_flight() {
        let joined = single_flight()
            .run(&"key", Freshness::default(), || Some(7), |_| async { Err(unavailable("this must not start")) })
            .await;

        assert_eq!(joined.unwrap(), 7);
    }

    #[tokio::test]
    async fn strict_callers_cost_two_flights_at_most() {
        let single_flight = Arc::new(single_flight());
        let started = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let call = |freshness| {
            let (single_flight, started, gate) = (Arc::clone(&single_flight), Arc::clone(&started), Arc::clone(&gate));
            tokio::spawn(async move {
                let start = move |_| async move {
                    let number = started.fetch_add(1, Ordering::SeqCst) + 1;
                    gate.notified().await;
                    Ok(number)
                };
                single_flight.run(&"key", freshness, not_ready, start).await
            })
        };
        let first = call(Freshness::default());
        while started.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }

        let late: Vec<_> = (0..100).map(|_| call(Freshness::within(Duration::ZERO))).collect();
        gate.notify_one();
        let first = first.await.unwrap().unwrap();
        while started.load(Ordering::SeqCst) == 1 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();

        assert_eq!(first, 1);
        for caller in late {
            assert_eq!(caller.await.unwrap().unwrap(), 2);
        }
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn cancelled_caller_cancels_no_flight() {
        let single_flight = single_flight();
        let gate = Arc::new(Notify::new());
        let ended = Arc::new(Notify::new());
        let start = {
            let (gate, ended) = (Arc::clone(&gate), Arc::clone(&ended));
            move |_| async move {
                gate.notified().await;
                ended.notify_one();
                Ok(1)
            }
        };

        let cancelled = single_flight.run(&"key", Freshness::default(), not_ready, start);
        assert!(tokio::time::timeout(Duration::from_millis(1), cancelled).await.is_err());
        gate.notify_one();

        ended.notified().await;
    }
}
