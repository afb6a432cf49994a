//! Simulations: an image under one policy alone, stored or a draft. A simulation reads; it starts no scan and records nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use scangate_core::{
    Decision, Verdict, decide,
    decide::Selection,
    decision::ManifestInput,
    image::{ImageReference, Platform},
    name::{Environment, PolicyId},
    policy::{Policy, Revision},
    waiver::WaiverSet,
};

use super::{Error, Evaluator, prepared::outline, scan_wait::WaitBackoff};
use crate::{
    decisions::Evaluation,
    observations::SeenFinding,
    registry::{Freshness, Resolved},
    scan_reader::{read_scans, select_manifests},
};

/// The next step if the policy needs a new scan.
const SCAN_NEEDED: &str = "the policy needs a new scan, and a simulation starts none; EvaluateGate would start one if the policy \
                           were enforced";

/// A request to simulate one policy.
#[derive(Clone, Debug)]
pub struct SimulateRequest {
    /// The image.
    pub image: ImageReference,
    /// The environment, for waivers and first-seen times.
    pub environment: Option<Environment>,
    /// The platforms to evaluate; empty: all.
    pub platforms: Vec<Platform>,
    /// The only policy to apply.
    pub policy: SimulatedPolicy,
    /// The longest wait for a running scan.
    pub wait: Duration,
    /// The maximum age of a registry read.
    pub max_findings_age: Option<Duration>,
    /// The minimum store revision of the policy snapshot.
    pub at_least_as_fresh: Option<u64>,
}

/// The policy of a simulation.
#[derive(Clone, Debug)]
pub enum SimulatedPolicy {
    /// A stored policy.
    Stored(PolicyId),
    /// A draft.
    Draft(Box<Policy>),
}

/// The policy of a simulation and the waivers, as of one store revision.
struct Rules {
    policy: Arc<Revision>,
    waivers: WaiverSet,
    revision: u64,
}

impl Evaluator {
    /// Evaluates an image under one policy, as if it were enforced. Waits for a running scan as long as the request allows, but
    /// never past `deadline`. The result is not recorded, and permits no deployment.
    pub async fn simulate(&self, request: SimulateRequest, deadline: Option<Instant>) -> Result<Evaluation, Error> {
        self.check_environment(request.environment.as_ref())?;
        // Fail before any call to ECR if the policy is unknown or no snapshot is available.
        drop(self.simulated_rules(&request).await?);
        let freshness = Freshness::within(request.max_findings_age.unwrap_or(self.settings.findings_max_age));
        let resolved = self.registry.resolve(&request.image, &request.platforms, freshness).await?;
        let manifests = select_manifests(&resolved, &request.platforms)?;
        let mut inputs = read_scans(&self.registry, &resolved, manifests, freshness).await?;
        let mut backoff = WaitBackoff::new(request.wait, deadline, self.stopping.clone());
        loop {
            let decision = self.simulate_once(&request, &resolved, &mut inputs).await?;
            // Only a running scan is worth the wait: nothing starts the others.
            let is_running = decision.verdict == Verdict::Indeterminate && !wants_scan(&decision);
            let delay = if is_running { backoff.next_delay(decision.retry_after) } else { None };
            let Some(delay) = delay else {
                return Ok(Evaluation {
                    image: resolved.image.clone(),
                    environment: request.environment,
                    decision: explain_needed_scans(decision),
                    inputs: inputs.iter().map(outline).collect(),
                });
            };
            let manifests = inputs.into_iter().map(|input| input.manifest).collect();
            let freshness = backoff.pause(delay).await;
            inputs = read_scans(&self.registry, &resolved, manifests, freshness).await?;
        }
    }

    /// Decides on one snapshot, taken after all reads.
    async fn simulate_once(
        &self,
        request: &SimulateRequest,
        resolved: &Resolved,
        inputs: &mut [ManifestInput],
    ) -> Result<Decision, Error> {
        let (repository, environment) = (resolved.repository(), request.environment.as_ref());
        let now = Timestamp::now();
        for input in inputs.iter_mut().filter(|input| !input.scan.findings().is_empty()) {
            let seen: Vec<SeenFinding> = input.scan.findings().iter().map(SeenFinding::from_finding).collect();
            input.first_seen = Arc::new(self.observations.expected_times(&repository, environment, &seen, now).await?);
        }
        let Rules { policy, waivers, revision } = self.simulated_rules(request).await?;
        let selection = Selection::Only { policy: &policy, waivers: &waivers, revision };
        Ok(decide(&resolved.image, environment, selection, inputs, Timestamp::now()))
    }

    async fn simulated_rules(&self, request: &SimulateRequest) -> Result<Rules, Error> {
        let set = self.policies.snapshot_at_least(request.at_least_as_fresh).await?;
        let policy = match &request.policy {
            SimulatedPolicy::Stored(id) => {
                Arc::clone(set.policies.get(id).ok_or_else(|| Error::PolicyNotFound(id.clone()))?)
            }
            SimulatedPolicy::Draft(policy) => Arc::new(Revision::unsaved((**policy).clone(), set.revision)),
        };
        Ok(Rules { policy, waivers: set.waivers.clone(), revision: set.revision })
    }
}

fn wants_scan(decision: &Decision) -> bool {
    decision.manifests.iter().any(|manifest| manifest.wants_scan)
}

/// Adds the next step for each manifest that needs a new scan. Time alone does not help, so there is no delay for a retry.
fn explain_needed_scans(mut decision: Decision) -> Decision {
    if wants_scan(&decision) {
        for manifest in decision.manifests.iter_mut().filter(|manifest| manifest.wants_scan) {
            manifest.reasons.push(SCAN_NEEDED.to_owned());
        }
        decision.reasons.push(SCAN_NEEDED.to_owned());
        decision.retry_after = None;
    }
    decision
}
