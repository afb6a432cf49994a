//! `scangate simulate`: evaluates an image under one policy alone. Its exit status is never 0 for a verdict.

use std::path::PathBuf;

use clap::Args;
use scangate_client::v1::{
    SimulateGateRequest, Simulation, Verdict, WatchScanRequest, simulate_gate_request::SimulatedPolicy,
};

use crate::{
    args::{DurationArg, ImageArgs},
    decision_report,
    error::CliError,
    format,
    outcome::{CommandOutput, Outcome},
    policy_file::PolicyFileArgs,
    progress,
    report::Report,
    session::Session,
};

/// The arguments of `scangate simulate`.
#[derive(Debug, Args)]
#[command(after_help = "\
A simulation permits no deployment: it prints no reference, and its exit status is 10 if the policy alone would allow the \
image. To deploy, use `scangate check`.
JSON output: the Simulation.")]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    policy: PolicyChoice,
    /// Environment to simulate, e.g. prod; selects waivers and the clocks of grace periods. Default: none.
    #[arg(long, value_name = "ENVIRONMENT", default_value = "", hide_default_value = true)]
    env: String,
    /// Longest time that the server waits for a running scan to end, e.g. 5m; at most 15m. Default: no wait.
    #[arg(long, value_name = "DURATION")]
    wait: Option<DurationArg>,
    /// Maximum age of cached findings, e.g. 10m; 0s reads ECR now. Default: the setting of the server.
    #[arg(long, value_name = "DURATION")]
    max_findings_age: Option<DurationArg>,
    /// Revision of a policy or waiver write; the simulation is based on that write or a later one.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    at_least_as_fresh: String,
}

/// The policy to simulate.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct PolicyChoice {
    /// Name of a stored policy, e.g. policies/strict.
    #[arg(long, value_name = "NAME", value_parser = format::parse_policy_name)]
    policy: Option<String>,
    /// File with a draft as JSON, in the form that `policy get --output json` prints; - reads standard input.
    #[arg(long = "file", short = 'f', value_name = "FILE")]
    path: Option<PathBuf>,
}

impl PolicyChoice {
    fn load(&self) -> Result<Option<SimulatedPolicy>, CliError> {
        let draft = self.path.clone().map(|path| PolicyFileArgs::from_path(path).load()).transpose()?;
        let name = self.policy.clone().map(SimulatedPolicy::Policy);
        Ok(name.or(draft.map(SimulatedPolicy::Draft)))
    }
}

impl SimulateArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let image = self.image.image.clone();
        let watch =
            self.wait.map(|_| WatchScanRequest { image: image.clone(), platforms: self.image.platform.clone() });
        let simulation = Box::pin(session.client.simulate(self.request()?));
        let simulation = progress::with_progress(session, watch, simulation).await?;
        let text = session.render(&simulation, |simulation| {
            let mut report = Report::default();
            decision_report::write_simulation(&mut report, &image, simulation);
            report
        })?;
        Ok(CommandOutput { text, outcome: outcome(&simulation), warnings: Vec::new() })
    }

    fn request(self) -> Result<SimulateGateRequest, CliError> {
        Ok(SimulateGateRequest {
            simulated_policy: self.policy.load()?,
            image: self.image.image,
            environment: self.env,
            platforms: self.image.platform,
            wait: self.wait.map(Into::into),
            max_findings_age: self.max_findings_age.map(Into::into),
            at_least_as_fresh: self.at_least_as_fresh,
        })
    }
}

/// The outcome of a simulation; an inconsistent ALLOW is a failure of the server.
fn outcome(simulation: &Simulation) -> Outcome {
    let is_consistent = !simulation.manifests.is_empty()
        && simulation.manifests.iter().all(|manifest| manifest.verdict() == Verdict::Allow)
        && simulation.violations.is_empty();
    match simulation.verdict() {
        Verdict::Allow if is_consistent => Outcome::WouldAllow,
        Verdict::Allow => Outcome::Failed,
        Verdict::Deny => Outcome::Denied,
        Verdict::Indeterminate | Verdict::Unspecified => Outcome::Indeterminate,
    }
}
