//! A scan's progress as the gate streams it.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Request, Streaming};

use crate::{
    call::Call,
    client::GateClient,
    error::Error,
    v1::{WatchScanRequest, WatchScanResponse},
};

/// The contract promises a message every 15 seconds: after four missed ones nobody is there any more.
const MAX_SILENCE: Duration = Duration::from_mins(1);

/// The progress of a scan, message by message. Dropping it ends the call.
#[derive(Debug)]
pub struct ScanWatch {
    messages: Streaming<WatchScanResponse>,
    endpoint: String,
}

impl ScanWatch {
    pub(crate) async fn open(gate: GateClient, call: Call<'_>, request: WatchScanRequest) -> Result<Self, Error> {
        let messages = call
            .unary(request, |request| {
                let mut gate = gate.clone();
                // The stream ends with the scan, not with the time that a call has to be answered.
                let request = Request::new(request.into_inner());
                async move { gate.watch_scan(request).await }
            })
            .await?;
        Ok(Self { messages, endpoint: call.endpoint.to_owned() })
    }

    /// The next message; none once every manifest's scan has ended. A minute of silence is an error.
    pub async fn next(&mut self) -> Result<Option<WatchScanResponse>, Error> {
        match timeout(MAX_SILENCE, self.messages.message()).await {
            Ok(message) => message.map_err(|status| Error::from_status(status, &self.endpoint, MAX_SILENCE)),
            Err(_elapsed) => Err(Error::DeadlineExceeded { timeout: MAX_SILENCE }),
        }
    }
}
