//! Streams of `PolicyService`: changes as they come, and previews as they go on.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use scangate_proto::v1::{
    FlippedDecision, PreviewPolicyRequest, PreviewPolicyResponse, WatchPoliciesRequest, WatchPoliciesResponse,
    preview_policy_request, watch_policies_response::Change,
};
use tokio::sync::mpsc;
use tonic::Status;

use super::PolicyApi;
use crate::{
    decision_log::{Cursor, Filter},
    decisions::preview::{self, Draft},
    grpc::{
        convert::{
            decision::verdict_out, policy as policy_fields, policy::policy_out, time::period, waiver as waiver_fields,
        },
        field_violations::Fields,
        status,
        streaming::{self, Streaming},
    },
    policies,
    policy_store::{ChangeSet, ResourceName, Revision},
    waivers,
};

/// How often a stream of changes says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest window of a preview.
const MAX_WINDOW: Duration = Duration::from_hours(90 * 24);

impl PolicyApi {
    pub(super) async fn watch(
        &self,
        request: &WatchPoliciesRequest,
    ) -> Result<Streaming<WatchPoliciesResponse>, Status> {
        let after = request.after_revision;
        // Whoever has seen a revision that we have not waits for us to see it.
        self.policies.at_least(Some(after)).await.map_err(status::of_policies)?;
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| status::overloaded())?;
        let (tell, told) = mpsc::channel(64);
        tokio::spawn(self.stopping.clone().run_until_cancelled_owned(follow(self.clone(), after, tell)));
        Ok(Box::pin(streaming::told(told, place)))
    }

    pub(super) async fn preview(
        &self,
        request: &PreviewPolicyRequest,
    ) -> Result<Streaming<PreviewPolicyResponse>, Status> {
        let mut fields = Fields::default();
        let draft = self.draft(&mut fields, request);
        let window = period(&mut fields, "window", request.window.as_ref(), MAX_WINDOW).unwrap_or_default();
        if window.is_zero() {
            fields.refuse("window", "must be more than 0s: how far to look back");
        }
        let token = policy_fields::revision_token(&mut fields, &request.at_least_as_fresh);
        let draft = fields.finish(draft)?;
        let set = self.policies.at_least(token).await.map_err(status::of_policies)?;
        if let Draft::Deletion(id) = &draft
            && !set.policies.contains_key(id)
        {
            return Err(status::policy_not_found(id));
        }
        let place = Arc::clone(&self.previews).try_acquire_owned().map_err(|_| status::overloaded())?;
        let now = Timestamp::now();
        let start = SignedDuration::try_from(window).ok().and_then(|window| now.checked_sub(window).ok());
        let filter = Filter { start, end: Some(now), ..Filter::default() };
        let (tell, told) = mpsc::channel(4);
        tokio::spawn(go_through(self.clone(), draft, filter, tell));
        Ok(Box::pin(streaming::told(told, place)))
    }

    fn draft(&self, fields: &mut Fields, request: &PreviewPolicyRequest) -> Option<Draft> {
        match request.draft.as_ref() {
            Some(preview_policy_request::Draft::Policy(given)) => {
                let id = policy_fields::draft_name(fields, &given.name);
                let mut policy = policy_fields::policy(fields, id, Some(given))?;
                // As if it had been effective in time for whatever is replayed.
                policy.effective_time = None;
                Some(Draft::Policy(policy))
            }
            Some(preview_policy_request::Draft::DeletePolicy(name)) => {
                let id = policy_fields::name(fields, "delete_policy", name)?;
                if id.is_default() {
                    fields.refuse("delete_policy", "must not be policies/default, which cannot be deleted");
                }
                Some(Draft::Deletion(id))
            }
            Some(preview_policy_request::Draft::Waiver(given)) => {
                let id = if given.name.is_empty() {
                    waivers::random_id()
                } else {
                    waiver_fields::name(fields, "waiver.name", &given.name)
                };
                // As if it had been there in time for whatever is replayed.
                let mut waiver = waiver_fields::waiver(fields, "waiver", id, Some(given), None, self.waiver_terms)?;
                waiver.start_time = Timestamp::MIN;
                waiver.expire_time = Timestamp::MAX;
                Some(Draft::Waiver(waiver))
            }
            None => {
                fields.refuse("draft", "must be a policy, the name of a policy to delete, or a waiver");
                None
            }
        }
    }
}

