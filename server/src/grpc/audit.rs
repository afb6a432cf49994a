//! The audit trail: a line for each write and for each refusal, on the log target `audit`. It has no bodies, headers or tokens.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use scangate_proto::requests::Method;
use tonic::Code;

use super::current_call::{self, Effect};
use crate::auth::Source;

/// The interval in which equal refusals share one line.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(10);
/// The most kinds of refusals that are counted one by one.
const MAX_KINDS: usize = 10_000;

/// A line of the trail.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) method: Method,
    /// The caller's name; empty if it has none.
    pub(super) caller: String,
    pub(super) source: Source,
    /// The address of the peer; `None` on a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    pub(super) code: Code,
    /// A stable word for the cause of a refusal; else empty.
    pub(super) reason: &'static str,
    /// The cause of a refusal that the caller does not see; else empty.
    pub(super) detail: String,
    pub(super) request_id: String,
    /// The resource that the call writes to; empty if it has named none.
    pub(super) resource: String,
}

/// The audit trail.
#[derive(Debug, Default)]
pub(super) struct AuditTrail {
    refusals: Mutex<HashMap<Kind, Counted>>,
}

/// A kind of refusals that share a line: of one caller or, without a name, of one address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    caller: String,
    address: Option<IpAddr>,
    method: Method,
    code: Code,
    reason: &'static str,
}

#[derive(Debug)]
struct Counted {
    last_line: Instant,
    /// The refusals since then, which have no line.
    unwritten: u64,
    entry: Entry,
}

impl AuditTrail {
    /// Writes the line of a refused call, or counts it: a caller that retries must not fill the log.
    pub(super) fn refusal(&self, entry: Entry) {
        for (entry, unwritten) in self.due_lines(entry, Instant::now()) {
            write_line(&entry, None, unwritten);
        }
    }

    /// Returns the lines to write: that of this refusal, if it has one, and those of earlier ones that were only counted. Each
    /// has the number of equal refusals without a line.
    fn due_lines(&self, entry: Entry, now: Instant) -> Vec<(Entry, u64)> {
        let is_recent = |counted: &Counted| now.duration_since(counted.last_line) < REFUSAL_INTERVAL;
        let address = if entry.caller.is_empty() { entry.peer.map(|peer| peer.ip()) } else { None };
        let Entry { ref caller, method, code, reason, .. } = entry;
        let kind = Kind { caller: caller.clone(), address, method, code, reason };
        let mut refusals = self.refusals.lock();
        if let Some(known) = refusals.get_mut(&kind).filter(|known| is_recent(known)) {
            known.unwritten = known.unwritten.saturating_add(1);
            return Vec::new();
        }
        let mut lines = vec![(entry.clone(), refusals.remove(&kind).map_or(0, |known| known.unwritten))];
        let is_full = refusals.len() >= MAX_KINDS;
        let ended = refusals.extract_if(|_, counted| is_full || !is_recent(counted));
        lines.extend(
            ended.filter(|(_, counted)| counted.unwritten > 0).map(|(_, ended)| (ended.entry, ended.unwritten)),
        );
        refusals.insert(kind, Counted { last_line: now, unwritten: 0, entry });
        lines
    }
}

/// The line of a call that changes something. It is written even if the caller cancels the call: the change may happen all the same.
#[derive(Debug)]
pub(super) struct PendingLine(Option<Entry>);

impl PendingLine {
    /// The line of a call that begins.
    pub(super) fn new(entry: Entry) -> Self {
        Self(Some(Entry { code: Code::Cancelled, ..entry }))
    }

    /// Writes the line of a call that has ended. That of a refused call is returned: it may share a line with others.
    pub(super) fn finish(mut self, code: Code) -> Option<Entry> {
        if let Some(entry) = &mut self.0 {
            entry.code = code;
        }
        if code == Code::PermissionDenied { self.0.take() } else { None }
    }
}

impl Drop for PendingLine {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            write_line(&Entry { resource: current_call::target(), ..entry }, current_call::effect(), 0);
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

fn write_line(entry: &Entry, effect: Option<Effect>, unwritten: u64) {
    let Entry { method, caller, source, peer, code, reason, detail, request_id, resource } = entry;
    tracing::info!(
        target: "audit",
        method = method.full_name(),
        caller,
        source = source.name(),
        peer = peer.map(tracing::field::display),
        resource,
        outcome = ?code,
        effect = effect.map(tracing::field::debug),
        reason,
        detail,
        request_id,
        refusals_without_line = unwritten,
        "audit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(caller: &str, reason: &'static str) -> Entry {
        Entry {
            method: Method::EvaluateGate,
            caller: caller.to_owned(),
            source: Source::Token,
            peer: Some(([127, 0, 0, 1], 7).into()),
            code: Code::Unauthenticated,
            reason,
            detail: String::new(),
            request_id: String::new(),
            resource: String::new(),
        }
    }

    /// The numbers of refusals without a line, of the lines that are due.
    fn due(trail: &AuditTrail, entry: Entry, now: Instant) -> Vec<u64> {
        trail.due_lines(entry, now).into_iter().map(|(_, unwritten)| unwritten).collect()
    }

    #[test]
    fn equal_refusals_share_one_line() {
        let (trail, start) = (AuditTrail::default(), Instant::now());
        let soon = start + Duration::from_secs(1);

        assert_eq!(due(&trail, refusal("a", "expired"), start), [0]);
        assert!(due(&trail, refusal("a", "expired"), soon).is_empty());
        assert_eq!(due(&trail, refusal("a", "audience"), soon), [0]);
        assert_eq!(due(&trail, refusal("b", "expired"), soon), [0]);
        assert_eq!(due(&trail, refusal("a", "expired"), start + REFUSAL_INTERVAL), [1]);
    }

    #[test]
    fn nameless_callers_do_not_hide_each_other() {
        let (trail, start) = (AuditTrail::default(), Instant::now());
        let other = Entry { peer: Some(([127, 0, 0, 2], 7).into()), ..refusal("", "expired") };

        assert_eq!(due(&trail, refusal("", "expired"), start), [0]);
        assert_eq!(due(&trail, other, start), [0]);
    }

    #[test]
    fn counted_refusals_get_a_line_in_the_end() {
        let (trail, start) = (AuditTrail::default(), Instant::now());
        for _ in 0..3 {
            trail.due_lines(refusal("a", "expired"), start);
        }

        let lines = trail.due_lines(refusal("b", "expired"), start + REFUSAL_INTERVAL);

        let lines: Vec<(&str, u64)> = lines.iter().map(|(entry, unwritten)| (&*entry.caller, *unwritten)).collect();
        assert_eq!(lines, [("b", 0), ("a", 2)]);
    }

    #[test]
    fn many_refused_callers_are_bounded() {
        let (trail, start) = (AuditTrail::default(), Instant::now());

        for caller in 0..=MAX_KINDS {
            trail.due_lines(refusal(&caller.to_string(), "expired"), start);
        }

        assert!(trail.refusals.lock().len() <= MAX_KINDS);
    }
}
