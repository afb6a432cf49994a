//! The history of policies on the wire, and rollbacks.

use scangate_proto::v1::{
    ListPolicyRevisionsRequest, ListPolicyRevisionsResponse, PolicyRevision, RollbackPolicyRequest,
    RollbackPolicyResponse,
};
use tonic::Status;

use super::{PolicyService, write_options};
use crate::{
    grpc::{
        convert::{
            policy::{self as policy_fields, render_policy},
            revision::{parse_revision, render_revision},
            time::render_timestamp,
        },
        field_violations::Fields,
        page_token, status,
    },
    policy_store::{Entry, Revision},
};

impl PolicyService {
    pub(super) async fn revisions(
        &self,
        request: &ListPolicyRevisionsRequest,
    ) -> Result<ListPolicyRevisionsResponse, Status> {
        let mut fields = Fields::default();
        let id = policy_fields::parse_name(&mut fields, "name", &request.name);
        let size = page_token::parse_size(&mut fields, request.page_size);
        let before = page_token::decode::<u64>(&mut fields, &request.name, &request.page_token);
        let id = fields.finish(id)?;
        let mut entries =
            self.policies.history(&id, before, size.saturating_add(1)).await.map_err(status::from_policies)?;
        if entries.is_empty() && before.is_none() {
            return Err(status::policy_not_found(&id));
        }
        let has_more = entries.len() > size;
        entries.truncate(size);
        let last = entries.last().filter(|_| has_more).map(|last| last.revision);
        Ok(ListPolicyRevisionsResponse {
            revisions: entries.iter().map(render_entry).collect(),
            next_page_token: last.map(|last| page_token::encode(&request.name, &last)).unwrap_or_default(),
        })
    }

    pub(super) async fn roll_back(&self, request: RollbackPolicyRequest) -> Result<RollbackPolicyResponse, Status> {
        let mut fields = Fields::default();
        let id = policy_fields::parse_name(&mut fields, "name", &request.name);
        let expected = policy_fields::parse_etag(&mut fields, "etag", &request.etag);
        let revision = parse_revision(&mut fields, "revision", &request.revision);
        if request.revision.is_empty() {
            fields.refuse("revision", "must be a revision of the policy; use ListPolicyRevisions to see them");
        }
        let options = write_options(&mut fields, request.validate_only, &request.request_id, || {
            RollbackPolicyRequest { request_id: String::new(), ..request.clone() }
        });
        let ((id, revision), expected) = fields.finish(id.zip(revision).zip(expected))?;
        let rollback = self.policies.roll_back(id, revision, expected, options).await;
        let rollback = rollback.map_err(status::from_rollback)?;
        Ok(RollbackPolicyResponse {
            policy: rollback.written.policy().map(|revision| render_policy(revision)),
            revision: render_revision(rollback.written.revision),
            notes: rollback.notes,
        })
    }
}

fn render_entry(entry: &Entry) -> PolicyRevision {
    PolicyRevision {
        policy: match &entry.resource {
            Some(Revision::Policy(revision)) => Some(render_policy(revision)),
            Some(Revision::Waiver(_)) | None => None,
        },
        revision: render_revision(entry.revision),
        write_time: Some(render_timestamp(entry.write_time)),
        author: String::new(),
    }
}
