//! The call that a task serves: its request id, and the name of what it is about.

use std::sync::OnceLock;

use tracing::Instrument as _;

tokio::task_local! {
    static CURRENT: CurrentCall;
}

/// A call.
#[derive(Debug, Default)]
pub(super) struct CurrentCall {
    id: String,
    target: OnceLock<String>,
    effect: OnceLock<Effect>,
}

/// The effect of a call that looks like a write and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The call only checks the request.
    DryRun,
    /// The call returns the recorded answer to an earlier one.
    Replay,
}

/// Returns the id of the request that this task serves; empty outside of a request.
pub(crate) fn request_id() -> String {
    CURRENT.try_with(|call| call.id.clone()).unwrap_or_default()
}

/// Names the resource that the call writes to, for its audit line.
pub(super) fn set_target(name: impl Into<String>) {
    // A second name, or one outside of a call, has no line to be on.
    CURRENT.try_with(|call| call.target.set(name.into()).ok()).ok();
}

/// Returns the resource that the call writes to; empty if it has named none.
pub(super) fn target() -> String {
    CURRENT.try_with(|call| call.target.get().cloned()).ok().flatten().unwrap_or_default()
}

/// States that the call changes nothing, for its audit line.
pub(super) fn set_effect(effect: Effect) {
    CURRENT.try_with(|call| call.effect.set(effect).ok()).ok();
}

/// Returns the effect that the call has stated.
pub(super) fn effect() -> Option<Effect> {
    CURRENT.try_with(|call| call.effect.get().copied()).ok().flatten()
}

/// Runs a call, or a part of it on another task, under the request's id and in its span.
pub(super) fn with_request_id<F: Future>(id: String, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(CurrentCall { id, ..CurrentCall::default() }, work.in_current_span())
}
