//! Single flight: however many callers want one thing at once, it is fetched once.
//!
//! A flight is a task of its own, so a caller that gives up cancels nothing for the others. It ends by an outcome, by its
//! budget or by a panic, and leaves nothing behind in any case.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::Instrument as _;

use super::{Error, Freshness, Source};

/// What is being fetched now.
pub(super) struct Flights<K, V> {
    airborne: Arc<Airborne<K, V>>,
    budget: Duration,
}

type Airborne<K, V> = Mutex<HashMap<K, Flight<V>>>;
type Outcome<V> = Option<Result<V, Error>>;

struct Flight<V> {
    began: Instant,
    outcome: watch::Receiver<Outcome<V>>,
}

/// How a caller came to a flight.
enum Boarding<V> {
    /// What he wants is there already.
    Landed(V),
    /// He started one.
    Started(watch::Receiver<Outcome<V>>),
    /// There was one.
    Joined { began: Instant, outcome: watch::Receiver<Outcome<V>> },
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Flights that are given up after `budget`.
    pub(super) fn new(budget: Duration) -> Self {
        Self { airborne: Arc::default(), budget }
    }

    /// Joins the flight to `key`, or starts one. A flight that began too early is waited for and not joined, so that
    /// callers who all want a reading of their own instant cost two flights at most.
    ///
    /// `landed` is asked, under the lock, before a flight starts: what an earlier flight has left since the caller looked.
    /// `start` is told when its flight began.
    pub(super) async fn join<F>(
        &self,
        key: &K,
        freshness: Freshness,
        landed: impl Fn() -> Option<V>,
        start: impl FnOnce(Instant) -> F,
    ) -> Result<V, Error>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let mut start = Some(start);
        loop {
            match self.board(key, &landed, &mut start) {
                Boarding::Landed(value) => return Ok(value),
                Boarding::Started(outcome) => return land(outcome).await,
                Boarding::Joined { began, outcome } if freshness.admits(began) => return land(outcome).await,
                Boarding::Joined { mut outcome, .. } => {
                    // Whether it ended well or badly, it says nothing about now.
                    let _ = outcome.wait_for(Option::is_some).await;
                }
            }
        }
    }

    fn board<F>(
        &self,
        key: &K,
        landed: impl Fn() -> Option<V>,
        start: &mut Option<impl FnOnce(Instant) -> F>,
    ) -> Boarding<V>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let mut airborne = lock(&self.airborne);
        if let Some(flight) = airborne.get(key) {
            return Boarding::Joined { began: flight.began, outcome: flight.outcome.clone() };
        }
        match (landed(), start.take()) {
            (None, Some(start)) => Boarding::Started(self.launch(&mut airborne, key, start)),
            (Some(value), _) => Boarding::Landed(value),
            // A caller who has started a flight does not come back.
            (None, None) => Boarding::Started(watch::channel(None).1),
        }
    }

    fn launch<F>(
        &self,
        airborne: &mut HashMap<K, Flight<V>>,
        key: &K,
        start: impl FnOnce(Instant) -> F,
    ) -> watch::Receiver<Outcome<V>>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let began = Instant::now();
        let (sender, outcome) = watch::channel(None);
        airborne.insert(key.clone(), Flight { began, outcome: outcome.clone() });
        let landing = Landing { airborne: Arc::clone(&self.airborne), key: Some(key.clone()), sender };
        let (flying, budget) = (start(began), self.budget);
        let task = async move {
            let outcome = tokio::time::timeout(budget, flying).await;
            landing.land(outcome.unwrap_or_else(|_| Err(lost("it took longer than its budget"))));
        };
        tokio::spawn(task.in_current_span());
        outcome
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("airborne", &lock(&self.airborne).len()).finish_non_exhaustive()
    }
}

/// Takes the flight out of the map before anybody learns of its end, so that nobody finds a flight that is over.
struct Landing<K: Eq + Hash, V> {
    airborne: Arc<Airborne<K, V>>,
    key: Option<K>,
    sender: watch::Sender<Outcome<V>>,
}

impl<K: Eq + Hash, V> Landing<K, V> {
    fn land(mut self, outcome: Result<V, Error>) {
        self.clear();
        self.sender.send_replace(Some(outcome));
    }

    fn clear(&mut self) {
        if let Some(key) = self.key.take() {
            lock(&self.airborne).remove(&key);
        }
    }
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.clear();
    }
}

async fn land<V: Clone>(mut outcome: watch::Receiver<Outcome<V>>) -> Result<V, Error> {
    match outcome.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(lost("it has no outcome"))),
        // The sender went without an outcome: a panic, or the runtime stops.
        Err(_) => Err(lost("it broke off")),
    }
}

fn lost(why: &'static str) -> Error {
    Error::Unavailable { operation: "a shared reading", source: Source::new(why) }
}

/// Every change to the map is one call, so a panic elsewhere leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        panic::resume_unwind,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Notify;

    use super::*;

    fn flights() -> Flights<&'static str, usize> {
        Flights::new(Duration::from_secs(5))
    }

    fn nothing() -> Option<usize> {
        None
    }

    #[tokio::test]
    async fn a_flight_that_panics_is_an_error_and_leaves_nothing_behind() {
        let flights = flights();

        let joined =
            flights.join(&"key", Freshness::default(), nothing, |_| async { resume_unwind(Box::new("lost")) }).await;

        assert!(matches!(joined, Err(Error::Unavailable { .. })));
        assert!(lock(&flights.airborne).is_empty());
    }

    #[tokio::test]
    async fn a_flight_ends_with_its_budget() {
        let flights: Flights<&str, usize> = Flights::new(Duration::from_millis(5));

        let joined = flights.join(&"key", Freshness::default(), nothing, |_| std::future::pending()).await;

        assert!(matches!(joined, Err(Error::Unavailable { .. })));
        assert!(lock(&flights.airborne).is_empty());
    }

    #[tokio::test]
    async fn what_landed_meanwhile_starts_no_flight() {
        let joined = flights()
            .join(&"key", Freshness::default(), || Some(7), |_| async { Err(lost("this must not start")) })
            .await;

        assert_eq!(joined.unwrap(), 7);
    }

    #[tokio::test]
    async fn callers_who_want_a_reading_of_now_cost_two_flights_at_most() {
        let flights = Arc::new(flights());
        let started = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let call = |freshness| {
            let (flights, started, gate) = (Arc::clone(&flights), Arc::clone(&started), Arc::clone(&gate));
            tokio::spawn(async move {
                let start = move |_| async move {
                    let number = started.fetch_add(1, Ordering::SeqCst) + 1;
                    gate.notified().await;
                    Ok(number)
                };
                flights.join(&"key", freshness, nothing, start).await
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
    async fn a_caller_that_gives_up_cancels_nothing() {
        let flights = flights();
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

        let given_up = flights.join(&"key", Freshness::default(), nothing, start);
        assert!(tokio::time::timeout(Duration::from_millis(1), given_up).await.is_err());
        gate.notify_one();

        ended.notified().await;
    }
}
