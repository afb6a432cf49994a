//! `ScanGateService`: scans, findings and decisions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::Extensions;
use scangate_core::{
    Verdict,
    image::{ImageReference, Platform},
};
use scangate_proto::v1::{
    self, BatchEvaluateGateItem, BatchEvaluateGateRequest, BatchEvaluateGateResponse, ConfigureScanningRequest,
    ConfigureScanningResponse, EvaluateGateRequest, EvaluateGateResponse, GetFindingsRequest, GetFindingsResponse,
    SimulateGateRequest, SimulateGateResponse, StartScanRequest, StartScanResponse, WatchScanRequest,
    WatchScanResponse, batch_evaluate_gate_item, scan_gate_service_server,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status};

use super::{
    Services,
    byte_budget::ByteBudget,
    callers::authorization,
    convert::{decision, evaluate_request, image, scan, scanning as scanning_fields},
    current_call::{self, Effect},
    deadline::{parse_deadline, with_deadline},
    field_violations::Fields,
    middleware::RefusedItems,
    status,
    streaming::{self, ResponseStream},
};
use crate::{
    auth::Authorization,
    decisions::Evaluation,
    evaluation::{Evaluated, Evaluator},
    findings, scanning_config, scans,
};

/// The most requests in one batch.
const MAX_BATCH: usize = 100;
/// The most requests of one batch that are evaluated concurrently.
const BATCH_CONCURRENCY: usize = 16;
/// The longest time without a message of WatchScan.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// The most concurrent WatchScan streams.
const MAX_WATCHES: usize = 1024;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct ScanGateService {
    services: Services,
    watches: Arc<Semaphore>,
}

impl ScanGateService {
    /// A service over the use cases.
    pub(crate) fn new(services: Services) -> Self {
        Self { services, watches: Arc::new(Semaphore::new(MAX_WATCHES)) }
    }

    /// Evaluates one request; the fast path and EvaluateGate share it.
    pub(super) async fn evaluate(&self, request: Request<EvaluateGateRequest>) -> Result<Evaluated, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let deadline = parse_deadline(&metadata, wait(request.wait));
        evaluate(&self.services.gate, authorization(&extensions)?, request, deadline).await
    }
}

#[tonic::async_trait]
impl scan_gate_service_server::ScanGateService for ScanGateService {
    type WatchScanStream = ResponseStream<WatchScanResponse>;

