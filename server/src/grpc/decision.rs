//! `DecisionService`: part of the contract, served by a later version.

use std::pin::Pin;

use scangate_proto::v1::{
    GetDecisionRequest, GetDecisionResponse, ListDecisionsRequest, ListDecisionsResponse, ReplayDecisionRequest,
    ReplayDecisionResponse, WatchDecisionsRequest, WatchDecisionsResponse, decision_service_server::DecisionService,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::status::not_served_yet;

/// Answers that decisions are not kept yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decisions;

type Streaming<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl DecisionService for Decisions {
    type WatchDecisionsStream = Streaming<WatchDecisionsResponse>;

    async fn get_decision(&self, _: Request<GetDecisionRequest>) -> Result<Response<GetDecisionResponse>, Status> {
        Err(not_served_yet("GetDecision"))
    }

    async fn list_decisions(
        &self,
        _: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        Err(not_served_yet("ListDecisions"))
    }

    async fn replay_decision(
        &self,
        _: Request<ReplayDecisionRequest>,
    ) -> Result<Response<ReplayDecisionResponse>, Status> {
        Err(not_served_yet("ReplayDecision"))
    }

    async fn watch_decisions(
        &self,
        _: Request<WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        Err(not_served_yet("WatchDecisions"))
    }
}
