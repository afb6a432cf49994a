//! The gate: may this image be deployed? Snapshot, resolve, scans, decide, answer; and wait where the caller asks for it.

mod admission;
mod decision_cache;
mod scan_wait;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use scangate_core::{
    Decision, Verdict, decide,
    decide::Selection,
    decision::{ManifestInput, Start},
    image::{Digest, ImageReference, Platform},
    name::{Environment, PolicyId},
    policy::PolicySet,
};

use self::{
    decision_cache::{CachedDecision, DecisionCache, Key},
    scan_wait::{FIRST_PAUSE, WaitBackoff},
};
use crate::{
    decision_log::{AppendRequest, AppendResult, PreparedRecord},
    decisions::{self, Decisions, EvaluatedDecision, RecordedDecision},
    idempotency::RequestKey,
    observations::{Observations, SeenFinding},
    policies::Policies,
    registry::{Freshness, Registry, Resolved, Started},
    scan_reader::{Error, read_scans, select_manifests},
};

/// What the gate is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How old a reading of ECR may be where the caller does not say.
    pub findings_max_age: Duration,
    /// The environments that there are; empty: any.
    pub environments: BTreeSet<Environment>,
}

/// One question.
#[derive(Clone, Debug)]
pub struct EvaluateRequest {
    /// The image.
    pub image: ImageReference,
    /// Where it will run.
    pub environment: Option<Environment>,
    /// Only these platforms; empty: all.
    pub platforms: Vec<Platform>,
    /// Exactly this policy, for advice.
    pub policy: Option<PolicyId>,
    /// How long to wait for a running scan.
    pub wait: Duration,
    /// How old a reading may be.
    pub max_findings_age: Option<Duration>,
    /// The store's revision that the decision must have seen.
    pub at_least_as_fresh: Option<u64>,
    /// The caller's context, handed back with the answer.
    pub labels: BTreeMap<String, String>,
    /// The caller's request: sent again, it gets the same decision.
    pub request: Option<RequestKey>,
}

/// A judgement, ready to be recorded as often as it is given.
#[derive(Clone, Debug)]
struct PreparedDecision {
    case: Arc<PreparedRecord>,
    judgement: Arc<EvaluatedDecision>,
}

/// The gate.
#[derive(Clone, Debug)]
pub struct Evaluator {
    registry: Arc<dyn Registry>,
    policies: Arc<Policies>,
    observations: Arc<dyn Observations>,
    decisions: Arc<Decisions>,
    cache: Arc<DecisionCache>,
    settings: Settings,
}

impl Evaluator {
    /// A gate over a registry and the policies, which remembers what it met and records what it decides.
    pub fn new(
        registry: Arc<dyn Registry>,
        policies: Arc<Policies>,
        observations: Arc<dyn Observations>,
        decisions: Arc<Decisions>,
        settings: Settings,
    ) -> Self {
        Self { registry, policies, observations, decisions, cache: Arc::new(DecisionCache::new()), settings }
    }

    /// Decides on one image, and answers once the decision is recorded. A scan that runs is waited for as long as the question
    /// allows, never past `deadline`.
    pub async fn evaluate(
        &self,
        question: EvaluateRequest,
        deadline: Option<Instant>,
    ) -> Result<RecordedDecision, Error> {
        self.check_environment(&question)?;
        if let Some(request) = &question.request
            && let Some(answer) = self.decisions.answered(request).await?
        {
            return Ok(answer);
        }
        let (PreparedDecision { case, judgement }, evaluated_at) = self.ready(&question, deadline).await?;
        // While it is recorded, nothing is held but what the answer takes: there may be many who wait.
        let EvaluateRequest { labels, request, .. } = question;
        let record = AppendRequest { case, evaluated_at, labels: labels.clone(), request };
        match self.decisions.record(record).await? {
            AppendResult::Recorded(id) => Ok(RecordedDecision { id, judgement, evaluated_at, labels }),
            // Somebody has sent the same request at the same time.
            AppendResult::Replayed(id) => Ok(self.decisions.get(&id).await?),
        }
    }

    /// What is decided now, ready to be recorded, and when.
    async fn ready(
        &self,
        question: &EvaluateRequest,
        deadline: Option<Instant>,
    ) -> Result<(PreparedDecision, Timestamp), Error> {
        let freshness = Freshness::within(question.max_findings_age.unwrap_or(self.settings.findings_max_age));
        // Before anything is asked of ECR: a question that cannot be answered costs nothing.
        drop(self.policies(question).await?);
        let resolved = self.registry.resolve(&question.image, freshness).await?;
        let key = key(question, &resolved);
        match self.remembered(&key, question, &resolved, freshness).await? {
            Some(remembered) => Ok(remembered),
            // Boxed, so that the many calls that need none of it are not as large as it is.
            None => Box::pin(self.judge(&key, question, &resolved, freshness, deadline)).await,
        }
    }

