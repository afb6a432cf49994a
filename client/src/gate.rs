//! The calls of `ScanGateService`; reading findings over several pages is in `findings`.

use std::time::Duration;

use crate::{
    batch::BatchDecision,
    client::Client,
    decision::Decision,
    error::Error,
    v1::{
        BatchEvaluateGateRequest, ConfigureScanningRequest, ConfigureScanningResponse, EvaluateGateRequest,
        GetFindingsRequest, GetFindingsResponse, StartScanRequest, StartScanResponse, WatchScanRequest,
    },
    watch::ScanWatch,
};

impl Client {
    /// Asks whether an image may be deployed. A DENY is an answer, not an error: see [`Decision::require_allowed`].
    pub async fn evaluate(&self, request: EvaluateGateRequest) -> Result<Decision, Error> {
        let call = self.call_with(wait(&request));
        let answer = call
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.evaluate_gate(request).await }
            })
            .await?;
        answer.decision.map(Decision::from).ok_or(Error::Incomplete { missing: "no decision" })
    }

    /// Asks about up to 100 images of one release at once.
    pub async fn batch_evaluate(&self, request: BatchEvaluateGateRequest) -> Result<BatchDecision, Error> {
        let asked = request.requests.len();
        let call = self.call_with(request.requests.iter().map(wait).max().unwrap_or_default());
        let answer = call
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.batch_evaluate_gate(request).await }
            })
            .await?;
        BatchDecision::parse(answer, asked)
    }

    /// Reads one page of the findings of an image.
    pub async fn findings(&self, request: GetFindingsRequest) -> Result<GetFindingsResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.get_findings(request).await }
            })
            .await
    }

    /// Starts, or joins, a scan of an image.
    pub async fn start_scan(&self, request: StartScanRequest) -> Result<StartScanResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut gate = self.gate();
                async move { gate.start_scan(request).await }
            })
            .await
    }

    /// Follows a scan to its end, however long that takes.
    pub async fn watch_scan(&self, request: WatchScanRequest) -> Result<ScanWatch, Error> {
        ScanWatch::open(self.gate(), self.call(), request).await
    }

    /// Sets scanning for a repository or a registry.
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

/// What the request allows the server to wait; a negative duration is the server's to refuse.
fn wait(request: &EvaluateGateRequest) -> Duration {
    request.wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default()
}
