//! The history of policies on the wire, and rollbacks.

use scangate_core::name::PolicyId;
use scangate_proto::v1::{
    ListPolicyRevisionsRequest, ListPolicyRevisionsResponse, PolicyRevision, RollbackPolicyRequest,
    RollbackPolicyResponse,
};
use tonic::Status;

use super::{PolicyService, write_options};
use crate::{
    auth::Authorization,
    grpc::{
        byte_budget::ByteBudget,
        convert::{
            policy::{self as policy_fields, render_policy},
            revision::{parse_revision, render_revision},
            time::render_timestamp,
        },
        current_call,
        field_violations::Fields,
        page_token, scopes, status,
    },
    policies::Rollback,
    policy_store::{Entry, ResourceName, Revision},
};

/// The most revisions of one read: each may take megabytes.
const READ_BATCH_SIZE: usize = 16;

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
        let (revisions, last) = self.revisions_before(&id, before, size).await?;
        if revisions.is_empty() && before.is_none() {
            return Err(status::policy_not_found(&id));
        }
        Ok(ListPolicyRevisionsResponse {
            revisions,
            next_page_token: last.map(|last| page_token::encode(&request.name, &last)).unwrap_or_default(),
        })
    }

    /// Reads a page of revisions, newest first, and the last one of the page unless it is the last page.
    async fn revisions_before(
        &self,
        id: &PolicyId,
        before: Option<u64>,
        size: usize,
    ) -> Result<(Vec<PolicyRevision>, Option<u64>), Status> {
        let name = ResourceName::Policy(id.clone());
        let (mut budget, mut revisions, mut last) = (ByteBudget::page(), Vec::new(), before);
        loop {
            let entries = self.policies.history(&name, last, READ_BATCH_SIZE).await.map_err(status::from_policies)?;
            let is_end = entries.len() < READ_BATCH_SIZE;
            for entry in entries {
                let revision = render_entry(&entry);
                if revisions.len() == size || !budget.admits_to_page(&revision, revisions.is_empty()) {
                    return Ok((revisions, last));
                }
                revisions.push(revision);
                last = Some(entry.revision);
            }
            if is_end {
                return Ok((revisions, None));
            }
        }
    }

    pub(super) async fn roll_back(
        &self,
        caller: &Authorization,
        request: RollbackPolicyRequest,
    ) -> Result<RollbackPolicyResponse, Status> {
        let mut fields = Fields::default();
        let options = write_options(&mut fields, caller, request.validate_only, &request.request_id, || {
            RollbackPolicyRequest { request_id: String::new(), ..request.clone() }
        });
        let write = async {
            let id = policy_fields::parse_name(&mut fields, "name", &request.name);
            let expected = policy_fields::parse_etag(&mut fields, "etag", &request.etag);
            let revision = parse_revision(&mut fields, "revision", &request.revision);
            if request.revision.is_empty() {
                fields.refuse("revision", "must be a revision of the policy; use ListPolicyRevisions to see them");
            }
            let ((id, revision), expected) = fields.finish(id.zip(revision).zip(expected))?;
            current_call::set_target(id.resource_name());
            let rollback = self.policies.prepare_rollback(id, revision, expected).await;
            let Rollback { current, restored, change } = rollback.map_err(status::from_rollback)?;
            if let Some(current) = current {
                scopes::check_replaced_policy(caller, &current)?;
            }
            scopes::check_written_policy(caller, &restored)?;
            self.policies.write(change, options.clone()).await.map_err(status::from_policies)
        };
        let written = self.write_once(&options, write).await?;
        Ok(RollbackPolicyResponse {
            policy: written.policy().map(|revision| render_policy(revision)),
            revision: render_revision(written.revision),
            notes: self.notes(caller, &written).await,
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
        create_time: Some(render_timestamp(entry.write_time)),
        author: entry.author.clone(),
    }
}
