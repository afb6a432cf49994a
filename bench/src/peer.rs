//! The peer: a stock tonic server that returns a canned response, as a program of its own. It uses the system's allocator,
//! like a server without tuning.
//!
//! `scangate-bench-peer FILE [CERTIFICATE KEY [CLIENT_CA]]` serves the response in the file, over tonic's own TLS if it has a
//! certificate, and prints its address.

use prost::Message as _;
use scangate_proto::v1::{
    BatchEvaluateGateRequest, BatchEvaluateGateResponse, ConfigureScanningRequest, ConfigureScanningResponse,
    EvaluateGateRequest, EvaluateGateResponse, GetFindingsRequest, GetFindingsResponse, SimulateGateRequest,
    SimulateGateResponse, StartScanRequest, StartScanResponse, WatchScanRequest, WatchScanResponse,
    scan_gate_service_server::{ScanGateService, ScanGateServiceServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

struct CannedService(EvaluateGateResponse);

fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("only EvaluateGate is measured"))
}

#[tonic::async_trait]
impl ScanGateService for CannedService {
    type WatchScanStream = tokio_stream::Empty<Result<WatchScanResponse, Status>>;

    async fn configure_scanning(
        &self,
        _: Request<ConfigureScanningRequest>,
    ) -> Result<Response<ConfigureScanningResponse>, Status> {
        unimplemented()
    }

    async fn start_scan(&self, _: Request<StartScanRequest>) -> Result<Response<StartScanResponse>, Status> {
        unimplemented()
    }

    async fn get_findings(&self, _: Request<GetFindingsRequest>) -> Result<Response<GetFindingsResponse>, Status> {
        unimplemented()
    }

    async fn evaluate_gate(&self, _: Request<EvaluateGateRequest>) -> Result<Response<EvaluateGateResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn batch_evaluate_gate(
        &self,
        _: Request<BatchEvaluateGateRequest>,
    ) -> Result<Response<BatchEvaluateGateResponse>, Status> {
        unimplemented()
    }

    async fn simulate_gate(&self, _: Request<SimulateGateRequest>) -> Result<Response<SimulateGateResponse>, Status> {
        unimplemented()
    }

    async fn watch_scan(&self, _: Request<WatchScanRequest>) -> Result<Response<Self::WatchScanStream>, Status> {
        unimplemented()
    }
}

#[tokio::main]
async fn main() {
    tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new()).unwrap();
    let files: Vec<Vec<u8>> = std::env::args().skip(1).map(|file| std::fs::read(file).unwrap()).collect();
    let (response, tls) = files.split_first().expect("usage: scangate-bench-peer FILE [CERTIFICATE KEY [CLIENT_CA]]");
    let response = EvaluateGateResponse::decode(&**response).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = ScanGateServiceServer::new(CannedService(response));
    let mut server = Server::builder();
    if let [certificate, key, authority @ ..] = tls {
        let mut config = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        if let [authority] = authority {
            config = config.client_ca_root(Certificate::from_pem(authority));
        }
        server = server.tls_config(config).unwrap();
    }
    server.add_service(service).serve_with_incoming(incoming).await.unwrap();
}
