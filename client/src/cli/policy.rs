//! `scangate policy`: reads, writes and validates policies.

use clap::{Args, Subcommand};
use scangate_client::{
    Error,
    prost_types::FieldMask,
    v1::{
        CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, DeletePolicyResponse, ErrorReason,
        GetPolicyRequest, ListPoliciesRequest, Policy, PolicyFilter, UpdatePolicyRequest, UpdatePolicyResponse,
    },
};

use crate::{
    error::CliError,
    format::{parse_policy_name, policy_id},
    outcome::CommandOutput,
    policy_file::PolicyFileArgs,
    policy_report,
    report::Report,
    session::Session,
};

/// The error for an update that names no version to replace.
const ETAG_MISSING: &str = "the file has no etag; set the etag that `scangate policy get` shows, in the file or \
    with --etag ETAG, or set --etag '*' to replace any version";

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// List policies.
    List(ListArgs),
    /// Show one policy. With --output json, the output is a file for `policy update`.
    Get(GetArgs),
    /// Create a policy from a file.
    Create(CreateArgs),
    /// Replace a policy as a whole by the one in a file.
    Update(UpdateArgs),
    /// Delete a policy.
    Delete(DeleteArgs),
    /// Validate a policy file on the server without storing it.
    Validate(ValidateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Repository whose policies to select, e.g. team/app. Default: all repositories.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    repository: String,
    /// Environment whose policies to select, e.g. prod. Default: all environments.
    #[arg(long, value_name = "ENVIRONMENT", default_value = "", hide_default_value = true)]
    env: String,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Name of the policy, e.g. policies/default or default.
    #[arg(value_parser = parse_policy_name)]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Id of the new policy: 1 to 63 lower-case letters, digits and hyphens, starting with a letter.
    id: String,
    #[command(flatten)]
    file: PolicyFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Name of the policy, e.g. policies/default or default.
    #[arg(value_parser = parse_policy_name)]
    name: String,
    #[command(flatten)]
    file: PolicyFileArgs,
    /// Etag of the version to replace, as `policy get` shows it; '*' replaces any version. If another version is stored,
    /// the update fails. Default: the etag in the file.
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Name of the policy, e.g. policies/strict or strict.
    #[arg(value_parser = parse_policy_name)]
    name: String,
    /// Etag of the version to delete, as `policy get` shows it; '*' deletes any version. If another version is stored,
    /// the deletion fails.
    #[arg(long)]
    etag: String,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    file: PolicyFileArgs,
}

impl PolicyCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Get(get) => get.run(session).await,
            Self::Create(create) => create.run(session).await,
            Self::Update(update) => update.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
            Self::Validate(validate) => validate.run(session).await,
        }
    }
}

impl ListArgs {
    async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let request = ListPoliciesRequest {
            filter: Some(PolicyFilter { repository: self.repository, environment: self.env }),
            ..Default::default()
        };
        let response = session.client.list_policies(request).await?;
        Ok(CommandOutput::success(session.render(&response, policy_report::policy_list)?))
    }
}

impl GetArgs {
    async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let request = GetPolicyRequest { name: self.name, ..Default::default() };
        let response = session.client.get_policy(request).await?;
        let policy = response.policy.ok_or(Error::Incomplete { missing: "no policy" })?;
        Ok(CommandOutput::success(session.render(&policy, policy_report::policy_details)?))
    }
}

impl CreateArgs {
    async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let policy = self.file.load()?;
        let policy_id = policy_id(&self.id).to_owned();
        require_name(&policy, &format!("policies/{policy_id}"))?;
        let request = CreatePolicyRequest { policy_id, policy: Some(policy), ..Default::default() };
        let response = session.client.create_policy(request).await?;
        Ok(CommandOutput::success(session.render(&response, create_report)?))
    }
}

impl UpdateArgs {
    async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let mut policy = self.file.load()?;
        require_name(&policy, &self.name)?;
        policy.name = self.name;
        if let Some(etag) = self.etag {
            policy.etag = etag;
        }
        if policy.etag.is_empty() {
            return Err(CliError::Usage(ETAG_MISSING.to_owned()));
        }
        let request = UpdatePolicyRequest { policy: Some(policy), update_mask: Some(whole()), ..Default::default() };
        let response = session.client.update_policy(request).await?;
        Ok(CommandOutput::success(session.render(&response, update_report)?))
    }
}

impl DeleteArgs {
    async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let request = DeletePolicyRequest { name: self.name, etag: self.etag, ..Default::default() };
        let response = session.client.delete_policy(request).await?;
        Ok(CommandOutput::success(session.render(&response, delete_report)?))
    }
}

impl ValidateArgs {
    async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let policy = self.file.load()?;
        if policy.name.is_empty() {
            // A random id avoids a collision with a stored policy.
            return validate_new(session, format!("draft-{:08x}", rand::random::<u32>()), policy).await;
        }
        let id = policy_id(&policy.name).to_owned();
        let replacement = Policy { etag: "*".to_owned(), ..policy.clone() };
        let request = UpdatePolicyRequest {
            policy: Some(replacement),
            update_mask: Some(whole()),
            validate_only: true,
            ..Default::default()
        };
        match session.client.update_policy(request).await {
            Ok(response) => {
                Ok(CommandOutput::success(session.render(&response, |response| validation_report(&response.notes))?))
            }
            Err(error) if is_policy_not_found(&error) => validate_new(session, id, policy).await,
            Err(error) => Err(error.into()),
        }
    }
}

async fn validate_new(session: &Session, policy_id: String, policy: Policy) -> Result<CommandOutput, CliError> {
    let request = CreatePolicyRequest { policy_id, policy: Some(policy), validate_only: true, ..Default::default() };
    let response = session.client.create_policy(request).await?;
    Ok(CommandOutput::success(session.render(&response, |response| validation_report(&response.notes))?))
}

/// The mask that replaces the whole policy: the file has all of it.
fn whole() -> FieldMask {
    FieldMask { paths: vec!["*".to_owned()] }
}

/// Rejects a file whose policy has another name than the command line: one of the two is a mistake.
fn require_name(policy: &Policy, name: &str) -> Result<(), CliError> {
    if policy.name.is_empty() || policy.name == name {
        return Ok(());
    }
    Err(CliError::Usage(format!("the file contains {}, not {name}", policy.name)))
}

fn is_policy_not_found(error: &Error) -> bool {
    error.rejection().is_some_and(|rejection| rejection.error_reason() == ErrorReason::PolicyNotFound)
}

fn validation_report(notes: &[String]) -> Report {
    let mut report = Report::default();
    report.line("valid");
    report.section("notes", notes);
    report
}

fn create_report(response: &CreatePolicyResponse) -> Report {
    policy_report::write_result(response.policy.as_ref(), &response.revision, &response.notes)
}

fn update_report(response: &UpdatePolicyResponse) -> Report {
    policy_report::write_result(response.policy.as_ref(), &response.revision, &response.notes)
}

fn delete_report(response: &DeletePolicyResponse) -> Report {
    policy_report::write_result(None, &response.revision, &response.notes)
}
