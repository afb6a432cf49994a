//! The history of policies on the wire, and going back in it.

use scangate_proto::v1::{
    ListPolicyRevisionsRequest, ListPolicyRevisionsResponse, PolicyRevision, RollbackPolicyRequest,
    RollbackPolicyResponse,
};
use tonic::{Status, metadata::MetadataMap};

use super::{PolicyApi, terms};
use crate::{
    grpc::{
        convert::{
            policy::policy_out,
            policy::{self as policy_fields, revision_token_out},
            time::timestamp,
        },
        field_violations::Fields,
        page_token, status,
    },
    policies,
    policy_store::{Change, Entry, Precondition, Resource, Revision},
};

impl PolicyApi {
    pub(super) async fn revisions(
        &self,
        request: &ListPolicyRevisionsRequest,
    ) -> Result<ListPolicyRevisionsResponse, Status> {
        let mut fields = Fields::default();
        let id = policy_fields::name(&mut fields, "name", &request.name);
        let size = page_token::size(&mut fields, request.page_size);
        let before = page_token::cursor::<u64>(&mut fields, &request.name, &request.page_token);
        let id = fields.finish(id)?;
        let mut entries =
            self.policies.history(&id, before, size.saturating_add(1)).await.map_err(status::of_policies)?;
        if entries.is_empty() && before.is_none() {
            return Err(status::policy_not_found(&id));
        }
        let more = entries.len() > size;
        entries.truncate(size);
        let last = entries.last().filter(|_| more).map(|last| last.revision);
        Ok(ListPolicyRevisionsResponse {
            revisions: entries.iter().map(revision_out).collect(),
            next_page_token: last.map(|last| page_token::token(&request.name, &last)).unwrap_or_default(),
        })
    }

    pub(super) async fn roll_back(
        &self,
        metadata: &MetadataMap,
        request: RollbackPolicyRequest,
    ) -> Result<RollbackPolicyResponse, Status> {
        let mut fields = Fields::default();
        let id = policy_fields::name(&mut fields, "name", &request.name);
        let expected = policy_fields::etag(&mut fields, "etag", &request.etag);
        if request.revision == 0 {
            fields.refuse("revision", "must be a revision of the policy; ListPolicyRevisions tells which there are");
        }
        let terms = terms(&mut fields, request.validate_only, &request.request_id, || RollbackPolicyRequest {
            request_id: String::new(),
            ..request.clone()
        });
        let (id, expected) = fields.finish(id.zip(expected))?;
        let before = Some(request.revision.saturating_add(1));
        let found = self.policies.history(&id, before, 1).await.map_err(status::of_policies)?;
        let old = found.into_iter().find(|entry| entry.revision == request.revision);
        let Some(Revision::Policy(old)) = old.and_then(|entry| entry.document) else {
            return Err(status::revision_not_found(&id, request.revision));
        };
        let set = self.policies.at_least(None).await.map_err(status::of_policies)?;
        let document = Resource::Policy(old.policy.clone());
        let change = match expected {
            Precondition::Any if !set.policies.contains_key(&id) => Change::Create(vec![document]),
            expected @ (Precondition::Any | Precondition::Revision(_)) => Change::Update { document, expected },
        };
        let written = self.write(metadata, change, terms).await?;
        Ok(RollbackPolicyResponse {
            policy: written.policy().map(|revised| policy_out(revised)),
            revision: written.revision,
            revision_token: revision_token_out(written.revision),
            notes: policies::notes(&old.policy),
        })
    }
}

fn revision_out(entry: &Entry) -> PolicyRevision {
    PolicyRevision {
        policy: match &entry.document {
            Some(Revision::Policy(revised)) => Some(policy_out(revised)),
            Some(Revision::Waiver(_)) | None => None,
        },
        revision: entry.revision,
        write_time: Some(timestamp(entry.write_time)),
        author: String::new(),
    }
}
