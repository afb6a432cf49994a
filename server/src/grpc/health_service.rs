//! The health service of gRPC. A watch has the protocol's answer for an unknown service, a limit, and an end when the server stops.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_health::{
    pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health},
    server::{HealthReporter, HealthService as Statuses},
};

use super::{
    status,
    streaming::{self, ResponseStream},
};

/// The most concurrent watches of health: a gRPC client with health checks has one for each of its connections.
const MAX_WATCHES: usize = 1024;

/// The service over the statuses of a reporter.
pub(crate) struct HealthService {
    statuses: Statuses,
    /// Taken by watches only, so that Check never fails because of them.
    watches: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl HealthService {
    /// Creates the service.
    pub(crate) fn new(reporter: HealthReporter, stopping: CancellationToken) -> Self {
        let statuses = Statuses::from_health_reporter(reporter);
        Self { statuses, watches: Arc::new(Semaphore::new(MAX_WATCHES)), stopping }
    }

    /// Returns the statuses of a service; for an unknown one SERVICE_UNKNOWN, on a stream that stays open. tonic's own answer is
    /// an error, which clients with health checks take as a server without them.
    async fn statuses(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<ResponseStream<HealthCheckResponse>, Status> {
        match self.statuses.watch(request).await {
            Ok(known) => Ok(Box::pin(known.into_inner())),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                Ok(Box::pin(tokio_stream::once(Ok(unknown)).chain(tokio_stream::pending())))
            }
            Err(status) => Err(status),
        }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = ResponseStream<HealthCheckResponse>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.statuses.check(request).await
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let permit = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| status::overloaded())?;
        let statuses = streaming::holding(self.statuses(request).await?, permit);
        Ok(Response::new(streaming::until_stopping(statuses, self.stopping.clone())))
    }
}
