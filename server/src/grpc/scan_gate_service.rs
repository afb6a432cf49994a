//! `ScanGateService`: validate, one call, convert.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use scangate_core::Verdict;
use scangate_proto::v1::{
    BatchEvaluateGateItem, BatchEvaluateGateRequest, BatchEvaluateGateResponse, ConfigureScanningRequest,
    ConfigureScanningResponse, Decision, EvaluateGateRequest, EvaluateGateResponse, GetFindingsRequest,
    GetFindingsResponse, StartScanRequest, StartScanResponse, WatchScanRequest, WatchScanResponse,
    batch_evaluate_gate_item, scan_gate_service_server,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status};

use super::{
    Services,
    convert::{
        decision::{self, FindingLimit},
        evaluate_request, image, scan, scanning as scanning_fields,
    },
    deadline::{parse_deadline, with_deadline},
    field_violations::Fields,
    status,
    streaming::{self, ResponseStream},
};
use crate::{
    decisions::{EvaluatedDecision, RecordedDecision},
    evaluation::Evaluator,
    findings, scanning_config, scans,
};

/// The most images of one batch.
const MAX_BATCH: usize = 100;
/// How many images of a batch are decided on at once.
const BATCH_CONCURRENCY: usize = 16;
/// The most scans that are watched at once.
const MAX_WATCHES: usize = 1024;

/// The service over the use cases.
#[derive(Clone, Debug)]
pub(crate) struct ScanGateService {
    services: Services,
    watches: Arc<Semaphore>,
}

impl ScanGateService {
    /// The service.
    pub(crate) fn new(services: Services) -> Self {
        Self { services, watches: Arc::new(Semaphore::new(MAX_WATCHES)) }
    }

    /// The answer to one question.
    pub(super) async fn evaluate(&self, request: Request<EvaluateGateRequest>) -> Result<RecordedDecision, Status> {
        let deadline = parse_deadline(request.metadata(), wait(request.get_ref()));
        evaluate(&self.services.gate, request.into_inner(), deadline).await
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
        let configured = with_deadline(deadline, async {
            scanning_config::configure(registry, target, intent).await.map_err(status::from_registry)
        });
        Ok(Response::new(scanning_fields::render_configured(&configured.await?)))
    }

    async fn start_scan(&self, request: Request<StartScanRequest>) -> Result<Response<StartScanResponse>, Status> {
        let deadline = parse_deadline(request.metadata(), Duration::ZERO);
        let mut fields = Fields::default();
        let reference = image::parse_image_reference(&mut fields, "image", &request.get_ref().image);
        let platforms = image::parse_platforms(&mut fields, &request.get_ref().platforms);
        let reference = fields.finish(reference)?;
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
            evaluate_request::parse_findings_query(request.get_ref(), self.services.findings_max_age)?;
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
        // Over the wire `front` answers, which says the same in bytes.
        let answer = self.evaluate(request).await?;
        Ok(Response::new(EvaluateGateResponse {
            decision: Some(decision::render_decision(&answer, FindingLimit::Single)),
        }))
    }

    async fn batch_evaluate_gate(
        &self,
        request: Request<BatchEvaluateGateRequest>,
    ) -> Result<Response<BatchEvaluateGateResponse>, Status> {
        let longest = request.get_ref().requests.iter().map(wait).max().unwrap_or_default();
        let deadline = parse_deadline(request.metadata(), longest);
        let requests = request.into_inner().requests;
        let mut fields = Fields::default();
        if requests.is_empty() {
            fields.refuse("requests", "must have at least one request");
        }
        fields.check_length("requests", requests.len(), MAX_BATCH);
        fields.finish(Some(()))?;
        let items = evaluate_all(&self.services.gate, requests, deadline).await?;
        let verdict = decision::render_verdict(aggregate(&items)).into();
        Ok(Response::new(BatchEvaluateGateResponse { items, verdict }))
    }

