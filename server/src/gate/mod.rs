//! The gate: may this image be deployed? Snapshot, resolve, scans, decide, answer; and wait where the caller asks for it.

mod admission;
mod examine;
mod memo;
mod patience;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use scangate_core::{
    Decision, Verdict, decide,
    decide::Selection,
    decision::{Breach, ManifestInput, Start, Violation},
    image::{Digest, Image, ImageReference, Platform},
    name::{Environment, PolicyId},
    policy::PolicySet,
};

pub use self::examine::{Error, choose, examine};
use self::{
    memo::{Kept, Key, Memo},
    patience::{FIRST_PAUSE, Patience},
};
use crate::{
    decisions::{self, Decisions},
    log::{Appended, DecisionId, Prepared, Record},
    observations::{Met, Observations},
    policies::{self, Policies},
    registry::{Freshness, Registry, Resolved, Started},
    store::Request,
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
pub struct Question {
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
    pub request: Option<Request>,
}

/// A decision with what answers tell of what it was made of.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The image as resolved.
    pub image: Image,
    /// The environment that was asked about.
    pub environment: Option<Environment>,
    /// The decision.
    pub decision: Decision,
    /// What it was made of, in the decision's order of manifests or not; without findings and clocks.
    pub examined: Vec<ManifestInput>,
    /// What to deploy; only on ALLOW, and only where one digest stands for all that was judged.
    pub deploy: Option<Digest>,
    /// What is the same in all answers that tell of it, once the first who tells of it has put it into words.
    pub(crate) told: OnceLock<Arc<[u8]>>,
}

/// A judgement, ready to be recorded as often as it is given.
#[derive(Clone, Debug)]
struct Ready {
    case: Arc<Prepared>,
    judgement: Arc<Judgement>,
}

impl Judgement {
    /// What all answers tell of it, put into words at most once.
    pub(crate) fn told(&self, tell: impl FnOnce() -> Vec<u8>) -> Arc<[u8]> {
        Arc::clone(self.told.get_or_init(|| tell().into()))
    }

    /// How many findings it shows.
    fn shown(&self) -> usize {
        let shown = |violation: &Violation| match &violation.breach {
            Breach::Rule { findings, .. } => findings.len(),
            Breach::Scan(_) => 0,
        };
        let decision = &self.decision;
        let violations = decision.violations.iter().chain(&decision.warnings).map(shown).sum::<usize>();
        violations + decision.waived.len()
    }
}

/// The answer to a question, as it is recorded.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its name in the log.
    pub id: DecisionId,
    /// What was decided; perhaps for an earlier question that was the same in all that matters.
    pub judgement: Arc<Judgement>,
    /// When.
    pub evaluated_at: Timestamp,
    /// The caller's context.
    pub labels: BTreeMap<String, String>,
}

/// The gate.
#[derive(Clone, Debug)]
pub struct Gate {
    registry: Arc<dyn Registry>,
    policies: Arc<Policies>,
    observations: Arc<dyn Observations>,
    decisions: Arc<Decisions>,
    memo: Arc<Memo>,
    settings: Settings,
}

impl Gate {
    /// A gate over a registry and the policies, which remembers what it met and records what it decides.
    pub fn new(
        registry: Arc<dyn Registry>,
        policies: Arc<Policies>,
        observations: Arc<dyn Observations>,
        decisions: Arc<Decisions>,
        settings: Settings,
    ) -> Self {
        Self { registry, policies, observations, decisions, memo: Arc::new(Memo::new()), settings }
    }

    /// Decides on one image, and answers once the decision is recorded. A scan that runs is waited for as long as the question
    /// allows, never past `deadline`.
    pub async fn evaluate(&self, question: Question, deadline: Option<Instant>) -> Result<Answer, Error> {
        self.check_environment(&question)?;
        if let Some(request) = &question.request
            && let Some(answer) = self.decisions.answered(request).await?
        {
            return Ok(answer);
        }
        let (Ready { case, judgement }, evaluated_at) = self.ready(&question, deadline).await?;
        // While it is recorded, nothing is held but what the answer takes: there may be many who wait.
        let Question { labels, request, .. } = question;
        let record = Record { case, evaluated_at, labels: labels.clone(), request };
        match self.decisions.record(record).await? {
            Appended::Recorded(id) => Ok(Answer { id, judgement, evaluated_at, labels }),
            // Somebody has sent the same request at the same time.
            Appended::Replayed(id) => Ok(self.decisions.get(&id).await?),
        }
    }

