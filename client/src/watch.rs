//! The progress of a scan as the server streams it.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Request, Streaming};

use crate::{
    call::Call,
    client::GateClient,
    error::Error,
    v1::{WatchScanRequest, WatchScanResponse},
};

/// The longest time between two messages. The contract promises one every 15 seconds; this allows three to be missed.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A stream of the progress messages of a scan. Dropping it cancels the call.
///
/// ```no_run
/// # use scangate_client::{Client, Error, v1::WatchScanRequest};
/// # async fn watch(client: Client) -> Result<(), Error> {
/// let request = WatchScanRequest { image: "team/app:2.3.0".into(), ..Default::default() };
/// let mut watch = client.watch_scan(request).await?;
/// while let Some(message) = watch.next().await? {
///     println!("{} of {} scans have ended", message.ended, message.total);
/// }
/// # Ok(())
/// # }
/// ```
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
                // A new request without the deadline: the stream lasts as long as the scan.
                let request = Request::new(request.into_inner());
                async move { gate.watch_scan(request).await }
            })
            .await?;
        Ok(Self { messages, endpoint: call.endpoint.to_owned() })
    }

    /// Returns the next message, or `None` once the scans of all manifests have ended.
    ///
    /// Fails with [`Error::DeadlineExceeded`] if no message arrives for one minute.
    pub async fn next(&mut self) -> Result<Option<WatchScanResponse>, Error> {
        match timeout(IDLE_TIMEOUT, self.messages.message()).await {
            Ok(message) => message.map_err(|status| Error::from_status(status, &self.endpoint, IDLE_TIMEOUT)),
            Err(_elapsed) => Err(Error::DeadlineExceeded { timeout: IDLE_TIMEOUT }),
        }
    }
}
