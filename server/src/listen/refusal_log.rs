//! The audit lines of refused client certificates. They share a rate, since a client tries again and again.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_rustls::rustls;

/// The shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// The log of refused certificates.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_line: Option<Instant>,
    /// The refusals since then, which have no line.
    unwritten: u64,
}

impl RefusalLog {
    /// Writes a line, or counts the refusal.
    pub(super) fn refused(&self, peer: Option<SocketAddr>, reason: &str) {
        if let Some(unwritten) = self.count(Instant::now()) {
            tracing::info!(
                target: "audit",
                source = "certificate",
                peer = peer.map(tracing::field::display),
                outcome = "Unauthenticated",
                reason,
                refusals_without_line = unwritten,
                "client certificate refused"
            );
        }
    }

    /// Returns the refusals without a line since the last one; `None` if this one gets no line either.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        if state.last_line.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            state.unwritten = state.unwritten.saturating_add(1);
            return None;
        }
        state.last_line = Some(now);
        Some(std::mem::take(&mut state.unwritten))
    }
}

/// Returns the reason of a handshake that failed for the client's certificate; `None` for other failures.
pub(super) fn certificate_error(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref()?;
    let is_certificate =
        matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidCertRevocationList(_));
    is_certificate.then(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_share_a_rate() {
        let (log, start) = (RefusalLog::default(), Instant::now());

        let lines = [0, 10, 20, 1500].map(|millis| log.count(start + Duration::from_millis(millis)));

        assert_eq!(lines, [Some(0), None, None, Some(2)]);
    }
}
