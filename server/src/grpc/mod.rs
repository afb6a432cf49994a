//! The gRPC layer: converts between wire and domain. A handler validates, makes one call and converts.

mod audit;
mod byte_budget;
mod callers;
mod compression;
mod convert;
mod current_call;
mod deadline;
mod decision_service;
mod encoded_decisions;
mod evaluate_fast_path;
mod field_violations;
mod guarded_body;
mod health_service;
mod http_rules;
mod message_frame;
mod middleware;
mod page_token;
mod policy_service;
mod request_body;
mod resume_token;
mod scan_gate_service;
mod scopes;
mod status;
mod streaming;
mod update_mask;
pub mod wire_check;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub(crate) use self::convert::waiver::WaiverLimits;
pub(crate) use self::{
    callers::Callers,
    decision_service::DecisionService,
    evaluate_fast_path::{FastPath, MAX_ENCODED_BYTES},
    health_service::HealthService,
    middleware::Edge,
    policy_service::PolicyService,
    request_body::MAX_REQUEST_BYTES,
    scan_gate_service::ScanGateService,
};
use crate::{
    decisions::Decisions, evaluation::Evaluator, observations::Observations, policies::Policies, registry::Registry,
};

/// The use cases and ports that the services share.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    /// The evaluator behind EvaluateGate.
    pub(crate) gate: Evaluator,
    /// The registry.
    pub(crate) registry: Arc<dyn Registry>,
    /// The policies and waivers.
    pub(crate) policies: Arc<Policies>,
    /// First-seen times of findings.
    pub(crate) observations: Arc<dyn Observations>,
    /// Server-wide limits of waivers.
    pub(crate) waiver_limits: WaiverLimits,
    /// Recorded decisions.
    pub(crate) decisions: Arc<Decisions>,
    /// Cancelled at shutdown: it ends the streams that have no end of their own.
    pub(crate) stopping: CancellationToken,
}