    /// Reads what there is to read and decides.
    async fn judge(
        &self,
        key: &Key,
        question: &EvaluateRequest,
        resolved: &Resolved,
        freshness: Freshness,
        deadline: Option<Instant>,
    ) -> Result<(PreparedDecision, Timestamp), Error> {
        let chosen = select_manifests(resolved, &question.platforms)?;
        let whole = chosen.len() == resolved.manifests.len();
        // Read before the turn: all who ask share one reading, and its failure.
        let examined = read_scans(&self.registry, resolved, chosen, freshness).await?;
        // Of many who ask the same at once, one decides and the others have it from him.
        let mut turn = self.cache.turn(key).await;
        if let Some(remembered) = self.remembered(key, question, resolved, freshness).await? {
            return Ok(remembered);
        }
        let environment = question.environment.as_ref();
        let mut examined = self.observe(resolved, environment, examined).await?;
        let mut decision = self.decide(question, resolved, &examined).await?;
        if self.start_wanted_scans(resolved, &mut examined, &decision).await? {
            decision = self.decide(question, resolved, &examined).await?;
        }

        let mut patience = WaitBackoff::new(question.wait, deadline);
        while decision.verdict == Verdict::Indeterminate {
            // Who waits lets the others go on, and holds no findings.
            drop(turn.take());
            let Some(pause) = patience.next_pause(decision.retry_after) else { break };
            drop(decision);
            let (manifests, starts): (Vec<_>, Vec<_>) =
                examined.into_iter().map(|examined| (examined.manifest, examined.start)).unzip();
            tokio::time::sleep(pause).await;
            examined = read_scans(&self.registry, resolved, manifests, Freshness::within(FIRST_PAUSE)).await?;
            examined = self.observe(resolved, environment, examined).await?;
            for (examined, start) in examined.iter_mut().zip(starts) {
                examined.start = start;
            }
            decision = self.decide(question, resolved, &examined).await?;
        }
        if decision.verdict == Verdict::Allow && decision.authoritative {
            self.admit(question, resolved, &examined, &decision).await;
        }
        let deploy = deployable(&decision, resolved, whole);
        let evaluated_at = decision.evaluated_at;
        let (case, judgement) = prepare(question, resolved, &examined, decision, deploy)?;
        let ready = PreparedDecision { case: Arc::new(case), judgement: Arc::new(judgement) };
        self.remember(key, resolved, &examined, &ready);
        Ok((ready, evaluated_at))
    }

    /// Notes what is in the scan of each manifest, and learns since when it has been known.
    async fn observe(
        &self,
        resolved: &Resolved,
        environment: Option<&Environment>,
        mut examined: Vec<ManifestInput>,
    ) -> Result<Vec<ManifestInput>, Error> {
        let (repository, now) = (resolved.repository(), Timestamp::now());
        for examined in examined.iter_mut().filter(|examined| !examined.scan.findings().is_empty()) {
            let met: Vec<SeenFinding> = examined.scan.findings().iter().map(SeenFinding::from_finding).collect();
            let clocks = self.observations.observe(&repository, environment, &met, now).await;
            examined.first_seen = Arc::new(clocks?);
        }
        Ok(examined)
    }

    /// What was decided for the same question, where deciding again would say it again.
    async fn remembered(
        &self,
        key: &Key,
        question: &EvaluateRequest,
        resolved: &Resolved,
        freshness: Freshness,
    ) -> Result<Option<(PreparedDecision, Timestamp)>, Error> {
        let Some(kept) = self.cache.get(key) else { return Ok(None) };
        let policies = self.policies(question).await?;
        let now = Timestamp::now();
        let repository = resolved.repository();
        let mut examined = kept.ready.judgement.examined.iter().zip(&kept.readings);
        let stands = kept.stands(policies.revision, &resolved.manifests, now)
            && examined.all(|(examined, began)| {
                self.registry.kept(&repository, &examined.manifest, freshness) == Some(*began)
            });
        Ok(stands.then(|| (kept.ready.clone(), now)))
    }

    /// Keeps a decision that the next caller may have, too.
    fn remember(&self, key: &Key, resolved: &Resolved, examined: &[ManifestInput], ready: &PreparedDecision) {
        let is_final = ready.judgement.decision.verdict != Verdict::Indeterminate
            && examined.iter().all(|examined| examined.start.is_none());
        if is_final {
            let readings = examined.iter().map(|examined| examined.scan.read_at).collect();
            let kept = CachedDecision { manifests: resolved.manifests.clone(), readings, ready: ready.clone() };
            self.cache.keep(key.clone(), Arc::new(kept));
        }
    }

