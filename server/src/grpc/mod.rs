//! The transport: from wire to domain and back. A handler validates, makes one call and converts.

mod call;
mod convert;
mod decision;
mod fields;
mod front;
mod page;
mod policy;
mod request;
mod scan_gate;
mod status;
mod stream;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

pub(crate) use self::convert::waiver::Terms as WaiverTerms;
pub(crate) use self::request::{RequestLayer, current_request_id};
pub(crate) use self::{
    decision::DecisionApi,
    front::{Front, MAX_ANSWER, MAX_REQUEST},
    policy::PolicyApi,
    scan_gate::ScanGate,
};
use crate::{decisions::Decisions, gate::Gate, observations::Observations, policies::Policies, registry::Registry};

/// What the services share.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    /// The gate.
    pub(crate) gate: Gate,
    /// The registry.
    pub(crate) registry: Arc<dyn Registry>,
    /// The policies.
    pub(crate) policies: Arc<Policies>,
    /// What the gate remembers of findings.
    pub(crate) observations: Arc<dyn Observations>,
    /// What the server asks of waivers.
    pub(crate) waiver_terms: WaiverTerms,
    /// What was decided.
    pub(crate) decisions: Arc<Decisions>,
    /// How old a reading may be where the caller does not say.
    pub(crate) findings_max_age: Duration,
    /// Ends the streams that would go on for ever once the server is to stop.
    pub(crate) stopping: CancellationToken,
}
