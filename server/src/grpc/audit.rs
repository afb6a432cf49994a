//! The audit trail: a line for each write and for each refusal, on the log target `audit`. It has no bodies, headers or tokens.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use scangate_proto::requests::Method;
use tonic::Code;

use super::current_call;
use crate::auth::Source;

/// The interval in which equal refusals share one line.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(10);
/// The most callers whose refusals are counted one by one.
const MAX_REFUSED: usize = 10_000;

/// A line of the trail.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) method: &'static str,
    /// The caller's name; empty if it has none.
    pub(super) caller: &'a str,
    pub(super) source: Source,
    /// The address of the peer; `None` on a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    pub(super) code: Code,
    /// The cause of a refusal that the caller does not see; else empty.
    pub(super) detail: &'a str,
}

/// The audit trail.
#[derive(Debug, Default)]
pub(super) struct AuditTrail {
    refusals: Mutex<HashMap<(String, Code), Refusals>>,
}

#[derive(Debug)]
struct Refusals {
    last_line: Instant,
    /// The refusals since then, which have no line.
    unwritten: u64,
}

impl AuditTrail {
    /// Writes the line of a call that changes something.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        write_line(entry, 0);
    }

    /// Writes the line of a refused call, or counts it: a caller that retries must not fill the log.
    pub(super) fn refusal(&self, entry: &Entry<'_>) {
        if let Some(unwritten) = self.count_refusal(entry, Instant::now()) {
            write_line(entry, unwritten);
        }
    }

    /// Returns the refusals without a line since the last one; `None` if this one gets no line either.
    fn count_refusal(&self, entry: &Entry<'_>, now: Instant) -> Option<u64> {
        let mut refusals = self.refusals.lock();
        if refusals.len() >= MAX_REFUSED {
            refusals.retain(|_, refusals| now.duration_since(refusals.last_line) < REFUSAL_INTERVAL);
        }
        if refusals.len() >= MAX_REFUSED {
            refusals.clear();
        }
        match refusals.get_mut(&(entry.caller.to_owned(), entry.code)) {
            Some(known) if now.duration_since(known.last_line) < REFUSAL_INTERVAL => {
                known.unwritten += 1;
                None
            }
            Some(known) => {
                known.last_line = now;
                Some(std::mem::take(&mut known.unwritten))
            }
            None => {
                refusals.insert((entry.caller.to_owned(), entry.code), Refusals { last_line: now, unwritten: 0 });
                Some(0)
            }
        }
    }
}

/// True if calls of the method are recorded: it changes policies, waivers, scans or their configuration.
pub(super) fn is_audited(method: Method) -> bool {
    match method {
        Method::CreatePolicy
        | Method::UpdatePolicy
        | Method::DeletePolicy
        | Method::RollbackPolicy
        | Method::CreateWaiver
        | Method::UpdateWaiver
        | Method::RevokeWaiver
        | Method::ApproveWaiver
        | Method::ImportWaivers
        | Method::ConfigureScanning
        | Method::StartScan => true,
        // The decision log has the decisions.
        Method::EvaluateGate
        | Method::BatchEvaluateGate
        | Method::SimulateGate
        | Method::GetFindings
        | Method::WatchScan
        | Method::GetPolicy
        | Method::ListPolicies
        | Method::ListPolicyRevisions
        | Method::WatchPolicies
        | Method::PreviewPolicy
        | Method::GetWaiver
        | Method::ListWaivers
        | Method::GetDecision
        | Method::ListDecisions
        | Method::ReplayDecision
        | Method::WatchDecisions => false,
    }
}

fn write_line(entry: &Entry<'_>, unwritten: u64) {
    let Entry { method, caller, source, peer, code, detail } = entry;
    tracing::info!(
        target: "audit",
        method,
        caller,
        source = source.name(),
        peer = peer.map(tracing::field::display),
        target_name = current_call::target(),
        outcome = ?code,
        detail,
        request_id = current_call::request_id(),
        refusals_without_line = unwritten,
        "audit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(caller: &str) -> Entry<'_> {
        Entry { method: "m", caller, source: Source::Token, peer: None, code: Code::PermissionDenied, detail: "" }
    }

    #[test]
    fn equal_refusals_share_one_line() {
        let (trail, start) = (AuditTrail::default(), Instant::now());

        let first = trail.count_refusal(&refusal("a"), start);
        let second = trail.count_refusal(&refusal("a"), start + Duration::from_secs(1));
        let other = trail.count_refusal(&refusal("b"), start + Duration::from_secs(1));
        let later = trail.count_refusal(&refusal("a"), start + REFUSAL_INTERVAL);

        assert_eq!((first, second, other, later), (Some(0), None, Some(0), Some(1)));
    }

    #[test]
    fn many_refused_callers_are_bounded() {
        let (trail, start) = (AuditTrail::default(), Instant::now());

        for caller in 0..=MAX_REFUSED {
            trail.count_refusal(&refusal(&caller.to_string()), start);
        }

        assert!(trail.refusals.lock().len() <= MAX_REFUSED);
    }
}