    async fn watch_scan(&self, request: Request<WatchScanRequest>) -> Result<Response<Self::WatchScanStream>, Status> {
        let mut fields = Fields::default();
        let reference = image::parse_image_reference(&mut fields, "image", &request.get_ref().image);
        let platforms = image::parse_platforms(&mut fields, &request.get_ref().platforms);
        let reference = fields.finish(reference)?;
        let place = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| status::overloaded())?;
        // One message ahead of a slow reader is enough: the next look is as good.
        let (tell, told) = mpsc::channel(1);
        tokio::spawn(scans::watch(Arc::clone(&self.services.registry), reference, platforms, tell));
        let progress = streaming::from_channel(told, place)
            .map(|progress| progress.map(|progress| scan::render_progress(&progress)).map_err(status::from_scans));
        Ok(Response::new(Box::pin(progress)))
    }
}

/// How long a call asks to wait; what is malformed is refused later.
fn wait(request: &EvaluateGateRequest) -> Duration {
    request.wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default()
}

async fn evaluate(
    gate: &Evaluator,
    request: EvaluateGateRequest,
    deadline: Instant,
) -> Result<RecordedDecision, Status> {
    let question = evaluate_request::parse_evaluate_request(request)?;
    with_deadline(deadline, async {
        let answer = gate.evaluate(question, Some(deadline)).await.map_err(status::from_evaluation)?;
        let EvaluatedDecision { image, decision, .. } = &*answer.evaluated;
        tracing::info!(
            decision = %answer.id,
            image = %image.pinned(&image.digest),
            verdict = ?decision.verdict,
            revision = decision.revision,
            "decided"
        );
        Ok(answer)
    })
    .await
}

/// Decides on every request, a bounded number at once, and answers in their order.
async fn evaluate_all(
    gate: &Evaluator,
    requests: Vec<EvaluateGateRequest>,
    deadline: Instant,
) -> Result<Vec<BatchEvaluateGateItem>, Status> {
    let places = Arc::new(Semaphore::new(BATCH_CONCURRENCY));
    let mut evaluations = JoinSet::new();
    let request_id = super::current_request_id();
    for (at, request) in requests.into_iter().enumerate() {
        let (gate, places) = (gate.clone(), Arc::clone(&places));
        let evaluation = async move {
            let _place = places.acquire().await;
            let answer = evaluate(&gate, request, deadline).await;
            (at, answer.map(|answer| decision::render_decision(&answer, FindingLimit::Batch)))
        };
        evaluations.spawn(super::middleware::with_request_id(request_id.clone(), evaluation));
    }
    let mut items = Vec::with_capacity(evaluations.len());
    while let Some(evaluated) = evaluations.join_next().await {
        let (at, decided) = evaluated.map_err(|_| status::internal("an item of a batch was lost"))?;
        items.push((at, item(decided)));
    }
    items.sort_by_key(|(at, _)| *at);
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

fn item(decided: Result<Decision, Status>) -> BatchEvaluateGateItem {
    let result = match decided {
        Ok(decision) => batch_evaluate_gate_item::Result::Decision(decision),
        Err(refused) => batch_evaluate_gate_item::Result::Error(status::to_message(&refused)),
    };
    BatchEvaluateGateItem { result: Some(result) }
}

/// DENY where any is denied; else INDETERMINATE where any is not allowed; ALLOW where all are.
fn aggregate(items: &[BatchEvaluateGateItem]) -> Verdict {
    let verdict = |item: &BatchEvaluateGateItem| match &item.result {
        Some(batch_evaluate_gate_item::Result::Decision(decision)) => match decision.verdict() {
            scangate_proto::v1::Verdict::Allow => Verdict::Allow,
            scangate_proto::v1::Verdict::Indeterminate => Verdict::Indeterminate,
            scangate_proto::v1::Verdict::Deny | scangate_proto::v1::Verdict::Unspecified => Verdict::Deny,
        },
        Some(batch_evaluate_gate_item::Result::Error(_)) | None => Verdict::Indeterminate,
    };
    items.iter().map(verdict).max().unwrap_or(Verdict::Deny)
}
