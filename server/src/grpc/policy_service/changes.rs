//! Writes of policies on the wire: validates, makes one call, converts.

use scangate_core::{name::PolicyId, policy::Policy};
use scangate_proto::v1::{
    CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, DeletePolicyResponse, UpdatePolicyRequest,
    UpdatePolicyResponse,
};
use tonic::Status;

use super::{PolicyService, write_options};
use crate::{
    auth::Authorization,
    grpc::{
        convert::{
            policy::{self as policy_fields, render_policy},
            revision::render_revision,
        },
        current_call,
        field_violations::Fields,
        scopes, status,
        update_mask::POLICY,
    },
    observations::SeenNames,
    policies::{self, Current, WriteOptions},
    policy_store::{Change, Resource, ResourceName, Revision, WriteResult},
};

impl PolicyService {
    pub(super) async fn add(
        &self,
        caller: &Authorization,
        request: CreatePolicyRequest,
    ) -> Result<CreatePolicyResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            CreatePolicyRequest { request_id: String::new(), ..request.clone() }
        });
        let write = async {
            let id = fields.check("policy_id", PolicyId::parse(&request.policy_id));
            let policy = policy_fields::parse_policy(&mut fields, "policy", id, request.policy.as_ref());
            let policy = fields.finish(policy)?;
            current_call::set_target(policy.id.resource_name());
            scopes::check_written_policy(caller, &policy)?;
            let change = Change::Create(vec![Resource::Policy(policy)]);
            self.policies.write(change, options.clone()).await.map_err(status::from_policies)
        };
        let written = self.write_once(&options, write).await?;
        Ok(CreatePolicyResponse {
            policy: written.policy().map(|revision| render_policy(revision)),
            revision: render_revision(written.revision),
            notes: self.notes(caller, &written).await,
        })
    }

    pub(super) async fn change(
        &self,
        caller: &Authorization,
        request: UpdatePolicyRequest,
    ) -> Result<UpdatePolicyResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            UpdatePolicyRequest { request_id: String::new(), ..request.clone() }
        });
        let written = self.write_once(&options, self.replace(caller, &request, fields, options.clone())).await?;
        Ok(UpdatePolicyResponse {
            policy: written.policy().map(|revision| render_policy(revision)),
            revision: render_revision(written.revision),
            notes: self.notes(caller, &written).await,
        })
    }

    async fn replace(
        &self,
        caller: &Authorization,
        request: &UpdatePolicyRequest,
        mut fields: Fields,
        options: WriteOptions,
    ) -> Result<WriteResult, Status> {
        let message = POLICY.require(&mut fields, request.policy.as_ref());
        let id = message.and_then(|policy| policy_fields::parse_name(&mut fields, "policy.name", &policy.name));
        let expected = message.and_then(|policy| policy_fields::parse_etag(&mut fields, "policy.etag", &policy.etag));
        let complete =
            message.filter(|policy| policy_fields::check_complete(&mut fields, "policy", &policy.not_understood));
        let Some(((message, id), expected)) = complete.zip(id).zip(expected) else {
            return fields.finish(None);
        };
        current_call::set_target(id.resource_name());
        let current = self.policies.current(ResourceName::Policy(id.clone()), expected).await;
        let Current { revision, expected } = current.map_err(status::from_policies)?;
        let Revision::Policy(old) = revision else { return Err(status::policy_not_found(&id)) };
        scopes::check_policy(caller, &old.policy)?;
        let merged = POLICY.apply(&mut fields, request.update_mask.as_ref(), &render_policy(&old), message)?;
        let policy =
            merged.and_then(|merged| policy_fields::parse_policy(&mut fields, "policy", Some(id), Some(&merged)));
        let policy = fields.finish(policy)?;
        scopes::check_written_policy(caller, &policy)?;
        let change = Change::Update { resource: Resource::Policy(policy), expected };
        self.policies.write(change, options).await.map_err(status::from_policies)
    }

    pub(super) async fn delete(
        &self,
        caller: &Authorization,
        request: DeletePolicyRequest,
    ) -> Result<DeletePolicyResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            DeletePolicyRequest { request_id: String::new(), ..request.clone() }
        });
        let write = async {
            let id = policy_fields::parse_name(&mut fields, "name", &request.name);
            let expected = policy_fields::parse_etag(&mut fields, "etag", &request.etag);
            let (id, expected) = fields.finish(id.zip(expected))?;
            current_call::set_target(id.resource_name());
            let current = self.policies.current_policy(&id, expected).await.map_err(status::from_policies)?;
            let (current, expected) = current.ok_or_else(|| status::policy_not_found(&id))?;
            scopes::check_replaced_policy(caller, &current)?;
            let change = Change::Delete { id, expected };
            self.policies.write(change, options.clone()).await.map_err(status::from_policies)
        };
        let written = self.write_once(&options, write).await?;
        Ok(DeletePolicyResponse {
            revision: render_revision(written.revision),
            notes: self.notes(caller, &written).await,
        })
    }

    /// Returns notes on the write of a policy: on its content, on patterns that match nothing, and on the change.
    pub(super) async fn notes(&self, caller: &Authorization, written: &WriteResult) -> Vec<String> {
        let (old, new) = (written.replaced_policy(), written.policy());
        let Some(new) = new else {
            return old.map(|old| policies::policy_deletion_notes(&old.policy)).unwrap_or_default();
        };
        let mut notes = policies::lint(&new.policy);
        notes.extend(self.pattern_notes(caller, &new.policy).await);
        if let Some(old) = old {
            notes.extend(policies::policy_change_notes(&old.policy, &new.policy));
            notes.extend(POLICY.emptied(&render_policy(old), &render_policy(new)));
        }
        notes
    }

    /// Returns notes on patterns that match nothing. Without the findings seen so far, only those that can match nothing: a caller
    /// with narrowed grants must not learn what the images of others contain.
    async fn pattern_notes(&self, caller: &Authorization, policy: &Policy) -> Vec<String> {
        if !policies::has_patterns(policy) {
            return Vec::new();
        }
        if caller.narrowed_to().is_some() {
            return policies::policy_pattern_notes(policy, &SeenNames::default());
        }
        let seen = self.observations.seen_names().await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot compare patterns with the findings seen");
            SeenNames::default()
        });
        policies::policy_pattern_notes(policy, &seen)
    }
}
