//! Streams of `PolicyService`: changes of policies and waivers, and previews.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use scangate_proto::v1::{
    DeletedPolicy, FlippedDecision, Heartbeat, PreviewPolicyRequest, PreviewPolicyResponse, WatchPoliciesRequest,
    WatchPoliciesResponse, preview_policy_request, watch_policies_response::Event,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tonic::Status;

use super::PolicyService;
use crate::{
    auth::Scope,
    decisions::preview::{ChangedVerdict, Draft, Preview, PreviewPage},
    grpc::{
        convert::{
            count::render_count,
            decision::{render_rule_reference, render_verdict},
            policy::{self as policy_fields, render_policy},
            revision::{parse_revision, render_revision},
            time::parse_duration,
            waiver::{self as waiver_fields, render_waiver},
        },
        field_violations::{FieldReason, Fields},
        resume_token::ResumeTokens,
        status,
        streaming::{self, ResponseStream},
    },
    policies::{ChangeEvent, WatchEvent},
    waivers,
};

/// The longest window of a preview.
const MAX_WINDOW: Duration = Duration::from_hours(90 * 24);
/// Events buffered for a slow receiver.
const WATCH_BUFFER: usize = 64;
/// Pages buffered for a slow receiver.
const PREVIEW_BUFFER: usize = 4;

impl PolicyService {
    pub(super) async fn watch(
        &self,
        request: &WatchPoliciesRequest,
    ) -> Result<ResponseStream<WatchPoliciesResponse>, Status> {
        let store = self.policies.store_identity().await.map_err(status::from_policies)?;
        let tokens = ResumeTokens { method: "WatchPolicies", store };
        let after = tokens.decode(&request.resume_token)?;
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| status::overloaded())?;
        let (sender, receiver) = mpsc::channel(WATCH_BUFFER);
        let watching = Arc::clone(&self.policies).watch(Arc::clone(&self.observations), after, sender);
        streaming::spawn_until(&self.stopping, watching);
        let events = streaming::from_channel(receiver, permit)
            .map(move |event| event.map(|event| render_event(event, tokens)).map_err(status::from_policy_watch));
        Ok(streaming::or_shutting_down(events, self.stopping.clone()))
    }

    pub(super) async fn preview(
        &self,
        within: Option<Vec<Scope>>,
        request: &PreviewPolicyRequest,
    ) -> Result<ResponseStream<PreviewPolicyResponse>, Status> {
        let mut fields = Fields::default();
        let draft = self.draft(&mut fields, request);
        let window = parse_duration(&mut fields, "window", request.window.as_ref(), MAX_WINDOW).unwrap_or_default();
        if window.is_zero() {
            fields.refuse_as(
                FieldReason::OutOfRange,
                "window",
                "must be more than 0s: decisions of this period up to now are replayed",
            );
        }
        let token = parse_revision(&mut fields, "at_least_as_fresh", &request.at_least_as_fresh);
        let draft = fields.finish(draft)?;
        let preview = Preview::prepare(Arc::clone(&self.decisions), draft, window, within, token).await;
        let preview = preview.map_err(status::from_preview)?;
        let permit = Arc::clone(&self.previews).try_acquire_owned().map_err(|_| status::overloaded())?;
        let (sender, receiver) = mpsc::channel(PREVIEW_BUFFER);
        streaming::spawn_until(&self.stopping, preview.run(sender));
        let pages = streaming::from_channel(receiver, permit)
            .map(|page| page.map(render_preview_page).map_err(status::from_decisions));
        Ok(streaming::or_shutting_down(pages, self.stopping.clone()))
    }

    fn draft(&self, fields: &mut Fields, request: &PreviewPolicyRequest) -> Option<Draft> {
        match request.draft.as_ref() {
            Some(preview_policy_request::Draft::Policy(policy)) => {
                policy_fields::parse_draft(fields, "policy", policy).map(Draft::from_policy)
            }
            Some(preview_policy_request::Draft::DeletePolicy(name)) => {
                let id = policy_fields::parse_name(fields, "delete_policy", name)?;
                if id.is_default() {
                    fields.forbid("delete_policy", "must not be policies/default, which cannot be deleted");
                }
                Some(Draft::Deletion(id))
            }
            Some(preview_policy_request::Draft::Waiver(waiver)) => {
                let id = if waiver.name.is_empty() {
                    waivers::random_id()
                } else {
                    waiver_fields::parse_name(fields, "waiver.name", &waiver.name)
                };
                let waiver = waiver_fields::parse_waiver(fields, "waiver", id, Some(waiver), self.waiver_limits);
                waiver.map(Draft::from_waiver)
            }
            None => {
                fields.require("draft", "must be a policy, the name of a policy to delete, or a waiver");
                None
            }
        }
    }
}

fn render_event(event: WatchEvent, tokens: ResumeTokens) -> WatchPoliciesResponse {
    let WatchEvent { position, change } = event;
    let change = match change {
        ChangeEvent::Policy(policy) => Event::Policy(render_policy(&policy)),
        ChangeEvent::Waiver { waiver, matches_findings } => {
            Event::Waiver(render_waiver(&waiver, matches_findings, Timestamp::now()))
        }
        ChangeEvent::DeletedPolicy(id) => Event::DeletedPolicy(DeletedPolicy { policy: id.resource_name() }),
        ChangeEvent::Heartbeat => Event::Heartbeat(Heartbeat {}),
    };
    WatchPoliciesResponse {
        event: Some(change),
        revision: position.complete().map(render_revision).unwrap_or_default(),
        resume_token: tokens.encode(&position),
    }
}

fn render_preview_page(page: PreviewPage) -> PreviewPolicyResponse {
    let PreviewPage { evaluated, changed, unreadable, verdicts, notes } = page;
    let decisions = verdicts.iter().map(render_changed_verdict).collect();
    let (evaluated_count, flipped_count) = (render_count(evaluated), render_count(changed));
    PreviewPolicyResponse {
        evaluated_count,
        flipped_count,
        unreadable_count: render_count(unreadable),
        decisions,
        notes,
    }
}

fn render_changed_verdict(changed: &ChangedVerdict) -> FlippedDecision {
    FlippedDecision {
        decision: format!("decisions/{}", changed.id),
        was: render_verdict(changed.recorded).into(),
        would_be: render_verdict(changed.replayed).into(),
        flipped_by: changed.cause.as_ref().map(render_rule_reference),
    }
}