async fn follow(api: PolicyApi, mut after: u64, tell: mpsc::Sender<Result<WatchPoliciesResponse, Status>>) {
    let mut revisions = api.policies.revisions();
    let mut is_first = true;
    loop {
        let state = is_first && after == 0;
        let changes = api.policies.changes((!state).then_some(after)).await;
        let reached = match changes {
            Ok(changes) => tell_changes(&api, changes, after, &tell).await,
            Err(error) => {
                tell.send(Err(status::of_policies(error))).await.ok();
                return;
            }
        };
        let Ok(reached) = reached else { return };
        after = reached;
        is_first = false;
        // A heartbeat after every look: complete up to here.
        let alive = WatchPoliciesResponse { revision: after, change: Some(Change::Heartbeat(true)) };
        if tell.send(Ok(alive)).await.is_err() {
            return;
        }
        let later = revisions.wait_for(|revision| *revision > after);
        tokio::select! {
            _ = tokio::time::timeout(HEARTBEAT, later) => {}
            () = tell.closed() => return,
        }
    }
}

/// Tells changes in order; an error where nobody listens any more.
async fn tell_changes(
    api: &PolicyApi,
    changes: ChangeSet,
    mut complete: u64,
    tell: &mpsc::Sender<Result<WatchPoliciesResponse, Status>>,
) -> Result<u64, ()> {
    let is_state = complete == 0;
    let mut entries = changes.entries.into_iter().peekable();
    while let Some(entry) = entries.next() {
        let is_last_of_revision = entries.peek().is_none_or(|next| next.revision != entry.revision);
        // The state at the beginning is complete with its last message, and comes in the order of names.
        if is_last_of_revision && !is_state {
            complete = entry.revision;
        }
        let change = match (&entry.key, &entry.document) {
            (_, Some(Revision::Policy(revised))) => Change::Policy(policy_out(revised)),
            (_, Some(Revision::Waiver(revised))) => match api.told(revised).await {
                Ok(waiver) => Change::Waiver(waiver),
                Err(refused) => {
                    tell.send(Err(refused)).await.ok();
                    return Err(());
                }
            },
            (ResourceName::Policy(id), None) => Change::DeletedPolicy(id.resource_name()),
            // Waivers are revoked and stay.
            (ResourceName::Waiver(_), None) => continue,
        };
        let told = WatchPoliciesResponse { revision: complete, change: Some(change) };
        tell.send(Ok(told)).await.map_err(|_| ())?;
    }
    Ok(changes.revision)
}

async fn go_through(
    api: PolicyApi,
    draft: Draft,
    filter: Filter,
    tell: mpsc::Sender<Result<PreviewPolicyResponse, Status>>,
) {
    let (mut replayed, mut flipped) = (0_u64, 0_u64);
    let mut notes = match &draft {
        Draft::Policy(policy) => policies::notes(policy),
        Draft::Deletion(_) | Draft::Waiver(_) => Vec::new(),
    };
    let mut after: Option<Cursor> = None;
    loop {
        let step = match preview::step(&api.decisions, &draft, &filter, after.as_ref()).await {
            Ok(step) => step,
            Err(error) => {
                tell.send(Err(status::of_decisions(error))).await.ok();
                return;
            }
        };
        replayed = replayed.saturating_add(step.replayed);
        flipped = flipped.saturating_add(u64::try_from(step.flipped.len()).unwrap_or(u64::MAX));
        let decisions = step.flipped.iter().map(|flipped| FlippedDecision {
            decision: format!("decisions/{}", flipped.id),
            was: verdict_out(flipped.was).into(),
            would_be: verdict_out(flipped.would_be).into(),
            flipped_by: flipped.by.clone(),
        });
        let (decisions, notes) = (decisions.collect(), std::mem::take(&mut notes));
        let told = PreviewPolicyResponse { replayed, flipped, decisions, notes };
        if tell.send(Ok(told)).await.is_err() || step.next.is_none() {
            return;
        }
        after = step.next;
    }
}
