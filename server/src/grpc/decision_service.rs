//! `DecisionService`: recorded decisions.

use std::{sync::Arc, time::Duration};

use scangate_core::{
    image::{Digest, RepositoryName},
    name::Environment,
};
use scangate_proto::v1::{
    self, DecisionView, GetDecisionRequest, GetDecisionResponse, Heartbeat, ListDecisionsRequest,
    ListDecisionsResponse, ReplayDecisionRequest, ReplayDecisionResponse, WatchDecisionsRequest,
    WatchDecisionsResponse, decision_service_server, replay_decision_request::SimulatedPolicy,
    watch_decisions_response::Event,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    Services,
    byte_budget::ByteBudget,
    callers::authorization,
    convert::{
        decision::{parse_verdict, render_basic, render_decision, render_simulation, render_unreadable},
        policy as policy_fields,
        time::parse_timestamp,
    },
    deadline::{parse_deadline, with_deadline},
    field_violations::{FieldReason, Fields},
    page_token,
    resume_token::ResumeTokens,
    status,
    streaming::{self, ResponseStream},
};
use crate::{
    decision_log::{Bookmark, Cursor, DecisionId, Filter, Listed, Page},
    decisions::{self, Decisions, ListedDecision, WatchEvent},
    policies::Policies,
};

/// The most concurrent WatchDecisions streams.
const MAX_WATCHES: usize = 256;
/// The events buffered for a slow receiver.
const WATCH_BUFFER: usize = 16;

/// The most decisions in one page of the view FULL. Few fit, and the others would be read in vain.
const MAX_FULL_PAGE: usize = 100;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct DecisionService {
    decisions: Arc<Decisions>,
    policies: Arc<Policies>,
    watches: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl DecisionService {
    /// A service over the recorded decisions.
    pub(crate) fn new(services: Services) -> Self {
        let Services { decisions, policies, stopping, .. } = services;
        Self { decisions, policies, watches: Arc::new(Semaphore::new(MAX_WATCHES)), stopping }
    }

    /// Renders a page, which ends early if the response would become too large, and returns the start of the next page.
    async fn render_page(
        &self,
        page: Page,
        view: DecisionView,
    ) -> Result<(Vec<v1::Decision>, Option<Cursor>), decisions::Error> {
        let (mut decisions, mut last) = (Vec::new(), None);
        let (mut budget, mut loader) = (ByteBudget::page(), self.decisions.listed_loader());
        for (listed, cursor) in page.decisions {
            let decision = match view {
                DecisionView::Basic | DecisionView::Unspecified => render_basic(&listed),
                DecisionView::Full => render_listed(&loader.load(listed).await?),
            };
            if !budget.admits_to_page(&decision, decisions.is_empty()) {
                return Ok((decisions, last));
            }
            decisions.push(decision);
            last = Some(cursor);
        }
        Ok((decisions, page.next))
    }
}

#[tonic::async_trait]
impl decision_service_server::DecisionService for DecisionService {
    type WatchDecisionsStream = ResponseStream<WatchDecisionsResponse>;

    async fn get_decision(
        &self,
        request: Request<GetDecisionRequest>,
    ) -> Result<Response<GetDecisionResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let mut fields = Fields::default();
        let id = parse_name(&mut fields, &request.get_ref().name);
        let view = parse_view(&mut fields, request.get_ref().view, DecisionView::Full);
        let id = fields.finish(id)?;
        let within = authorization(request.extensions())?.narrowed_to();
        let reading = async {
            let entry = self.decisions.entry_within(&id, within.as_deref()).await?;
            Ok(match view {
                DecisionView::Basic => render_basic(&Listed::Entry(entry)),
                DecisionView::Full | DecisionView::Unspecified => {
                    render_decision(&self.decisions.resolve(entry).await?, ByteBudget::decision())
                }
            })
        };
        let decision = with_deadline(deadline, async { reading.await.map_err(status::from_decisions) }).await?;
        Ok(Response::new(GetDecisionResponse { decision: Some(decision) }))
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let within = authorization(request.extensions())?.narrowed_to();
        let request = request.get_ref();
        let mut fields = Fields::default();
        let filter = parse_filter(&mut fields, request.filter.as_ref());
        let view = parse_view(&mut fields, request.view, DecisionView::Basic);
        let size = page_token::parse_size(&mut fields, request.page_size);
        let binding = format!("{filter:?}");
        let after = page_token::decode::<Cursor>(&mut fields, &binding, &request.page_token);
        fields.finish(Some(()))?;
        // A page token outlives a change of grants: it binds the filter of the request only.
        let filter = Filter { within, ..filter };
        let size = match view {
            DecisionView::Full => size.min(MAX_FULL_PAGE),
            DecisionView::Basic | DecisionView::Unspecified => size,
        };
        let reading = async {
            let page = self.decisions.list(&filter, after.as_ref(), size).await.map_err(status::from_decisions)?;
            self.render_page(page, view).await.map_err(status::from_decisions)
        };
        let (decisions, next) = with_deadline(deadline, reading).await?;
        let next_page_token = next.map(|next| page_token::encode(&binding, &next)).unwrap_or_default();
        Ok(Response::new(ListDecisionsResponse { decisions, next_page_token }))
    }

    async fn replay_decision(
        &self,
        request: Request<ReplayDecisionRequest>,
    ) -> Result<Response<ReplayDecisionResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let within = authorization(request.extensions())?.narrowed_to();
        let request = request.get_ref();
        let mut fields = Fields::default();
        let id = parse_name(&mut fields, &request.name);
        let draft = request.simulated_policy.as_ref().map(|SimulatedPolicy::Draft(draft)| draft);
        let policy = draft.and_then(|draft| policy_fields::parse_draft(&mut fields, "draft", draft));
        let id = fields.finish(id)?;
        let replaying = async {
            let entry = self.decisions.entry_within(&id, within.as_deref()).await?;
            self.decisions.replay(entry, policy).await
        };
        let replayed = with_deadline(deadline, async { replaying.await.map_err(status::from_decisions) }).await?;
        // Both have labels or texts of their own, which the budget of a decision leaves room for.
        let half = || ByteBudget::shared_by(2);
        Ok(Response::new(ReplayDecisionResponse {
            recorded: Some(render_decision(&replayed.recorded, half())),
            simulation: Some(render_simulation(&replayed.replayed, half())),
            same: replayed.same,
        }))
    }

    async fn watch_decisions(
        &self,
        request: Request<WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        let mut fields = Fields::default();
        let filter = parse_filter(&mut fields, request.get_ref().filter.as_ref());
        fields.finish(Some(()))?;
        let filter = Filter { within: authorization(request.extensions())?.narrowed_to(), ..filter };
        let store = self.policies.store_identity().await.map_err(status::from_policies)?;
        let tokens = ResumeTokens { method: "WatchDecisions", store };
        let bookmark: Option<Bookmark> = tokens.decode(&request.get_ref().resume_token)?;
        let permit = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| status::overloaded())?;
        let cursors = match bookmark {
            Some(bookmark) => self.decisions.resume(&bookmark).await,
            None => self.decisions.tail_positions().await,
        };
        let (sender, receiver) = mpsc::channel(WATCH_BUFFER);
        let watching = Arc::clone(&self.decisions).watch(filter, cursors.map_err(status::from_decisions)?, sender);
        streaming::spawn_until(&self.stopping, watching);
        let events = streaming::from_channel(receiver, permit)
            .map(move |event| event.map(|event| render_event(event, tokens)).map_err(status::from_decisions));
        Ok(Response::new(streaming::or_shutting_down(events, self.stopping.clone())))
    }
}

