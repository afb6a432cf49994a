//! `PolicyService`: validates, makes one call, converts. Waivers, revisions and streams are in submodules.

mod changes;
mod revisions;
mod streams;
mod waivers;

use std::{sync::Arc, time::Duration};

use prost::Message;
use scangate_core::{
    image::RepositoryName,
    name::{Environment, PolicyId},
};
use scangate_proto::v1::{
    ApproveWaiverRequest, ApproveWaiverResponse, CreatePolicyRequest, CreatePolicyResponse, CreateWaiverRequest,
    CreateWaiverResponse, DeletePolicyRequest, DeletePolicyResponse, GetPolicyRequest, GetPolicyResponse,
    GetWaiverRequest, GetWaiverResponse, ImportWaiversRequest, ImportWaiversResponse, ListPoliciesRequest,
    ListPoliciesResponse, ListPolicyRevisionsRequest, ListPolicyRevisionsResponse, ListWaiversRequest,
    ListWaiversResponse, PreviewPolicyRequest, PreviewPolicyResponse, RevokeWaiverRequest, RevokeWaiverResponse,
    RollbackPolicyRequest, RollbackPolicyResponse, UpdatePolicyRequest, UpdatePolicyResponse, UpdateWaiverRequest,
    UpdateWaiverResponse, WatchPoliciesRequest, WatchPoliciesResponse, policy_service_server,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::{
    Services,
    byte_budget::ByteBudget,
    callers::authorization,
    convert::{
        policy::{self as policy_fields, render_policy},
        request_id::parse_request_key,
        revision::{parse_revision, render_revision},
        waiver::WaiverLimits,
    },
    current_call::{self, Effect},
    deadline::{parse_deadline, with_deadline},
    field_violations::Fields,
    page_token, status,
    streaming::ResponseStream,
};
use crate::{
    auth::Authorization,
    decisions::Decisions,
    idempotency::WRITE_WINDOW,
    observations::Observations,
    policies::{Policies, WriteOptions},
    policy_store::WriteResult,
    waivers::Waivers,
};

/// The most concurrent streams of changes.
const MAX_STREAMS: usize = 256;
/// The most concurrent previews: each keeps a core busy.
const MAX_PREVIEWS: usize = 2;

/// The service over the use cases on policies and waivers.
#[derive(Clone, Debug)]
pub(crate) struct PolicyService {
    policies: Arc<Policies>,
    waivers: Waivers,
    observations: Arc<dyn Observations>,
    decisions: Arc<Decisions>,
    waiver_limits: WaiverLimits,
    streams: Arc<Semaphore>,
    previews: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl PolicyService {
    /// Creates the service.
    pub(crate) fn new(services: Services) -> Self {
        Self {
            waivers: Waivers::new(
                Arc::clone(&services.policies),
                Arc::clone(&services.observations),
                services.waiver_limits.approval_is_demanded,
            ),
            policies: services.policies,
            observations: services.observations,
            decisions: services.decisions,
            waiver_limits: services.waiver_limits,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            previews: Arc::new(Semaphore::new(MAX_PREVIEWS)),
            stopping: services.stopping,
        }
    }
}

#[tonic::async_trait]
impl policy_service_server::PolicyService for PolicyService {
    type PreviewPolicyStream = ResponseStream<PreviewPolicyResponse>;
    type WatchPoliciesStream = ResponseStream<WatchPoliciesResponse>;

    async fn create_policy(
        &self,
        request: Request<CreatePolicyRequest>,
    ) -> Result<Response<CreatePolicyResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.add(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        let mut fields = Fields::default();
        let id = policy_fields::parse_name(&mut fields, "name", &request.get_ref().name);
        let token = parse_revision(&mut fields, "at_least_as_fresh", &request.get_ref().at_least_as_fresh);
        let id = fields.finish(id)?;
        let set = self.policies.snapshot_at_least(token).await.map_err(status::from_policies)?;
        let revision = set.policies.get(&id).ok_or_else(|| status::policy_not_found(&id))?;
        Ok(Response::new(GetPolicyResponse {
            policy: Some(render_policy(revision)),
            revision: render_revision(set.revision),
        }))
    }

    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        let request = request.get_ref();
        let mut fields = Fields::default();
        let filter = request.filter.clone().unwrap_or_default();
        let repository = fields.optional("filter.repository", &filter.repository, RepositoryName::parse);
        let environment = fields.optional("filter.environment", &filter.environment, Environment::parse);
        let token = parse_revision(&mut fields, "at_least_as_fresh", &request.at_least_as_fresh);
        let size = page_token::parse_size(&mut fields, request.page_size);
        let binding = format!("{repository:?}\n{environment:?}");
        let after = page_token::decode::<PolicyId>(&mut fields, &binding, &request.page_token);
        fields.finish(Some(()))?;

        let set = self.policies.snapshot_at_least(token).await.map_err(status::from_policies)?;
        let listed = set.policies.values().filter(|revision| {
            let matches = &revision.policy.matches;
            after.as_ref().is_none_or(|after| revision.policy.id > *after)
                && repository.as_ref().is_none_or(|name| matches.admits_repository(name))
                && environment.as_ref().is_none_or(|environment| matches.admits_environment(environment))
        });
        let listed: Vec<_> = listed.take(size.saturating_add(1)).collect();
        let (policies, last) = ByteBudget::page().take_page_of(&listed, size, |revision| render_policy(revision));
        let last = last.map(|revision| &revision.policy.id);
        Ok(Response::new(ListPoliciesResponse {
            policies,
            next_page_token: last.map(|last| page_token::encode(&binding, last)).unwrap_or_default(),
            revision: render_revision(set.revision),
        }))
    }

    async fn update_policy(
        &self,
        request: Request<UpdatePolicyRequest>,
    ) -> Result<Response<UpdatePolicyResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.change(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn delete_policy(
        &self,
        request: Request<DeletePolicyRequest>,
    ) -> Result<Response<DeletePolicyResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.delete(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn list_policy_revisions(
        &self,
        request: Request<ListPolicyRevisionsRequest>,
    ) -> Result<Response<ListPolicyRevisionsResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        with_deadline(deadline, self.revisions(request.get_ref())).await.map(Response::new)
    }

    async fn rollback_policy(
        &self,
        request: Request<RollbackPolicyRequest>,
    ) -> Result<Response<RollbackPolicyResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.roll_back(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn preview_policy(
        &self,
        request: Request<PreviewPolicyRequest>,
    ) -> Result<Response<Self::PreviewPolicyStream>, Status> {
        let within = authorization(request.extensions())?.narrowed_to();
        self.preview(within, request.get_ref()).await.map(Response::new)
    }

    async fn watch_policies(
        &self,
        request: Request<WatchPoliciesRequest>,
    ) -> Result<Response<Self::WatchPoliciesStream>, Status> {
        self.watch(request.get_ref()).await.map(Response::new)
    }

    async fn create_waiver(
        &self,
        request: Request<CreateWaiverRequest>,
    ) -> Result<Response<CreateWaiverResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.create(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn get_waiver(&self, request: Request<GetWaiverRequest>) -> Result<Response<GetWaiverResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        with_deadline(deadline, self.get(request.get_ref())).await.map(Response::new)
    }

    async fn list_waivers(
        &self,
        request: Request<ListWaiversRequest>,
    ) -> Result<Response<ListWaiversResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        with_deadline(deadline, self.list(request.get_ref())).await.map(Response::new)
    }

    async fn update_waiver(
        &self,
        request: Request<UpdateWaiverRequest>,
    ) -> Result<Response<UpdateWaiverResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.update(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn revoke_waiver(
        &self,
        request: Request<RevokeWaiverRequest>,
    ) -> Result<Response<RevokeWaiverResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.revoke(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn approve_waiver(
        &self,
        request: Request<ApproveWaiverRequest>,
    ) -> Result<Response<ApproveWaiverResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.approve(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }

    async fn import_waivers(
        &self,
        request: Request<ImportWaiversRequest>,
    ) -> Result<Response<ImportWaiversResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let writing = self.import(authorization(&extensions)?, request);
        with_deadline(parse_deadline(&metadata, Duration::ZERO), writing).await.map(Response::new)
    }
}

impl PolicyService {
    /// Returns the result of an earlier call with the same request id, or else writes. A retry gets the recorded answer even if its
    /// write would now be refused: its etag is used up, or its times have passed.
    async fn write_once(
        &self,
        options: &WriteOptions,
        write: impl Future<Output = Result<WriteResult, Status>>,
    ) -> Result<WriteResult, Status> {
        if options.validate_only {
            current_call::set_effect(Effect::DryRun);
        }
        if let Some(recorded) = self.policies.recorded(options).await.map_err(status::from_policies)? {
            return Ok(replayed(recorded));
        }
        match write.await {
            // The earlier call may have succeeded meanwhile.
            Err(refused) => match self.policies.recorded(options).await.map_err(status::from_policies) {
                Ok(recorded) => recorded.map(replayed).ok_or(refused),
                // The refusal may be due to a write of the earlier call.
                Err(unknown) if unknown.code() == Code::Unavailable => Err(unknown),
                Err(_) => Err(refused),
            },
            written => written,
        }
    }
}

/// Marks the recorded result of an earlier call for the audit trail.
fn replayed(recorded: WriteResult) -> WriteResult {
    current_call::set_effect(Effect::Replay);
    if let Some(first) = recorded.resources.first() {
        current_call::set_target(first.name().to_string());
    }
    recorded
}

/// The options of a caller's write; `content` is the request without its id.
fn write_options<M: Message>(
    fields: &mut Fields,
    caller: &Authorization,
    validate_only: bool,
    request_id: &str,
    content: impl FnOnce() -> M,
) -> WriteOptions {
    let request_key = parse_request_key(fields, caller.name(), request_id, WRITE_WINDOW, content);
    WriteOptions { caller: caller.name().to_owned(), validate_only, request_key }
}
