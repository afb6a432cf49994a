//! The transport: from wire to domain and back. A handler validates, makes one call and converts.

mod convert;
mod deadline;
mod decision_service;
mod encoded_decisions;
mod evaluate_fast_path;
mod field_violations;
mod middleware;
mod page_token;
mod policy_service;
mod scan_gate_service;
mod status;
mod streaming;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

pub(crate) use self::convert::waiver::WaiverLimits;
pub(crate) use self::middleware::{RequestLayer, current_request_id};
pub(crate) use self::{
    decision_service::DecisionService,
    evaluate_fast_path::{FastPath, MAX_REQUEST, MAX_RESPONSE},
    policy_service::PolicyService,
    scan_gate_service::ScanGateService,
};
use crate::{
    decisions::Decisions, evaluation::Evaluator, observations::Observations, policies::Policies, registry::Registry,
};

/// What the services share.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    /// The gate.
    pub(crate) gate: Evaluator,
    /// The registry.
    pub(crate) registry: Arc<dyn Registry>,
    /// The policies.
    pub(crate) policies: Arc<Policies>,
    /// What the gate remembers of findings.
    pub(crate) observations: Arc<dyn Observations>,
    /// What the server asks of waivers.
    pub(crate) waiver_limits: WaiverLimits,
    /// What was decided.
    pub(crate) decisions: Arc<Decisions>,
    /// How old a reading may be where the caller does not say.
    pub(crate) findings_max_age: Duration,
    /// Ends the streams that would go on for ever once the server is to stop.
    pub(crate) stopping: CancellationToken,
}
