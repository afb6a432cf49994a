//! `scangate check`: evaluates whether images may be deployed.

use clap::Args;
use scangate_client::{
    BatchDecision, Decision, NotAllowed, Refusal, Rejection,
    v1::{BatchEvaluateGateRequest, EvaluateGateRequest, Platform, WatchScanRequest},
};

use crate::{
    args::{DurationArg, OutputFormat, parse_pair, parse_platform},
    decision_report,
    error::CliError,
    json,
    outcome::{CommandOutput, Outcome},
    progress,
    report::Report,
    session::Session,
};

/// The arguments of `scangate check`.
#[derive(Debug, Args)]
#[command(after_help = "\
An image is allowed only on an ALLOW with a reference pinned by digest. The reference is printed: deploy exactly \
this one.
JSON output: the Decision for one image, the BatchEvaluateGateResponse for several.")]
pub(crate) struct CheckArgs {
    /// Images as REGISTRY/REPOSITORY:TAG or with @DIGEST, at most 100. Without a registry, the server's default
    /// registry applies.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Environment of the deployment, e.g. prod; selects the policies. Default: the policies of every environment apply.
    #[arg(long, value_name = "ENVIRONMENT", default_value = "", hide_default_value = true)]
    env: String,
    /// Platform to select from an image index, e.g. linux/amd64. May be repeated. Default: all platforms.
    #[arg(long, value_name = "OS[(OS_VERSION)]/ARCH[/VARIANT]", value_parser = parse_platform)]
    platform: Vec<Platform>,
    /// Longest time that the server waits for a running scan to end, e.g. 5m; at most 15m. Default: no wait.
    #[arg(long, value_name = "DURATION")]
    wait: Option<DurationArg>,
    /// Maximum age of cached findings, e.g. 10m; 0s reads ECR now. Default: the setting of the server.
    #[arg(long, value_name = "DURATION")]
    max_findings_age: Option<DurationArg>,
    /// Label to record with the decision, e.g. pipeline=42: a key of at most 63 bytes, a value of at most 256 bytes. May
    /// be repeated, at most 32 times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// Revision of a policy write; the decision is based on that write or a later one.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    at_least_as_fresh: String,
}

impl CheckArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        match self.images.as_slice() {
            [image] => self.check_one(session, image).await,
            images => self.check_batch(session, images).await,
        }
    }

    async fn check_one(&self, session: &Session, image: &str) -> Result<CommandOutput, CliError> {
        let evaluation = session.client.evaluate(self.request(image));
        let decision = progress::with_progress(session, self.watch(image), evaluation).await?;
        let refusal = self.refusal(&decision);
        let outcome = refusal.as_ref().map_or(Outcome::Success, Outcome::from);
        let text = session.render(decision.as_message(), |decision| {
            let mut report = Report::default();
            decision_report::write_decision(&mut report, image, decision, refusal.as_ref());
            report
        })?;
        let warnings = warn_if_inconsistent(session, image, refusal.as_ref()).into_iter().collect();
        Ok(CommandOutput { text, outcome, warnings })
    }

    async fn check_batch(&self, session: &Session, images: &[String]) -> Result<CommandOutput, CliError> {
        let requests = images.iter().map(|image| self.request(image)).collect();
        // A progress bar shows one scan: that of the first image stands for the release.
        let watch = images.first().and_then(|image| self.watch(image));
        let evaluation = session.client.batch_evaluate(BatchEvaluateGateRequest { requests });
        let batch = progress::with_progress(session, watch, evaluation).await?;
        let outcome = batch.items().iter().map(|item| self.outcome(item)).max().unwrap_or(Outcome::Failed);
        let warnings = images.iter().zip(batch.items()).filter_map(|(image, item)| {
            let refusal = item.as_ref().ok().and_then(|decision| self.refusal(decision));
            warn_if_inconsistent(session, image, refusal.as_ref())
        });
        let warnings = warnings.collect();
        let text = match session.output {
            OutputFormat::Table => self.batch_report(images, &batch).into_text(),
            OutputFormat::Json => {
                let message = batch.into_message();
                json::pretty(&message)?
            }
        };
        Ok(CommandOutput { text, outcome, warnings })
    }

    fn request(&self, image: &str) -> EvaluateGateRequest {
        EvaluateGateRequest {
            image: image.to_owned(),
            environment: self.env.clone(),
            platforms: self.platform.clone(),
            wait: self.wait.map(Into::into),
            max_findings_age: self.max_findings_age.map(Into::into),
            at_least_as_fresh: self.at_least_as_fresh.clone(),
            labels: self.label.iter().cloned().collect(),
            request_id: String::new(),
        }
    }

    fn watch(&self, image: &str) -> Option<WatchScanRequest> {
        self.wait?;
        Some(WatchScanRequest { image: image.to_owned(), platforms: self.platform.clone() })
    }

    /// The refusal of the decision under the check that the arguments select; `None` if the image is allowed.
    fn refusal(&self, decision: &Decision) -> Option<NotAllowed> {
        let allowed = if !self.platform.is_empty() && decision.as_message().deploy_image.is_empty() {
            decision.require_allowed_manifests().map(drop)
        } else {
            decision.require_allowed().map(drop)
        };
        allowed.err()
    }

    fn outcome(&self, item: &Result<Decision, Rejection>) -> Outcome {
        match item {
            Ok(decision) => self.refusal(decision).as_ref().map_or(Outcome::Success, Outcome::from),
            Err(rejection) => Outcome::from(rejection),
        }
    }

    fn batch_report(&self, images: &[String], batch: &BatchDecision) -> Report {
        let mut report = Report::default();
        let mut allowed = 0;
        for (image, item) in images.iter().zip(batch.items()) {
            match item {
                Ok(decision) => {
                    let refusal = self.refusal(decision);
                    allowed += usize::from(refusal.is_none());
                    decision_report::write_decision(&mut report, image, decision.as_message(), refusal.as_ref());
                }
                Err(rejection) => {
                    report.line(&format!("FAILED  {image}"));
                    report.line(&format!("  {rejection}"));
                }
            }
            report.blank();
        }
        report.line(&format!("{allowed} of {} images allowed", images.len()));
        report
    }
}

/// The warning for JSON output of an inconsistent decision: the JSON shows the verdict as the server sent it.
fn warn_if_inconsistent(session: &Session, image: &str, refusal: Option<&NotAllowed>) -> Option<String> {
    let refusal = refusal.filter(|_| session.output == OutputFormat::Json)?;
    let consistent = matches!(refusal.refusal, Refusal::Denied | Refusal::Indeterminate);
    (!consistent).then(|| format!("{image}: {}", refusal.refusal))
}