    async fn configure_scanning(
        &self,
        request: Request<ConfigureScanningRequest>,
    ) -> Result<Response<ConfigureScanningResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let registry = &self.services.registry;
        let (target, intent) = scanning_fields::parse_target(request.get_ref(), registry.default_registry())?;
        if request.get_ref().validate_only {
            current_call::set_effect(Effect::DryRun);
        }
        check_scanning_target(authorization(request.extensions())?, &target)?;
        let configured = with_deadline(deadline, async {
            scanning_config::configure(registry, target, intent).await.map_err(status::from_registry)
        });
        Ok(Response::new(scanning_fields::render_configured(&configured.await?)))
    }

    async fn start_scan(&self, request: Request<StartScanRequest>) -> Result<Response<StartScanResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let (reference, platforms) = parse_selection(&request.get_ref().image, &request.get_ref().platforms)?;
        current_call::set_target(reference.repository.to_string());
        check_repository(request.extensions(), &reference)?;
        let (image, started) = with_deadline(deadline, async {
            scans::start(&self.services.registry, &reference, &platforms).await.map_err(status::from_scans)
        })
        .await?;
        Ok(Response::new(StartScanResponse {
            image: Some(image::render_image(&image)),
            scans: started.iter().map(scan::render_started).collect(),
        }))
    }

    async fn get_findings(
        &self,
        request: Request<GetFindingsRequest>,
    ) -> Result<Response<GetFindingsResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let (query, binding) =
            evaluate_request::parse_findings_query(request.get_ref(), self.services.gate.findings_max_age())?;
        check_repository(request.extensions(), &query.image)?;
        let page = with_deadline(deadline, async {
            findings::read_page(&self.services.registry, &query).await.map_err(status::from_findings)
        })
        .await?;
        Ok(Response::new(decision::render_findings_page(&page, &binding)))
    }

    async fn evaluate_gate(
        &self,
        request: Request<EvaluateGateRequest>,
    ) -> Result<Response<EvaluateGateResponse>, Status> {
        // Reached only in process: calls from the network take `evaluate_fast_path`, which sends the same response.
        let Evaluated { recorded, replayed } = self.evaluate(request).await?;
        Ok(Response::new(EvaluateGateResponse {
            decision: Some(decision::render_decision(&recorded, ByteBudget::decision())),
            replayed,
        }))
    }

    async fn batch_evaluate_gate(
        &self,
        request: Request<BatchEvaluateGateRequest>,
    ) -> Result<Response<BatchEvaluateGateResponse>, Status> {
        let (metadata, extensions, BatchEvaluateGateRequest { requests }) = request.into_parts();
        let longest_wait = requests.iter().map(|request| wait(request.wait)).max().unwrap_or_default();
        let deadline = parse_deadline(&metadata, longest_wait);
        let mut fields = Fields::default();
        if requests.is_empty() {
            fields.require("requests", "must have at least one request");
        }
        fields.check_length("requests", requests.len(), MAX_BATCH);
        evaluate_request::check_request_ids(&mut fields, &requests);
        fields.finish(Some(()))?;
        let items = evaluate_all(&self.services.gate, authorization(&extensions)?, requests, deadline).await?;
        let verdict = decision::render_verdict(aggregate(&items)).into();
        let refused = items.iter().filter(|item| is_refused(item)).count();
        let mut response = Response::new(BatchEvaluateGateResponse { items, verdict });
        response.extensions_mut().insert(RefusedItems(refused));
        Ok(response)
    }

    async fn simulate_gate(
        &self,
        request: Request<SimulateGateRequest>,
    ) -> Result<Response<SimulateGateResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), wait(request.get_ref().wait));
        let authorization = authorization(request.extensions())?.clone();
        let request = evaluate_request::parse_simulate_request(request.get_ref())?;
        let covered = authorization.check(&request.image.repository, request.environment.as_ref());
        covered.map_err(status::from_refusal)?;
        let simulating =
            async { self.services.gate.simulate(request, Some(deadline)).await.map_err(status::from_evaluation) };
        let simulation = with_deadline(deadline, simulating).await?;
        let simulation = decision::render_simulation(&simulation, ByteBudget::response());
        Ok(Response::new(SimulateGateResponse { simulation: Some(simulation) }))
    }

    async fn watch_scan(&self, request: Request<WatchScanRequest>) -> Result<Response<Self::WatchScanStream>, Status> {
        let (reference, platforms) = parse_selection(&request.get_ref().image, &request.get_ref().platforms)?;
        check_repository(request.extensions(), &reference)?;
        let permit = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| status::overloaded())?;
        // One buffered message is enough: a slow reader then gets the newest state.
        let (sender, receiver) = mpsc::channel(1);
        let watching = scans::watch(Arc::clone(&self.services.registry), reference, platforms, sender);
        streaming::spawn_until(&self.services.stopping, watching);
        let progress = streaming::from_channel(receiver, permit)
            .map(|progress| progress.map(|progress| scan::render_progress(&progress)).map_err(status::from_scans));
        let progress = streaming::with_heartbeats(progress, HEARTBEAT_INTERVAL, scan::render_heartbeat);
        Ok(Response::new(streaming::or_shutting_down(progress, self.services.stopping.clone())))
    }
}

/// Refuses an image outside the scopes of the caller, before anything is read.
fn check_repository(extensions: &Extensions, image: &ImageReference) -> Result<(), Status> {
    authorization(extensions)?.check_repository(&image.repository).map_err(status::from_refusal)
}

/// Refuses a change of scanning outside the scopes of the caller, and names the target of its audit line.
fn check_scanning_target(authorization: &Authorization, target: &scanning_config::Target) -> Result<(), Status> {
    let covered = match target {
        scanning_config::Target::Repository { repository, .. } => {
            current_call::set_target(repository.to_string());
            authorization.check_repository(&repository.name)
        }
        scanning_config::Target::Registry { registry, .. } => {
            current_call::set_target(registry.to_string());
            authorization.check_registry()
        }
    };
    covered.map_err(status::from_refusal)
}

/// Parses the image and the platforms that a request selects.
fn parse_selection(image: &str, platforms: &[v1::Platform]) -> Result<(ImageReference, Vec<Platform>), Status> {
    let mut fields = Fields::default();
    let selection = image::parse_selection(&mut fields, image, platforms);
    fields.finish(selection)
}

/// Returns the requested wait; a malformed one counts as zero here and is refused later.
fn wait(requested: Option<prost_types::Duration>) -> Duration {
    requested.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default()
}

async fn evaluate(
    gate: &Evaluator,
    caller: &Authorization,
    request: EvaluateGateRequest,
    deadline: Instant,
) -> Result<Evaluated, Status> {
    let request = evaluate_request::parse_evaluate_request(caller.name(), request, gate.request_id_window())?;
    caller.check(&request.image.repository, request.environment.as_ref()).map_err(status::from_refusal)?;
    with_deadline(deadline, async {
        let evaluated = gate.evaluate(request, Some(deadline)).await.map_err(status::from_evaluation)?;
        let Evaluation { image, decision, .. } = &evaluated.recorded.evaluated.evaluation;
        tracing::info!(
            decision = %evaluated.recorded.id,
            image = %image.pinned(&image.digest),
            verdict = ?decision.verdict,
            revision = decision.revision,
            replayed = evaluated.replayed,
            "decision recorded"
        );
        Ok(evaluated)
    })
    .await
}

