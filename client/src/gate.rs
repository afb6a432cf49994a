//! The calls of `ScanGateService`; `findings` collects findings over several pages.

use std::time::Duration;

use prost_types::Duration as RequestedDuration;

use crate::{
    batch::BatchDecision,
    client::Client,
    decision::Decision,
    error::Error,
    v1::{
        BatchEvaluateGateRequest, ConfigureScanningRequest, ConfigureScanningResponse, EvaluateGateRequest,
        GetFindingsRequest, GetFindingsResponse, SimulateGateRequest, Simulation, StartScanRequest, StartScanResponse,
    },
    watch::{Watch, WatchRequest},
};

impl Client {
    /// Evaluates whether an image may be deployed.
    ///
    /// A DENY is a decision, not an error; [`Decision::require_allowed`] turns it into one. A `wait` in the request is
    /// added to the call's timeout.
    ///
    /// ```no_run
    /// # use scangate_client::{Client, Error, v1::EvaluateGateRequest};
    /// # async fn deploy(client: Client) -> Result<(), Error> {
    /// let request = EvaluateGateRequest {
    ///     image: "team/app:2.3.0".into(),
    ///     environment: "prod".into(),
    ///     ..Default::default()
    /// };
    /// let decision = client.evaluate(request).await?;
    /// println!("deploy {}", decision.require_allowed()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn evaluate(&self, request: EvaluateGateRequest) -> Result<Decision, Error> {
        let call = self.call_with_wait(requested_wait(request.wait));
        let response = call
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.evaluate_gate(request).await }
            })
            .await?;
        response.decision.map(Decision::from).ok_or(Error::Incomplete { missing: "no decision" })
    }

    /// Evaluates up to 100 images of one release in one call.
    pub async fn batch_evaluate(&self, request: BatchEvaluateGateRequest) -> Result<BatchDecision, Error> {
        let requested = request.requests.len();
        let call = self.call_with_wait(
            request.requests.iter().map(|request| requested_wait(request.wait)).max().unwrap_or_default(),
        );
        let response = call
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.batch_evaluate_gate(request).await }
            })
            .await?;
        BatchDecision::parse(response, requested)
    }

    /// Evaluates an image under one policy alone, stored or a draft, and records nothing.
    ///
    /// A simulation permits no deployment: it has no reference. A `wait` in the request is added to the call's timeout.
    ///
    /// ```no_run
    /// # use scangate_client::{Client, Error, v1::{SimulateGateRequest, simulate_gate_request::SimulatedPolicy}};
    /// # async fn simulate(client: Client) -> Result<(), Error> {
    /// let request = SimulateGateRequest {
    ///     image: "team/app:2.3.0".into(),
    ///     simulated_policy: Some(SimulatedPolicy::Policy("policies/strict".into())),
    ///     ..Default::default()
    /// };
    /// let simulation = client.simulate(request).await?;
    /// println!("policies/strict alone: {}", simulation.verdict().as_str_name());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn simulate(&self, request: SimulateGateRequest) -> Result<Simulation, Error> {
        let call = self.call_with_wait(requested_wait(request.wait));
        let response = call
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.simulate_gate(request).await }
            })
            .await?;
        response.simulation.ok_or(Error::Incomplete { missing: "no simulation" })
    }

    /// Returns one page of the findings of an image.
    ///
    /// [`all_findings`](Self::all_findings) collects every page.
    pub async fn findings(&self, request: GetFindingsRequest) -> Result<GetFindingsResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.get_findings(request).await }
            })
            .await
    }

    /// Starts a scan of an image, or joins the scan that is already running.
    pub async fn start_scan(&self, request: StartScanRequest) -> Result<StartScanResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.start_scan(request).await }
            })
            .await
    }

    /// Streams the progress of a scan until it ends, or the changes of policies and waivers, or new decisions: by the type of the
    /// request. No deadline applies to the stream, which continues after failures.
    pub async fn watch<Q: WatchRequest>(&self, request: Q) -> Result<Watch<Q>, Error> {
        Watch::open(self.clone(), request).await
    }

    /// Configures scanning of a repository or a registry.
    pub async fn configure_scanning(
        &self,
        request: ConfigureScanningRequest,
    ) -> Result<ConfigureScanningResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.configure_scanning(request).await }
            })
            .await
    }
}

/// The time that the server may wait for a scan. A negative duration counts as zero here: the server rejects it.
fn requested_wait(wait: Option<RequestedDuration>) -> Duration {
    wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default()
}
