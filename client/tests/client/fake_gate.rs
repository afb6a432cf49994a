//! A gate that answers what it is told and remembers what it was asked.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use scangate_client::{Client, ConnectOptions, RetryPolicy, v1::*};
use scangate_proto::v1::{
    policy_service_server::{PolicyService, PolicyServiceServer},
    scan_gate_service_server::{ScanGateService, ScanGateServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Server, ServerTlsConfig},
};

/// The answers of one method, in order; the last one is repeated. Without any, the call hangs.
pub struct Script<Q, R> {
    answers: Mutex<VecDeque<Result<R, Status>>>,
    calls: Mutex<Vec<(Q, MetadataMap)>>,
}

impl<Q, R> Default for Script<Q, R> {
    fn default() -> Self {
        Self { answers: Mutex::default(), calls: Mutex::default() }
    }
}

impl<Q: Clone, R: Clone> Script<Q, R> {
    pub fn will(&self, answers: impl IntoIterator<Item = Result<R, Status>>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub fn requests(&self) -> Vec<Q> {
        self.calls.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let calls = self.calls.lock().unwrap();
        calls.last().and_then(|(_, headers)| headers.get(name)).map(|value| value.to_str().unwrap().to_owned())
    }

    async fn answer(&self, request: Request<Q>) -> Result<Response<R>, Status> {
        let (headers, _, message) = request.into_parts();
        self.calls.lock().unwrap().push((message, headers));
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
        };
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }
}

#[derive(Default)]
pub struct FakeGate {
    pub configure: Script<ConfigureScanningRequest, ConfigureScanningResponse>,
    pub start: Script<StartScanRequest, StartScanResponse>,
    pub findings: Script<GetFindingsRequest, GetFindingsResponse>,
    pub evaluate: Script<EvaluateGateRequest, EvaluateGateResponse>,
    pub batch: Script<BatchEvaluateGateRequest, BatchEvaluateGateResponse>,
    pub watch: Script<WatchScanRequest, Vec<WatchScanResponse>>,
    pub create: Script<CreatePolicyRequest, CreatePolicyResponse>,
    pub get: Script<GetPolicyRequest, GetPolicyResponse>,
    pub list: Script<ListPoliciesRequest, ListPoliciesResponse>,
    pub update: Script<UpdatePolicyRequest, UpdatePolicyResponse>,
    pub delete: Script<DeletePolicyRequest, DeletePolicyResponse>,
}

/// The fake and where it listens.
pub struct Running {
    pub gate: Arc<FakeGate>,
    pub address: SocketAddr,
}

pub async fn start() -> Running {
    start_at(([127, 0, 0, 1], 0).into()).await
}

pub async fn start_at(address: SocketAddr) -> Running {
    serve(Server::builder(), TcpListener::bind(address).await.unwrap())
}

pub async fn start_with_tls(tls: ServerTlsConfig) -> Running {
    let server = Server::builder().tls_config(tls).unwrap();
    serve(server, TcpListener::bind("127.0.0.1:0").await.unwrap())
}

fn serve(mut server: Server, listener: TcpListener) -> Running {
    let address = listener.local_addr().unwrap();
    let gate = Arc::new(FakeGate::default());
    let server = server
        .add_service(ScanGateServiceServer::from_arc(Arc::clone(&gate)))
        .add_service(PolicyServiceServer::from_arc(Arc::clone(&gate)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    Running { gate, address }
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Retries at once, so that tests do not wait.
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::new(self.url()).retry(eager(4))
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.options()).await.unwrap()
    }
}

pub fn eager(max_attempts: u32) -> RetryPolicy {
    RetryPolicy::new(max_attempts).base_backoff(std::time::Duration::from_millis(1))
}

#[tonic::async_trait]
impl ScanGateService for FakeGate {
    async fn configure_scanning(
        &self,
        request: Request<ConfigureScanningRequest>,
    ) -> Result<Response<ConfigureScanningResponse>, Status> {
        self.configure.answer(request).await
    }

    async fn start_scan(&self, request: Request<StartScanRequest>) -> Result<Response<StartScanResponse>, Status> {
        self.start.answer(request).await
    }

    async fn get_findings(
        &self,
        request: Request<GetFindingsRequest>,
    ) -> Result<Response<GetFindingsResponse>, Status> {
        self.findings.answer(request).await
    }

    async fn evaluate_gate(
        &self,
        request: Request<EvaluateGateRequest>,
    ) -> Result<Response<EvaluateGateResponse>, Status> {
        self.evaluate.answer(request).await
    }

    async fn batch_evaluate_gate(
        &self,
        request: Request<BatchEvaluateGateRequest>,
    ) -> Result<Response<BatchEvaluateGateResponse>, Status> {
        self.batch.answer(request).await
    }

    type WatchScanStream = Pin<Box<dyn Stream<Item = Result<WatchScanResponse, Status>> + Send>>;

    async fn watch_scan(&self, request: Request<WatchScanRequest>) -> Result<Response<Self::WatchScanStream>, Status> {
        let messages = self.watch.answer(request).await?.into_inner();
        Ok(Response::new(Box::pin(tokio_stream::iter(messages.into_iter().map(Ok)))))
    }
}

macro_rules! not_scripted {
    ($($method:ident($request:ident) -> $response:ident),+ $(,)?) => {
        #[tonic::async_trait]
        impl PolicyService for FakeGate {
            async fn create_policy(
                &self,
                request: Request<CreatePolicyRequest>,
            ) -> Result<Response<CreatePolicyResponse>, Status> {
                self.create.answer(request).await
            }

            async fn get_policy(
                &self,
                request: Request<GetPolicyRequest>,
            ) -> Result<Response<GetPolicyResponse>, Status> {
                self.get.answer(request).await
            }

            async fn list_policies(
                &self,
                request: Request<ListPoliciesRequest>,
            ) -> Result<Response<ListPoliciesResponse>, Status> {
                self.list.answer(request).await
            }

            async fn update_policy(
                &self,
                request: Request<UpdatePolicyRequest>,
            ) -> Result<Response<UpdatePolicyResponse>, Status> {
                self.update.answer(request).await
            }

            async fn delete_policy(
                &self,
                request: Request<DeletePolicyRequest>,
            ) -> Result<Response<DeletePolicyResponse>, Status> {
                self.delete.answer(request).await
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
    import_waivers(ImportWaiversRequest) -> ImportWaiversResponse,
);
