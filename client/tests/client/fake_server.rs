//! A scripted server: it returns prepared responses and records the requests.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use scangate_client::{Client, ConnectOptions, RetryPolicy, v1::*};
use scangate_proto::v1::{
    policy_service_server::{PolicyService, PolicyServiceServer},
    scan_gate_service_server::{ScanGateService, ScanGateServiceServer},
};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::{
    Stream,
    wrappers::{TcpListenerStream, UnixListenerStream},
};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Server, ServerTlsConfig, server::Router},
};

/// The responses of one method, in order; the last one is repeated. Without a response, the call hangs.
pub struct Script<Q, R> {
    responses: Mutex<VecDeque<Result<R, Status>>>,
    calls: Mutex<Vec<(Q, MetadataMap)>>,
}

impl<Q, R> Default for Script<Q, R> {
    fn default() -> Self {
        Self { responses: Mutex::default(), calls: Mutex::default() }
    }
}

impl<Q: Clone, R: Clone> Script<Q, R> {
    pub fn respond_with(&self, responses: impl IntoIterator<Item = Result<R, Status>>) {
        self.responses.lock().unwrap().extend(responses);
    }

    pub fn requests(&self) -> Vec<Q> {
        self.calls.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let calls = self.calls.lock().unwrap();
        calls.last().and_then(|(_, headers)| headers.get(name)).map(|value| value.to_str().unwrap().to_owned())
    }

    async fn next_response(&self, request: Request<Q>) -> Result<Response<R>, Status> {
        let (headers, _, message) = request.into_parts();
        self.calls.lock().unwrap().push((message, headers));
        let response = {
            let mut responses = self.responses.lock().unwrap();
            if responses.len() > 1 { responses.pop_front() } else { responses.front().cloned() }
        };
        match response {
            Some(response) => response.map(Response::new),
            None => std::future::pending().await,
        }
    }
}

#[derive(Default)]
pub struct FakeService {
    pub configure: Script<ConfigureScanningRequest, ConfigureScanningResponse>,
    pub start: Script<StartScanRequest, StartScanResponse>,
    pub findings: Script<GetFindingsRequest, GetFindingsResponse>,
    pub evaluate: Script<EvaluateGateRequest, EvaluateGateResponse>,
    pub simulate: Script<SimulateGateRequest, SimulateGateResponse>,
    pub batch: Script<BatchEvaluateGateRequest, BatchEvaluateGateResponse>,
    pub watch: Script<WatchScanRequest, Vec<Result<WatchScanResponse, Status>>>,
    pub create: Script<CreatePolicyRequest, CreatePolicyResponse>,
    pub get: Script<GetPolicyRequest, GetPolicyResponse>,
    pub list: Script<ListPoliciesRequest, ListPoliciesResponse>,
    pub update: Script<UpdatePolicyRequest, UpdatePolicyResponse>,
    pub delete: Script<DeletePolicyRequest, DeletePolicyResponse>,
}

/// The running server and its address.
pub struct FakeServer {
    pub service: Arc<FakeService>,
    pub address: SocketAddr,
}

pub async fn start() -> FakeServer {
    start_at(([127, 0, 0, 1], 0).into()).await
}

pub async fn start_at(address: SocketAddr) -> FakeServer {
    serve(Server::builder(), TcpListener::bind(address).await.unwrap())
}

pub async fn start_with_tls(tls: ServerTlsConfig) -> FakeServer {
    let server = Server::builder().tls_config(tls).unwrap();
    serve(server, TcpListener::bind("127.0.0.1:0").await.unwrap())
}

/// Starts a server on a Unix socket.
pub fn start_at_socket(path: &Path) -> Arc<FakeService> {
    let (router, service) = router(Server::builder());
    tokio::spawn(router.serve_with_incoming(UnixListenerStream::new(UnixListener::bind(path).unwrap())));
    service
}

fn serve(server: Server, listener: TcpListener) -> FakeServer {
    let address = listener.local_addr().unwrap();
    let (router, service) = router(server);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    FakeServer { service, address }
}

fn router(mut server: Server) -> (Router, Arc<FakeService>) {
    let service = Arc::new(FakeService::default());
    let router = server
        .add_service(ScanGateServiceServer::from_arc(Arc::clone(&service)))
        .add_service(PolicyServiceServer::from_arc(Arc::clone(&service)));
    (router, service)
}

impl FakeServer {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Options with immediate retries, so that tests do not wait.
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::new(self.url()).retry(immediate_retries(4))
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.options()).await.unwrap()
    }
}

