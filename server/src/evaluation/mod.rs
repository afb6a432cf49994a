//! Evaluates an image: resolve, read scans, take a policy snapshot, decide, record. Waits for running scans on request. `retry`
//! handles requests with an idempotency key, and `simulate` evaluates under one policy without a record.

mod admission;
mod attempt;
mod decision_cache;
mod prepared;
mod retry;
mod scan_wait;
mod simulate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    Verdict,
    decision::ManifestInput,
    image::{ImageReference, Platform},
    name::{Environment, PolicyId},
    policy::PolicySet,
};
use tokio_util::sync::CancellationToken;

pub use self::simulate::{SimulateRequest, SimulatedPolicy};
use self::{
    attempt::Attempt,
    decision_cache::{CachedDecision, DecisionCache, Key},
    prepared::PreparedDecision,
};
use crate::{
    decision_log::{AppendRequest, AppendResult, PreparedRecord},
    decisions::{self, Decisions, RecordedDecision},
    idempotency::RequestKey,
    observations::{self, Observations},
    policies::{self, Policies},
    registry::{self, Freshness, Registry, Resolved},
    scan_reader::{self, read_scans, select_manifests},
};

/// A failure to evaluate an image. No decision was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be resolved, or its scan cannot be started.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The manifests cannot be selected, or their scans cannot be read.
    #[error(transparent)]
    Scans(#[from] scan_reader::Error),
    /// No policy snapshot is available that is fresh enough.
    #[error(transparent)]
    Policies(#[from] policies::Error),
    /// The policy to simulate does not exist.
    #[error("policy {0} not found")]
    PolicyNotFound(PolicyId),
    /// The requested environment is not configured.
    #[error("unknown environment {environment}")]
    EnvironmentUnknown {
        /// The requested environment.
        environment: Environment,
        /// The configured environments.
        known: BTreeSet<Environment>,
    },
    /// The observations are unavailable or unreadable.
    #[error(transparent)]
    Observations(#[from] observations::Error),
    /// The decision cannot be recorded, or a repeated request's decision cannot be read.
    #[error(transparent)]
    Decisions(#[from] decisions::Error),
    /// The decision cannot be encoded for the log.
    #[error("the decision cannot be encoded")]
    Encode(#[source] serde_json::Error),
}

/// The settings of an evaluator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The maximum age of a registry read if the request names none.
    pub findings_max_age: Duration,
    /// The time for which the idempotency key of a request is kept.
    pub request_id_window: SignedDuration,
    /// The allowed environments; empty: any.
    pub environments: BTreeSet<Environment>,
}

/// A request to evaluate one image.
#[derive(Clone, Debug)]
pub struct EvaluateRequest {
    /// The image.
    pub image: ImageReference,
    /// The environment to deploy to.
    pub environment: Option<Environment>,
    /// The platforms to evaluate; empty: all.
    pub platforms: Vec<Platform>,
    /// The longest wait for a running scan.
    pub wait: Duration,
    /// The maximum age of a registry read.
    pub max_findings_age: Option<Duration>,
    /// The minimum store revision of the policy snapshot.
    pub at_least_as_fresh: Option<u64>,
    /// The caller's name, recorded with the decision.
    pub caller: String,
    /// Labels of the caller, recorded and returned with the decision.
    pub labels: BTreeMap<String, String>,
    /// The idempotency key: a repeated request gets the same decision while that holds.
    pub request_key: Option<RequestKey>,
}

impl EvaluateRequest {
    /// Returns the request to record a decision on this one.
    fn append(&self, record: Arc<PreparedRecord>, evaluate_time: Timestamp) -> AppendRequest {
        AppendRequest {
            record,
            evaluate_time,
            caller: self.caller.clone(),
            labels: self.labels.clone(),
            request_key: self.request_key.clone(),
            supersedes: None,
        }
    }
}

/// The decision on a request.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The recorded decision.
    pub recorded: RecordedDecision,
    /// True if it was recorded for an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// The EvaluateGate use case.
#[derive(Clone, Debug)]
pub struct Evaluator {
    registry: Arc<dyn Registry>,
    policies: Arc<Policies>,
    observations: Arc<dyn Observations>,
    decisions: Arc<Decisions>,
    cache: Arc<DecisionCache>,
    settings: Settings,
    /// Cancelled at shutdown: no call waits for a scan any longer.
    stopping: CancellationToken,
}

impl Evaluator {
    /// Creates an evaluator with an empty cache. Its calls stop waiting when `stopping` is cancelled.
    pub fn new(
        registry: Arc<dyn Registry>,
        policies: Arc<Policies>,
        observations: Arc<dyn Observations>,
        decisions: Arc<Decisions>,
        settings: Settings,
        stopping: CancellationToken,
    ) -> Self {
        Self { registry, policies, observations, decisions, cache: Arc::new(DecisionCache::new()), settings, stopping }
    }

    /// The maximum age of cached findings for a request without a limit of its own.
    pub(crate) fn findings_max_age(&self) -> Duration {
        self.settings.findings_max_age
    }

    /// The time for which the idempotency key of a request is kept.
    pub(crate) fn request_id_window(&self) -> SignedDuration {
        self.settings.request_id_window
    }

    /// Evaluates one image and returns once the decision is durably recorded. Waits for a running scan as long as the request
    /// allows, but never past `deadline`.
    pub async fn evaluate(&self, request: EvaluateRequest, deadline: Option<Instant>) -> Result<Evaluated, Error> {
        self.check_environment(request.environment.as_ref())?;
        if let Some(key) = request.request_key.clone() {
            // Boxed to keep the future of the common case small.
            return Box::pin(self.evaluate_with_key(request, key, deadline)).await;
        }
        let (PreparedDecision { record, evaluated }, evaluate_time) = self.prepare(&request, deadline).await?;
        // Hold only what the response needs during the append: many calls may wait here.
        let append = request.append(record, evaluate_time);
        let EvaluateRequest { caller, labels, .. } = request;
        match self.decisions.record(append).await? {
            AppendResult::Recorded(id) => {
                let recorded = RecordedDecision { id, evaluated, evaluate_time, caller, labels };
                Ok(Evaluated { recorded, replayed: false })
            }
            AppendResult::Replayed(id) => Ok(Evaluated { recorded: self.decisions.get(&id).await?, replayed: true }),
        }
    }

    /// Returns a cached or new decision, with the time of its evaluation: a valid cached one counts as evaluated now.
    async fn prepare(
        &self,
        request: &EvaluateRequest,
        deadline: Option<Instant>,
    ) -> Result<(PreparedDecision, Timestamp), Error> {
        let freshness = Freshness::within(request.max_findings_age.unwrap_or(self.settings.findings_max_age));
        // Fail before any call to ECR if no snapshot is available.
        drop(self.snapshot(request).await?);
        let resolved = self.registry.resolve(&request.image, &request.platforms, freshness).await?;
        let key = Key::new(&resolved.image, &request.platforms, request.environment.as_ref());
        match self.cached_decision(&key, request, &resolved, freshness).await? {
            Some(cached) => Ok(cached),
            // Boxed to keep the future of the common, cached case small.
            None => Box::pin(self.evaluate_uncached(&key, request, &resolved, freshness, deadline)).await,
        }
    }

    async fn evaluate_uncached(
        &self,
        key: &Key,
        request: &EvaluateRequest,
        resolved: &Resolved,
        freshness: Freshness,
        deadline: Option<Instant>,
    ) -> Result<(PreparedDecision, Timestamp), Error> {
        let manifests = select_manifests(resolved, &request.platforms)?;
        // Read before locking: concurrent callers share one read and its failure.
        let inputs = read_scans(&self.registry, resolved, manifests, freshness).await?;
        // Of concurrent callers with the same key, one evaluates; the others then find its decision in the cache.
        let mut lock = self.cache.lock_key(key).await;
        if let Some(cached) = self.cached_decision(key, request, resolved, freshness).await? {
            return Ok(cached);
        }
        let mut attempt = self.attempt_with_scans(request, resolved, inputs).await?;
        if attempt.decision.verdict == Verdict::Indeterminate {
            // Release the lock: other callers must not queue behind the wait.
            drop(lock.take());
            attempt = self.wait_for_scans(request, resolved, attempt, deadline).await?;
        }
        if attempt.decision.verdict == Verdict::Allow {
            self.record_admission(request, resolved, &attempt).await;
        }
        let Attempt { inputs, decision, .. } = attempt;
        let evaluate_time = decision.evaluate_time;
        let prepared = PreparedDecision::new(request, resolved, &inputs, decision)?;
        self.cache_decision(key, resolved, &inputs, &prepared);
        Ok((prepared, evaluate_time))
    }

    /// Returns a recently confirmed policy snapshot that has at least the requested revision.
    async fn snapshot(&self, request: &EvaluateRequest) -> Result<Arc<PolicySet>, Error> {
        Ok(self.policies.snapshot_at_least(request.at_least_as_fresh).await?)
    }

    /// Returns the cached decision if it is still valid under the current policy snapshot and scans.
    async fn cached_decision(
        &self,
        key: &Key,
        request: &EvaluateRequest,
        resolved: &Resolved,
        freshness: Freshness,
    ) -> Result<Option<(PreparedDecision, Timestamp)>, Error> {
        let Some(cached) = self.cache.get(key) else { return Ok(None) };
        let policies = self.snapshot(request).await?;
        let now = Timestamp::now();
        let repository = resolved.repository();
        let mut reads = cached.prepared.evaluated.evaluation.inputs.iter().zip(&cached.read_times);
        let is_valid = cached.is_valid_at(policies.revision, &resolved.manifests, now)
            && reads.all(|(input, read_time)| {
                self.registry.cached_since(&repository, &input.manifest, freshness) == Some(*read_time)
            });
        Ok(is_valid.then(|| (cached.prepared.clone(), now)))
    }

    /// Caches the decision if it is final: not INDETERMINATE, and no scan was started for it.
    fn cache_decision(&self, key: &Key, resolved: &Resolved, inputs: &[ManifestInput], prepared: &PreparedDecision) {
        let is_final = prepared.evaluated.evaluation.decision.verdict != Verdict::Indeterminate
            && inputs.iter().all(|input| input.start.is_none());
        if is_final {
            let read_times = inputs.iter().map(|input| input.scan.read_time).collect();
            let manifests = resolved.manifests.clone();
            let cached = CachedDecision { manifests, read_times, prepared: prepared.clone() };
            self.cache.insert(key.clone(), Arc::new(cached));
        }
    }

    fn check_environment(&self, environment: Option<&Environment>) -> Result<(), Error> {
        let known = &self.settings.environments;
        match environment {
            Some(environment) if !known.is_empty() && !known.contains(environment) => {
                Err(Error::EnvironmentUnknown { environment: environment.clone(), known: known.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}
