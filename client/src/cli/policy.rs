//! `scangate policy`: the policies that decide.

use clap::{Args, Subcommand};
use scangate_client::{
    Error,
    v1::{
        CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, DeletePolicyResponse, ErrorReason,
        GetPolicyRequest, ListPoliciesRequest, Policy, UpdatePolicyRequest, UpdatePolicyResponse,
    },
};

use crate::{
    failure::Failure,
    outcome::Answer,
    page::Page,
    policy_file::PolicyFile,
    policy_page,
    session::Session,
    words::{parse_policy_name, policy_id},
};

/// Says how to name the version that a write replaces.
const ETAG_MISSING: &str = "which version? the file has no etag: take the one that `scangate policy get` shows, \
    as --etag ETAG or in the file, or --etag '*' for whatever there is";

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show all policies.
    List(List),
    /// Show one policy; with --output json, as a file that update takes.
    Get(Get),
    /// Add a policy.
    Create(Create),
    /// Replace a policy as a whole.
    Update(Update),
    /// Remove a policy.
    Delete(Delete),
    /// Ask the gate whether a policy file is right; change nothing.
    Validate(Validate),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only policies that govern this repository.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    repository: String,
    /// Only policies that govern this environment.
    #[arg(long, value_name = "ENVIRONMENT", default_value = "", hide_default_value = true)]
    env: String,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The policy, e.g. policies/default or just default.
    #[arg(value_parser = parse_policy_name)]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Id of the new policy: lower-case letters, digits and -, starting with a letter.
    id: String,
    #[command(flatten)]
    file: PolicyFile,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The policy, e.g. policies/default or just default.
    #[arg(value_parser = parse_policy_name)]
    name: String,
    #[command(flatten)]
    file: PolicyFile,
    /// The version to replace, as `policy get` shows it; '*' replaces whatever there is. Otherwise the file's own etag.
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The policy, e.g. policies/strict or just strict.
    #[arg(value_parser = parse_policy_name)]
    name: String,
    /// The version to remove, as `policy get` shows it; '*' removes whatever there is.
    #[arg(long)]
    etag: String,
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    file: PolicyFile,
}

impl PolicyCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<Answer, Failure> {
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

impl List {
    async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let request = ListPoliciesRequest { repository: self.repository, environment: self.env, ..Default::default() };
        let answer = session.client.list_policies(request).await?;
        Ok(Answer::success(session.render(&answer, policy_page::list)?))
    }
}

impl Get {
    async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let request = GetPolicyRequest { name: self.name, ..Default::default() };
        let answer = session.client.get_policy(request).await?;
        let policy = answer.policy.ok_or(Error::Incomplete { missing: "no policy" })?;
        Ok(Answer::success(session.render(&policy, policy_page::one)?))
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let policy = self.file.read()?;
        let policy_id = policy_id(&self.id).to_owned();
        refuse_other_name(&policy, &format!("policies/{policy_id}"))?;
        let request = CreatePolicyRequest { policy_id, policy: Some(policy), ..Default::default() };
        let answer = session.client.create_policy(request).await?;
        Ok(Answer::success(session.render(&answer, created)?))
    }
}

impl Update {
    async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let mut policy = self.file.read()?;
        refuse_other_name(&policy, &self.name)?;
        policy.name = self.name;
        if let Some(etag) = self.etag {
            policy.etag = etag;
        }
        if policy.etag.is_empty() {
            return Err(Failure::Usage(ETAG_MISSING.to_owned()));
        }
        let request = UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
        let answer = session.client.update_policy(request).await?;
        Ok(Answer::success(session.render(&answer, updated)?))
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let request = DeletePolicyRequest { name: self.name, etag: self.etag, ..Default::default() };
        let answer = session.client.delete_policy(request).await?;
        Ok(Answer::success(session.render(&answer, deleted)?))
    }
}

impl Validate {
    async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let policy = self.file.read()?;
        if policy.name.is_empty() {
            // A name that is not taken: what matters is the policy.
            return validate_new(session, format!("draft-{:08x}", rand::random::<u32>()), policy).await;
        }
        let id = policy_id(&policy.name).to_owned();
        let replacement = Policy { etag: "*".to_owned(), ..policy.clone() };
        let request = UpdatePolicyRequest { policy: Some(replacement), validate_only: true, ..Default::default() };
        match session.client.update_policy(request).await {
            Ok(answer) => Ok(Answer::success(session.render(&answer, |answer| valid(&answer.notes))?)),
            Err(error) if is_unknown_policy(&error) => validate_new(session, id, policy).await,
            Err(error) => Err(error.into()),
        }
    }
}

async fn validate_new(session: &Session, policy_id: String, policy: Policy) -> Result<Answer, Failure> {
    let request = CreatePolicyRequest { policy_id, policy: Some(policy), validate_only: true, ..Default::default() };
    let answer = session.client.create_policy(request).await?;
    Ok(Answer::success(session.render(&answer, |answer| valid(&answer.notes))?))
}

/// A file under another name than the one typed is a mistake, whichever of the two is meant.
fn refuse_other_name(policy: &Policy, name: &str) -> Result<(), Failure> {
    if policy.name.is_empty() || policy.name == name {
        return Ok(());
    }
    Err(Failure::Usage(format!("the file is about {}, not {name}", policy.name)))
}

fn is_unknown_policy(error: &Error) -> bool {
    error.rejection().is_some_and(|rejection| rejection.error_reason() == ErrorReason::PolicyNotFound)
}

fn valid(notes: &[String]) -> Page {
    let mut page = Page::default();
    page.line("valid");
    page.section("notes", notes);
    page
}

fn created(answer: &CreatePolicyResponse) -> Page {
    policy_page::written(answer.policy.as_ref(), answer.revision, &answer.revision_token, &answer.notes)
}

fn updated(answer: &UpdatePolicyResponse) -> Page {
    policy_page::written(answer.policy.as_ref(), answer.revision, &answer.revision_token, &answer.notes)
}

fn deleted(answer: &DeletePolicyResponse) -> Page {
    policy_page::written(None, answer.revision, &answer.revision_token, &[])
}
