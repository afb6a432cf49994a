//! Writes of policies on the wire: validates, makes one call, converts.

use scangate_core::{name::PolicyId, policy::Policy};
use scangate_proto::v1::{
    CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, DeletePolicyResponse, UpdatePolicyRequest,
    UpdatePolicyResponse,
};
use tonic::Status;

use super::{PolicyService, write_options};
use crate::{
    grpc::{
        convert::{
            policy::{self as policy_fields, render_policy},
            revision::render_revision,
        },
        field_violations::Fields,
        status,
        update_mask::POLICY,
    },
    observations::SeenNames,
    policies::{self, Current},
    policy_store::{Change, Resource, ResourceName, Revision},
};

impl PolicyService {
    pub(super) async fn add(&self, request: CreatePolicyRequest) -> Result<CreatePolicyResponse, Status> {
        let mut fields = Fields::default();
        let id = fields.check("policy_id", PolicyId::parse(&request.policy_id));
        let policy = policy_fields::parse_policy(&mut fields, id, request.policy.as_ref());
        let options = write_options(&mut fields, request.validate_only, &request.request_id, || CreatePolicyRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let policy = fields.finish(policy)?;
        let mut notes = policies::lint(&policy);
        notes.extend(self.pattern_notes(&policy).await);
        let change = Change::Create(vec![Resource::Policy(policy)]);
        let written = self.policies.write(change, options).await.map_err(status::from_policies)?;
        Ok(CreatePolicyResponse {
            policy: written.policy().map(|revision| render_policy(revision)),
            revision: render_revision(written.revision),
            notes,
        })
    }

    pub(super) async fn change(&self, request: UpdatePolicyRequest) -> Result<UpdatePolicyResponse, Status> {
        let mut fields = Fields::default();
        let message = POLICY.require(&mut fields, request.policy.as_ref());
        let id = message.and_then(|policy| policy_fields::parse_name(&mut fields, "policy.name", &policy.name));
        let expected = message.and_then(|policy| policy_fields::parse_etag(&mut fields, "policy.etag", &policy.etag));
        let complete =
            message.filter(|policy| policy_fields::check_complete(&mut fields, "policy", &policy.unknown_fields));
        let Some(((message, id), expected)) = complete.zip(id).zip(expected) else {
            return fields.finish(None);
        };
        let current = self.policies.current(ResourceName::Policy(id.clone()), expected).await;
        let Current { revision, expected } = current.map_err(status::from_policies)?;
        let Revision::Policy(old) = revision else { return Err(status::policy_not_found(&id)) };
        let rendered = render_policy(&old);
        let merged = POLICY.apply(&mut fields, request.update_mask.as_ref(), &rendered, message)?;
        let policy = merged.and_then(|merged| policy_fields::parse_policy(&mut fields, Some(id), Some(&merged)));
        let options = write_options(&mut fields, request.validate_only, &request.request_id, || UpdatePolicyRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let policy = fields.finish(policy)?;
        let mut notes = policies::lint(&policy);
        notes.extend(self.pattern_notes(&policy).await);
        notes.extend(policies::policy_change_notes(&old.policy, &policy));
        let change = Change::Update { resource: Resource::Policy(policy), expected };
        let written = self.policies.write(change, options).await.map_err(status::from_policies)?;
        let policy = written.policy().map(|revision| render_policy(revision));
        notes.extend(policy.iter().flat_map(|new| POLICY.emptied(&rendered, new)));
        Ok(UpdatePolicyResponse { policy, revision: render_revision(written.revision), notes })
    }

    pub(super) async fn delete(&self, request: DeletePolicyRequest) -> Result<DeletePolicyResponse, Status> {
        let mut fields = Fields::default();
        let id = policy_fields::parse_name(&mut fields, "name", &request.name);
        let expected = policy_fields::parse_etag(&mut fields, "etag", &request.etag);
        let options = write_options(&mut fields, request.validate_only, &request.request_id, || DeletePolicyRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let (id, expected) = fields.finish(id.zip(expected))?;
        let set = self.policies.snapshot_at_least(None).await.map_err(status::from_policies)?;
        let old = set.policies.get(&id);
        let notes = old.map(|old| policies::policy_deletion_notes(&old.policy)).unwrap_or_default();
        let change = Change::Delete { id, expected };
        let written = self.policies.write(change, options).await.map_err(status::from_policies)?;
        Ok(DeletePolicyResponse { revision: render_revision(written.revision), notes })
    }

    /// Returns notes on patterns that match nothing. Without the findings seen so far, only those that can match nothing.
    async fn pattern_notes(&self, policy: &Policy) -> Vec<String> {
        if !policies::has_patterns(policy) {
            return Vec::new();
        }
        let seen = self.observations.seen_names().await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot compare patterns with the findings seen");
            SeenNames::default()
        });
        policies::policy_pattern_notes(policy, &seen)
    }
}