/// Evaluates every request, a bounded number concurrently, and returns the items in request order.
async fn evaluate_all(
    gate: &Evaluator,
    caller: &Authorization,
    requests: Vec<EvaluateGateRequest>,
    deadline: Instant,
) -> Result<Vec<BatchEvaluateGateItem>, Status> {
    let permits = Arc::new(Semaphore::new(BATCH_CONCURRENCY));
    let count = requests.len();
    let mut evaluations = JoinSet::new();
    let request_id = current_call::request_id();
    for (index, request) in requests.into_iter().enumerate() {
        let (gate, caller, permits) = (gate.clone(), caller.clone(), Arc::clone(&permits));
        let evaluation = async move {
            let _permit = permits.acquire().await;
            let evaluated = evaluate(&gate, &caller, request, deadline).await;
            (index, batch_item(evaluated, ByteBudget::shared_by(count)))
        };
        evaluations.spawn(current_call::with_request_id(request_id.clone(), evaluation));
    }
    let mut items = Vec::with_capacity(evaluations.len());
    while let Some(evaluated) = evaluations.join_next().await {
        items.push(evaluated.map_err(|_| status::internal("batch evaluation task failed"))?);
    }
    items.sort_by_key(|(index, _)| *index);
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// An item within an equal part of the response. So no image can take the place of another's details.
fn batch_item(evaluated: Result<Evaluated, Status>, mut budget: ByteBudget) -> BatchEvaluateGateItem {
    use batch_evaluate_gate_item::Result::{Error, Response};
    let result = match evaluated {
        Ok(Evaluated { recorded, replayed }) => {
            budget.charge(&decision::render_recorded_fields(&recorded));
            let decision = Some(decision::render_decision(&recorded, budget));
            Response(EvaluateGateResponse { decision, replayed })
        }
        Err(status) => Error(status::to_item_error(&status)),
    };
    BatchEvaluateGateItem { result: Some(result) }
}

/// True if the item is outside the scopes of the caller.
fn is_refused(item: &BatchEvaluateGateItem) -> bool {
    let Some(batch_evaluate_gate_item::Result::Error(error)) = &item.result else { return false };
    error.code == Code::PermissionDenied as i32
}

/// Aggregates the verdicts: DENY if any item is denied, else INDETERMINATE if any is not allowed, else ALLOW.
fn aggregate(items: &[BatchEvaluateGateItem]) -> Verdict {
    let verdict = |item: &BatchEvaluateGateItem| match &item.result {
        Some(batch_evaluate_gate_item::Result::Response(response)) => {
            match response.decision.as_ref().map(v1::Decision::verdict) {
                Some(v1::Verdict::Allow) => Verdict::Allow,
                Some(v1::Verdict::Indeterminate) => Verdict::Indeterminate,
                Some(v1::Verdict::Deny | v1::Verdict::Unspecified) | None => Verdict::Deny,
            }
        }
        Some(batch_evaluate_gate_item::Result::Error(_)) | None => Verdict::Indeterminate,
    };
    items.iter().map(verdict).max().unwrap_or(Verdict::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(verdict: Option<v1::Verdict>) -> BatchEvaluateGateItem {
        use batch_evaluate_gate_item::Result::{Error, Response};
        let result = match verdict {
            Some(verdict) => {
                let decision = Some(v1::Decision { verdict: verdict.into(), ..v1::Decision::default() });
                Response(EvaluateGateResponse { decision, replayed: false })
            }
            None => Error(status::to_item_error(&Status::not_found("image"))),
        };
        BatchEvaluateGateItem { result: Some(result) }
    }

    #[test]
    fn batch_is_allowed_only_if_every_item_is() {
        let results = [Some(v1::Verdict::Allow), Some(v1::Verdict::Indeterminate), Some(v1::Verdict::Deny), None];
        for one in results {
            for other in results {
                let items = [item(Some(v1::Verdict::Allow)), item(one), item(other)];

                let all_allowed = one == results[0] && other == results[0];
                assert_eq!(aggregate(&items) == Verdict::Allow, all_allowed, "{one:?} {other:?}");
            }
        }
        assert_ne!(aggregate(&[BatchEvaluateGateItem::default()]), Verdict::Allow);
        assert_ne!(aggregate(&[]), Verdict::Allow);
    }
}