    fn check_environment(&self, question: &EvaluateRequest) -> Result<(), Error> {
        let known = &self.settings.environments;
        match &question.environment {
            Some(environment) if !known.is_empty() && !known.contains(environment) => {
                Err(Error::EnvironmentUnknown { environment: environment.clone(), known: known.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The policies of this instant, new enough for the question and with the one that it names.
    async fn policies(&self, question: &EvaluateRequest) -> Result<Arc<PolicySet>, Error> {
        let policies = self.policies.at_least(question.at_least_as_fresh).await?;
        match &question.policy {
            Some(id) if !policies.policies.contains_key(id) => Err(Error::PolicyNotFound(id.clone())),
            Some(_) | None => Ok(policies),
        }
    }

    async fn decide(
        &self,
        question: &EvaluateRequest,
        resolved: &Resolved,
        examined: &[ManifestInput],
    ) -> Result<Decision, Error> {
        let policies = self.policies(question).await?;
        let selection = match &question.policy {
            None => Selection::Governing(&policies),
            Some(id) => {
                let policy = policies.policies.get(id).ok_or_else(|| Error::PolicyNotFound(id.clone()))?;
                Selection::Only { policy, waivers: &policies.waivers, revision: policies.revision }
            }
        };
        Ok(decide(&resolved.image, question.environment.as_ref(), selection, examined, Timestamp::now()))
    }

    /// Starts the scans that policies ask for, and notes what became of it. True where there were any.
    async fn start_wanted_scans(
        &self,
        resolved: &Resolved,
        examined: &mut [ManifestInput],
        decision: &Decision,
    ) -> Result<bool, Error> {
        let wanted: BTreeSet<&Digest> =
            decision.manifests.iter().filter(|manifest| manifest.wants_scan).map(|manifest| &manifest.digest).collect();
        for examined in examined.iter_mut().filter(|examined| wanted.contains(&examined.manifest.digest)) {
            let started = self.registry.start_scan(&resolved.repository(), &examined.manifest).await?;
            examined.start = Some(started_for_decision(started));
        }
        Ok(!wanted.is_empty())
    }
}

/// Takes down what a decision was made of, once for all who get it.
fn prepare(
    question: &EvaluateRequest,
    resolved: &Resolved,
    examined: &[ManifestInput],
    decision: Decision,
    deploy: Option<Digest>,
) -> Result<(PreparedRecord, EvaluatedDecision), Error> {
    let (image, environment) = (&resolved.image, question.environment.as_ref());
    let prepared = decisions::prepare(
        image,
        environment,
        &question.platforms,
        question.policy.as_ref(),
        examined,
        &decision,
        deploy.as_ref(),
    );
    let outlined = |examined: &ManifestInput| ManifestInput {
        manifest: examined.manifest.clone(),
        scan: Arc::new(examined.scan.without_findings()),
        start: examined.start.clone(),
        first_seen: Arc::default(),
    };
    let judgement = EvaluatedDecision {
        image: image.clone(),
        environment: environment.cloned(),
        examined: examined.iter().map(outlined).collect(),
        decision,
        deploy,
        told: OnceLock::new(),
    };
    Ok((prepared.map_err(Error::Unrecordable)?, judgement))
}

fn key(question: &EvaluateRequest, resolved: &Resolved) -> Key {
    Key {
        image: resolved.image.clone(),
        platforms: question.platforms.clone(),
        environment: question.environment.clone(),
        policy: question.policy.clone(),
    }
}

fn started_for_decision(started: Started) -> Start {
    match started {
        Started::Started | Started::AlreadyInProgress => Start::Running,
        Started::AlreadyScanned { next_possible_at: Some(at) } => {
            Start::Refused(format!("ECR allows one scan per image and 24 hours, the next at {at}"))
        }
        Started::AlreadyScanned { next_possible_at: None } => {
            Start::Refused("ECR allows one scan per image and 24 hours".to_owned())
        }
        Started::ManagedContinuously => {
            Start::Refused("the registry uses enhanced scanning, which nobody can start".to_owned())
        }
        Started::Unsupported(why) => Start::Refused(why),
    }
}

/// What an ALLOW lets deploy: the image itself where all of it was judged, the one manifest where only that was. Advice lets nothing
/// deploy: the caller has chosen the policy.
fn deployable(decision: &Decision, resolved: &Resolved, whole: bool) -> Option<Digest> {
    if decision.verdict != Verdict::Allow || !decision.authoritative {
        return None;
    }
    match decision.manifests.as_slice() {
        _ if whole => Some(resolved.image.digest.clone()),
        [only] => Some(only.digest.clone()),
        _ => None,
    }
}