pub fn immediate_retries(max_attempts: u32) -> RetryPolicy {
    RetryPolicy::new(max_attempts).base_backoff(std::time::Duration::from_millis(1))
}

#[tonic::async_trait]
impl ScanGateService for FakeService {
    async fn configure_scanning(
        &self,
        request: Request<ConfigureScanningRequest>,
    ) -> Result<Response<ConfigureScanningResponse>, Status> {
        self.configure.next_response(request).await
    }

    async fn start_scan(&self, request: Request<StartScanRequest>) -> Result<Response<StartScanResponse>, Status> {
        self.start.next_response(request).await
    }

    async fn get_findings(
        &self,
        request: Request<GetFindingsRequest>,
    ) -> Result<Response<GetFindingsResponse>, Status> {
        self.findings.next_response(request).await
    }

    async fn evaluate_gate(
        &self,
        request: Request<EvaluateGateRequest>,
    ) -> Result<Response<EvaluateGateResponse>, Status> {
        self.evaluate.next_response(request).await
    }

    async fn batch_evaluate_gate(
        &self,
        request: Request<BatchEvaluateGateRequest>,
    ) -> Result<Response<BatchEvaluateGateResponse>, Status> {
        self.batch.next_response(request).await
    }

    async fn simulate_gate(
        &self,
        request: Request<SimulateGateRequest>,
    ) -> Result<Response<SimulateGateResponse>, Status> {
        self.simulate.next_response(request).await
    }

    type WatchScanStream = Pin<Box<dyn Stream<Item = Result<WatchScanResponse, Status>> + Send>>;

    async fn watch_scan(&self, request: Request<WatchScanRequest>) -> Result<Response<Self::WatchScanStream>, Status> {
        let messages = self.watch.next_response(request).await?.into_inner();
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }
}

macro_rules! not_scripted {
    ($($method:ident($request:ident) -> $response:ident),+ $(,)?) => {
        #[tonic::async_trait]
        impl PolicyService for FakeService {
            async fn create_policy(
                &self,
                request: Request<CreatePolicyRequest>,
            ) -> Result<Response<CreatePolicyResponse>, Status> {
                self.create.next_response(request).await
            }

            async fn get_policy(
                &self,
                request: Request<GetPolicyRequest>,
            ) -> Result<Response<GetPolicyResponse>, Status> {
                self.get.next_response(request).await
            }

            async fn list_policies(
                &self,
                request: Request<ListPoliciesRequest>,
            ) -> Result<Response<ListPoliciesResponse>, Status> {
                self.list.next_response(request).await
            }

            async fn update_policy(
                &self,
                request: Request<UpdatePolicyRequest>,
            ) -> Result<Response<UpdatePolicyResponse>, Status> {
                self.update.next_response(request).await
            }

            async fn delete_policy(
                &self,
                request: Request<DeletePolicyRequest>,
            ) -> Result<Response<DeletePolicyResponse>, Status> {
                self.delete.next_response(request).await
            }

            type PreviewPolicyStream = tokio_stream::Empty<Result<PreviewPolicyResponse, Status>>;

            async fn preview_policy(
                &self,
                _: Request<PreviewPolicyRequest>,
            ) -> Result<Response<Self::PreviewPolicyStream>, Status> {
                Err(Status::unimplemented("not scripted"))
            }

            type WatchPoliciesStream = tokio_stream::Empty<Result<WatchPoliciesResponse, Status>>;

            async fn watch_policies(
                &self,
                _: Request<WatchPoliciesRequest>,
            ) -> Result<Response<Self::WatchPoliciesStream>, Status> {
                Err(Status::unimplemented("not scripted"))
            }

            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("not scripted"))
            })+
        }
    };
}

not_scripted!(
    list_policy_revisions(ListPolicyRevisionsRequest) -> ListPolicyRevisionsResponse,
    rollback_policy(RollbackPolicyRequest) -> RollbackPolicyResponse,
    create_waiver(CreateWaiverRequest) -> CreateWaiverResponse,
    get_waiver(GetWaiverRequest) -> GetWaiverResponse,
    list_waivers(ListWaiversRequest) -> ListWaiversResponse,
    update_waiver(UpdateWaiverRequest) -> UpdateWaiverResponse,
    revoke_waiver(RevokeWaiverRequest) -> RevokeWaiverResponse,
    approve_waiver(ApproveWaiverRequest) -> ApproveWaiverResponse,
    import_waivers(ImportWaiversRequest) -> ImportWaiversResponse,
);