    /// What is decided now, ready to be recorded, and when.
    async fn ready(&self, question: &Question, deadline: Option<Instant>) -> Result<(Ready, Timestamp), Error> {
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
        question: &Question,
        resolved: &Resolved,
        freshness: Freshness,
        deadline: Option<Instant>,
    ) -> Result<(Ready, Timestamp), Error> {
        let chosen = choose(resolved, &question.platforms)?;
        let whole = chosen.len() == resolved.manifests.len();
        // Read before the turn: all who ask share one reading, and its failure.
        let examined = examine(&self.registry, resolved, chosen, freshness).await?;
        // Of many who ask the same at once, one decides and the others have it from him.
        let mut turn = self.memo.turn(key).await;
        if let Some(remembered) = self.remembered(key, question, resolved, freshness).await? {
            return Ok(remembered);
        }
        let environment = question.environment.as_ref();
        let mut examined = self.observe(resolved, environment, examined).await?;
        let mut decision = self.decide(question, resolved, &examined).await?;
        if self.start_wanted_scans(resolved, &mut examined, &decision).await? {
            decision = self.decide(question, resolved, &examined).await?;
        }

        let mut patience = Patience::new(question.wait, deadline);
        while decision.verdict == Verdict::Indeterminate {
            // Who waits lets the others go on, and holds no findings.
            drop(turn.take());
            let Some(pause) = patience.next_pause(decision.retry_after) else { break };
            drop(decision);
            let (manifests, starts): (Vec<_>, Vec<_>) =
                examined.into_iter().map(|examined| (examined.manifest, examined.start)).unzip();
            tokio::time::sleep(pause).await;
            examined = examine(&self.registry, resolved, manifests, Freshness::within(FIRST_PAUSE)).await?;
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
        let ready = Ready { case: Arc::new(case), judgement: Arc::new(judgement) };
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
            let met: Vec<Met> = examined.scan.findings().iter().map(Met::of).collect();
            let clocks = self.observations.observe(&repository, environment, &met, now).await;
            examined.clocks = Arc::new(clocks.map_err(policies::Error::Store)?);
        }
        Ok(examined)
    }

    /// What was decided for the same question, where deciding again would say it again.
    async fn remembered(
        &self,
        key: &Key,
        question: &Question,
        resolved: &Resolved,
        freshness: Freshness,
    ) -> Result<Option<(Ready, Timestamp)>, Error> {
        let Some(kept) = self.memo.get(key) else { return Ok(None) };
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
    fn remember(&self, key: &Key, resolved: &Resolved, examined: &[ManifestInput], ready: &Ready) {
        let is_final = ready.judgement.decision.verdict != Verdict::Indeterminate
            && examined.iter().all(|examined| examined.start.is_none());
        if is_final {
            let readings = examined.iter().map(|examined| examined.scan.read_at).collect();
            let kept = Kept { manifests: resolved.manifests.clone(), readings, ready: ready.clone() };
            self.memo.keep(key.clone(), Arc::new(kept));
        }
    }

    fn check_environment(&self, question: &Question) -> Result<(), Error> {
        let known = &self.settings.environments;
        match &question.environment {
            Some(environment) if !known.is_empty() && !known.contains(environment) => {
                Err(Error::EnvironmentUnknown { environment: environment.clone(), known: known.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The policies of this instant, new enough for the question and with the one that it names.
    async fn policies(&self, question: &Question) -> Result<Arc<PolicySet>, Error> {
        let policies = self.policies.at_least(question.at_least_as_fresh).await?;
        match &question.policy {
            Some(id) if !policies.policies.contains_key(id) => Err(Error::PolicyNotFound(id.clone())),
            Some(_) | None => Ok(policies),
        }
    }

    async fn decide(
        &self,
        question: &Question,
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
    question: &Question,
    resolved: &Resolved,
    examined: &[ManifestInput],
    decision: Decision,
    deploy: Option<Digest>,
) -> Result<(Prepared, Judgement), Error> {
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
        scan: Arc::new(examined.scan.outline()),
        start: examined.start.clone(),
        clocks: Arc::default(),
    };
    let judgement = Judgement {
        image: image.clone(),
        environment: environment.cloned(),
        examined: examined.iter().map(outlined).collect(),
        decision,
        deploy,
        told: OnceLock::new(),
    };
    Ok((prepared.map_err(Error::Unrecordable)?, judgement))
}

fn key(question: &Question, resolved: &Resolved) -> Key {
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
