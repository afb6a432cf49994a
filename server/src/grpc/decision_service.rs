//! `DecisionService`: recorded decisions.

use std::{sync::Arc, time::Duration};

use scangate_core::{
    image::{Digest, RepositoryName},
    name::Environment,
};
use scangate_proto::v1::{
    self, GetDecisionRequest, GetDecisionResponse, ListDecisionsRequest, ListDecisionsResponse, ReplayDecisionRequest,
    ReplayDecisionResponse, WatchDecisionsRequest, WatchDecisionsResponse, decision_service_server,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{
        decision::{FindingLimit, parse_verdict, render_decision, render_simulation},
        policy as policy_fields,
        time::parse_timestamp,
    },
    deadline::{parse_deadline, with_deadline},
    field_violations::{FieldReason, Fields},
    page_token, status,
    streaming::{self, ResponseStream},
};
use crate::{
    decision_log::{Cursor, DecisionId, Filter},
    decisions::{Decisions, WatchEvent},
};

/// The most concurrent WatchDecisions streams.
const MAX_WATCHES: usize = 256;
/// The events buffered for a slow receiver.
const WATCH_BUFFER: usize = 16;
/// The most decisions in one page. Each may list findings, so this bounds the size of the response.
const MAX_PAGE: usize = 1_000;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct DecisionService {
    decisions: Arc<Decisions>,
    watches: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl DecisionService {
    /// A service over the recorded decisions. Its streams end when `stopping` is cancelled.
    pub(crate) fn new(decisions: Arc<Decisions>, stopping: CancellationToken) -> Self {
        Self { decisions, watches: Arc::new(Semaphore::new(MAX_WATCHES)), stopping }
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
        let id = fields.finish(id)?;
        let recorded =
            with_deadline(deadline, async { self.decisions.get(&id).await.map_err(status::from_decisions) }).await?;
        Ok(Response::new(GetDecisionResponse { decision: Some(render_decision(&recorded, FindingLimit::Single)) }))
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let request = request.get_ref();
        let mut fields = Fields::default();
        let filter = parse_filter(&mut fields, request.filter.as_ref());
        let size = page_token::parse_size(&mut fields, request.page_size).min(MAX_PAGE);
        let binding = format!("{filter:?}");
        let after = page_token::decode::<Cursor>(&mut fields, &binding, &request.page_token);
        fields.finish(Some(()))?;
        let reading =
            async { self.decisions.list(&filter, after.as_ref(), size).await.map_err(status::from_decisions) };
        let (decisions, next) = with_deadline(deadline, reading).await?;
        Ok(Response::new(ListDecisionsResponse {
            decisions: decisions.iter().map(|recorded| render_decision(recorded, FindingLimit::Batch)).collect(),
            next_page_token: next.map(|next| page_token::encode(&binding, &next)).unwrap_or_default(),
        }))
    }

    async fn replay_decision(
        &self,
        request: Request<ReplayDecisionRequest>,
    ) -> Result<Response<ReplayDecisionResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let request = request.get_ref();
        let mut fields = Fields::default();
        let id = parse_name(&mut fields, &request.name);
        let policy = request.policy.as_ref().and_then(|policy| {
            let id = policy_fields::parse_draft_name(&mut fields, &policy.name);
            policy_fields::parse_policy(&mut fields, id, Some(policy))
        });
        let id = fields.finish(id)?;
        let replaying = async { self.decisions.replay(&id, policy).await.map_err(status::from_decisions) };
        let replayed = with_deadline(deadline, replaying).await?;
        Ok(Response::new(ReplayDecisionResponse {
            recorded: Some(render_decision(&replayed.recorded, FindingLimit::Single)),
            replayed: Some(render_simulation(&replayed.replayed)),
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
        let permit = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| status::overloaded())?;
        let cursors = self.decisions.tail_positions().await.map_err(status::from_decisions)?;
        let (sender, receiver) = mpsc::channel(WATCH_BUFFER);
        let watching = Arc::clone(&self.decisions).watch(filter, cursors, sender);
        tokio::spawn(self.stopping.clone().run_until_cancelled_owned(watching));
        let events = streaming::from_channel(receiver, permit);
        Ok(Response::new(Box::pin(events.map(|event| event.map(render_event).map_err(status::from_decisions)))))
    }
}

fn render_event(event: WatchEvent) -> WatchDecisionsResponse {
    let decision = match event {
        WatchEvent::Decision(decision) => Some(render_decision(&decision, FindingLimit::Batch)),
        WatchEvent::Heartbeat => None,
    };
    WatchDecisionsResponse { decision }
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
        start: parse_timestamp(fields, "filter.start_time", wire.start_time.as_ref()),
        end: parse_timestamp(fields, "filter.end_time", wire.end_time.as_ref()),
    };
    if filter.start.zip(filter.end).is_some_and(|(start, end)| end <= start) {
        fields.refuse_as(FieldReason::OutOfRange, "filter.end_time", "must be later than start_time");
    }
    filter
}
