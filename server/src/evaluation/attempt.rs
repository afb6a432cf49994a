//! Attempts to decide: starts the scans that policies require, waits for them, and decides on one policy snapshot each time.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use jiff::Timestamp;
use scangate_core::{
    Decision, Verdict, decide,
    decide::Selection,
    decision::{ManifestInput, SCANS_ARE_MANAGED, Start},
    image::Digest,
    policy::PolicySet,
};

use super::{Error, EvaluateRequest, Evaluator, scan_wait::WaitBackoff};
use crate::{
    observations::SeenFinding,
    registry::{Error as RegistryError, Resolved, Started},
    scan_reader::read_scans,
};

/// One attempt to decide, with the policy snapshot that it used.
pub(super) struct Attempt {
    pub(super) inputs: Vec<ManifestInput>,
    pub(super) policies: Arc<PolicySet>,
    pub(super) decision: Decision,
}

impl Evaluator {
    /// Decides, starts the scans that the policies require, and decides again if there were any.
    pub(super) async fn attempt_with_scans(
        &self,
        request: &EvaluateRequest,
        resolved: &Resolved,
        inputs: Vec<ManifestInput>,
    ) -> Result<Attempt, Error> {
        let attempt = self.attempt(request, resolved, inputs).await?;
        let wanted: BTreeSet<Digest> = attempt
            .decision
            .manifests
            .iter()
            .filter(|manifest| manifest.wants_scan)
            .map(|manifest| manifest.digest.clone())
            .collect();
        if wanted.is_empty() {
            return Ok(attempt);
        }
        let mut inputs = attempt.inputs;
        self.start_scans(resolved, &mut inputs, &wanted).await?;
        self.decide(request, resolved, inputs).await
    }

    /// Reads the scans again with growing delays, until the decision is final or the time is up.
    pub(super) async fn wait_for_scans(
        &self,
        request: &EvaluateRequest,
        resolved: &Resolved,
        mut attempt: Attempt,
        deadline: Option<Instant>,
    ) -> Result<Attempt, Error> {
        let mut backoff = WaitBackoff::new(request.wait, deadline, self.stopping.clone());
        while attempt.decision.verdict == Verdict::Indeterminate {
            let Some(delay) = backoff.next_delay(attempt.decision.retry_after) else { break };
            let Attempt { inputs, policies, decision } = attempt;
            let (manifests, starts): (Vec<_>, Vec<_>) =
                inputs.into_iter().map(|input| (input.manifest, input.start)).unzip();
            // Hold neither findings nor a snapshot while waiting.
            drop((policies, decision));
            let freshness = backoff.pause(delay).await;
            let mut inputs = read_scans(&self.registry, resolved, manifests, freshness).await?;
            for (input, start) in inputs.iter_mut().zip(starts) {
                input.start = start;
            }
            attempt = self.attempt(request, resolved, inputs).await?;
        }
        Ok(attempt)
    }

    /// Records the findings as seen and decides.
    async fn attempt(
        &self,
        request: &EvaluateRequest,
        resolved: &Resolved,
        mut inputs: Vec<ManifestInput>,
    ) -> Result<Attempt, Error> {
        let (repository, now) = (resolved.repository(), Timestamp::now());
        let environment = request.environment.as_ref();
        for input in inputs.iter_mut().filter(|input| !input.scan.findings().is_empty()) {
            let seen: Vec<SeenFinding> = input.scan.findings().iter().map(SeenFinding::from_finding).collect();
            input.first_seen = Arc::new(self.observations.observe(&repository, environment, &seen, now).await?);
        }
        self.decide(request, resolved, inputs).await
    }

    /// Decides once, on one policy snapshot; admission uses the same snapshot.
    ///
    /// The snapshot is taken here, after all reads: no I/O lies between it and the decision. A snapshot from before a read or a wait
    /// could exceed the staleness bound or miss a newer revision; no attempt reuses one.
    async fn decide(
        &self,
        request: &EvaluateRequest,
        resolved: &Resolved,
        inputs: Vec<ManifestInput>,
    ) -> Result<Attempt, Error> {
        let policies = self.snapshot(request).await?;
        let selection = Selection::Governing(&policies);
        let decision = decide(&resolved.image, request.environment.as_ref(), selection, &inputs, Timestamp::now());
        Ok(Attempt { inputs, policies, decision })
    }

    /// Starts the scans of the wanted manifests and notes each outcome in its input.
    async fn start_scans(
        &self,
        resolved: &Resolved,
        inputs: &mut [ManifestInput],
        wanted: &BTreeSet<Digest>,
    ) -> Result<(), Error> {
        for input in inputs.iter_mut().filter(|input| wanted.contains(&input.manifest.digest)) {
            let started = self.registry.start_scan(&resolved.repository(), &input.manifest).await;
            input.start = Some(start_outcome(started)?);
        }
        Ok(())
    }
}

/// Converts the outcome of a start. A denial by AWS is a reason to deny, since the scan at hand is not good enough.
fn start_outcome(started: Result<Started, RegistryError>) -> Result<Start, Error> {
    let started = match started {
        Err(RegistryError::AccessDenied { action, .. }) => {
            return Ok(Start::Refused(format!(
                "AWS denies this server {action}; grant that IAM action, and retry or call StartScan"
            )));
        }
        other => other?,
    };
    Ok(match started {
        Started::Started | Started::AlreadyInProgress => Start::Running,
        Started::AlreadyScanned { next_scan_time: Some(at) } => Start::Refused(format!(
            "ECR allows one scan per image every 24 hours; retry, or call StartScan, after {at}"
        )),
        Started::AlreadyScanned { next_scan_time: None } => {
            let why = "ECR allows one scan per image, and a limited number per account, every 24 hours";
            Start::Refused(format!("{why}; retry, or call StartScan, later"))
        }
        Started::ManagedByInspector => Start::Refused(SCANS_ARE_MANAGED.to_owned()),
        Started::Unsupported(why) => Start::Refused(why),
    })
}
