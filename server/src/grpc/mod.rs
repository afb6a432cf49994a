//! The transport: from wire to domain and back. A handler validates, makes one call and converts.

mod call;
mod convert;
mod decision;
mod fields;
mod page;
mod policy;
mod request;
mod scan_gate;
mod status;

use std::{sync::Arc, time::Duration};

pub(crate) use self::request::{RequestLayer, current_request_id};
pub(crate) use self::{decision::DecisionApi, policy::PolicyApi, scan_gate::ScanGate};
use crate::{decisions::Decisions, gate::Gate, policies::Policies, registry::Registry};

/// What the services share.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    /// The gate.
    pub(crate) gate: Gate,
    /// The registry.
    pub(crate) registry: Arc<dyn Registry>,
    /// The policies.
    pub(crate) policies: Arc<Policies>,
    /// What was decided.
    pub(crate) decisions: Arc<Decisions>,
    /// How old a reading may be where the caller does not say.
    pub(crate) findings_max_age: Duration,
}