fn render_event(event: WatchEvent, tokens: ResumeTokens) -> WatchDecisionsResponse {
    let WatchEvent { decision, bookmark } = event;
    let event = match decision {
        Some(decision) => Event::Decision(render_listed(&decision)),
        None => Event::Heartbeat(Heartbeat {}),
    };
    WatchDecisionsResponse { event: Some(event), resume_token: tokens.encode(&bookmark) }
}

fn render_listed(listed: &ListedDecision) -> v1::Decision {
    match listed {
        ListedDecision::Recorded(recorded) => render_decision(recorded, ByteBudget::decision()),
        ListedDecision::Unreadable(unreadable) => render_unreadable(unreadable),
    }
}

/// Parses a view; unspecified is the default of the method.
fn parse_view(fields: &mut Fields, view: i32, default: DecisionView) -> DecisionView {
    match DecisionView::try_from(view) {
        Ok(DecisionView::Unspecified) => default,
        Ok(view) => view,
        Err(_) => {
            fields.refuse("view", "must be DECISION_VIEW_BASIC or DECISION_VIEW_FULL");
            default
        }
    }
}

/// Parses `decisions/{id}`.
fn parse_name(fields: &mut Fields, name: &str) -> Option<DecisionId> {
    let Some(id) = name.strip_prefix("decisions/") else {
        fields.refuse("name", "must have the form decisions/{id}");
        return None;
    };
    fields.check("name", id.parse())
}

fn parse_filter(fields: &mut Fields, wire: Option<&v1::DecisionFilter>) -> Filter {
    let Some(wire) = wire else { return Filter::default() };
    let policy =
        if wire.policy.is_empty() { None } else { policy_fields::parse_name(fields, "filter.policy", &wire.policy) };
    let filter = Filter {
        repository: fields.optional("filter.repository", &wire.repository, RepositoryName::parse),
        digest: fields.optional("filter.digest", &wire.digest, Digest::parse),
        environment: fields.optional("filter.environment", &wire.environment, Environment::parse),
        verdicts: fields
            .each("filter.verdicts", &wire.verdicts, |fields, path, verdict| parse_verdict(fields, path, *verdict)),
        policy,
        caller: Some(wire.caller.clone()).filter(|caller| !caller.is_empty()),
        start: parse_timestamp(fields, "filter.start_time", wire.start_time.as_ref()),
        end: parse_timestamp(fields, "filter.end_time", wire.end_time.as_ref()),
        within: None,
    };
    if filter.start.zip(filter.end).is_some_and(|(start, end)| end <= start) {
        fields.refuse_as(FieldReason::OutOfRange, "filter.end_time", "must be later than start_time");
    }
    filter
}
