//! The peer: a stock tonic server with an answer made beforehand, as a program of its own. It has the system's allocator, as a
//! server has that nobody has tuned.
//!
//! `scangate-bench-peer FILE` serves the answer in the file, and prints where.

use prost::Message as _;
use scangate_proto::v1::{
    BatchEvaluateGateRequest, BatchEvaluateGateResponse, ConfigureScanningRequest, ConfigureScanningResponse,
    EvaluateGateRequest, EvaluateGateResponse, GetFindingsRequest, GetFindingsResponse, StartScanRequest,
    StartScanResponse, WatchScanRequest, WatchScanResponse,
    scan_gate_service_server::{ScanGateService, ScanGateServiceServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

struct Canned(EvaluateGateResponse);

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("only EvaluateGate is measured"))
}

#[tonic::async_trait]
impl ScanGateService for Canned {
    type WatchScanStream = tokio_stream::Empty<Result<WatchScanResponse, Status>>;

    async fn configure_scanning(
        &self,
        _: Request<ConfigureScanningRequest>,
    ) -> Result<Response<ConfigureScanningResponse>, Status> {
        not_here()
    }

    async fn start_scan(&self, _: Request<StartScanRequest>) -> Result<Response<StartScanResponse>, Status> {
        not_here()
    }

    async fn get_findings(&self, _: Request<GetFindingsRequest>) -> Result<Response<GetFindingsResponse>, Status> {
        not_here()
    }

    async fn evaluate_gate(&self, _: Request<EvaluateGateRequest>) -> Result<Response<EvaluateGateResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn batch_evaluate_gate(
        &self,
        _: Request<BatchEvaluateGateRequest>,
    ) -> Result<Response<BatchEvaluateGateResponse>, Status> {
        not_here()
    }

    async fn watch_scan(&self, _: Request<WatchScanRequest>) -> Result<Response<Self::WatchScanStream>, Status> {
        not_here()
    }
}

#[tokio::main]
async fn main() {
    tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new()).unwrap();
    let file = std::env::args().nth(1).expect("the file with the answer");
    let answer = EvaluateGateResponse::decode(&*std::fs::read(file).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = ScanGateServiceServer::new(Canned(answer));
    Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
}
