//! The load generator: calls over HTTP/2 with prepared bytes, so that it costs little compared with the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Version};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::transport::ClientCredentials;

/// A load on one method of a server.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) address: String,
    pub(crate) credentials: ClientCredentials,
    pub(crate) method: &'static str,
    /// The request in gRPC framing.
    pub(crate) message: Bytes,
    pub(crate) connections: usize,
    /// Concurrent calls on each connection.
    pub(crate) calls_per_connection: usize,
    pub(crate) duration: Duration,
    /// Calls per second in total; `None` is as many as possible.
    pub(crate) rate: Option<f64>,
}

/// The throughput and latency of a load.
#[derive(Clone, Debug)]
pub(crate) struct LoadResult {
    pub(crate) calls_per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Load {
    /// A load for [`Load::call_once`].
    pub(crate) fn single(address: &str, method: &'static str, request: &impl Message) -> Self {
        Self {
            address: address.to_owned(),
            credentials: ClientCredentials::default(),
            method,
            message: frame(&request.encode_to_vec()),
            connections: 1,
            calls_per_connection: 1,
            duration: Duration::ZERO,
            rate: None,
        }
    }

    /// Calls the server until the duration ends.
    pub(crate) async fn run(&self) -> LoadResult {
        let start = Instant::now();
        let mut callers = Vec::new();
        for _ in 0..self.connections {
            let sender = self.connect().await;
            for _ in 0..self.calls_per_connection {
                callers.push(tokio::spawn(self.clone().run_caller(sender.clone(), start)));
            }
        }
        let mut latencies = Vec::new();
        for caller in callers {
            latencies.extend(caller.await.unwrap());
        }
        let elapsed = start.elapsed();
        latencies.sort_unstable();
        let quantile = |q: usize| latencies[(latencies.len() - 1) * q / 100];
        LoadResult {
            calls_per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50: quantile(50),
            p99: quantile(99),
        }
    }

    async fn run_caller(self, mut sender: SendRequest<Bytes>, start: Instant) -> Vec<Duration> {
        let callers = (self.connections * self.calls_per_connection) as f64;
        let interval = self.rate.map(|rate| Duration::from_secs_f64(callers / rate));
        let mut latencies = Vec::new();
        let mut due = Instant::now();
        while start.elapsed() < self.duration {
            if let Some(interval) = interval {
                due += interval;
                tokio::time::sleep_until(due.into()).await;
            } else {
                due = Instant::now();
            }
            self.call(&mut sender).await;
            // Measured from the due time, so that the latency includes the wait behind a stalled call (coordinated omission).
            latencies.push(due.elapsed());
        }
        latencies
    }

    /// Makes one call on a connection of its own.
    pub(crate) async fn call_once(&self) -> Bytes {
        let mut sender = self.connect().await;
        self.call(&mut sender).await
    }

    async fn connect(&self) -> SendRequest<Bytes> {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let Some(tls) = &self.credentials.tls else { return handshake(socket).await };
        let name = ServerName::try_from("localhost").unwrap();
        handshake(TlsConnector::from(Arc::clone(tls)).connect(name, socket).await.unwrap()).await
    }

    /// Makes one call, and returns its response in gRPC framing. Panics if the status is not OK.
    async fn call(&self, sender: &mut SendRequest<Bytes>) -> Bytes {
        let scheme = if self.credentials.tls.is_some() { "https" } else { "http" };
        let mut request = Request::post(format!("{scheme}://{}{}", self.address, self.method))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(authorization) = &self.credentials.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(()).unwrap();
        std::future::poll_fn(|context| sender.poll_ready(context)).await.unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(self.message.clone(), true).unwrap();
        let response = response.await.unwrap();
        assert!(response.headers().get("grpc-status").is_none_or(|status| status == "0"), "{response:?}");
        let mut body = response.into_body();
        let mut message = Bytes::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            message = if message.is_empty() { data } else { [message, data].concat().into() };
        }
        let trailers = body.trailers().await.unwrap();
        assert!(trailers.is_none_or(|trailers| trailers["grpc-status"] == "0"), "the call failed");
        message
    }
}

async fn handshake(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    sender
}

/// Adds the five bytes of gRPC framing to a message.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// Removes the five bytes of gRPC framing from a message.
pub(crate) fn unframe(framed: &[u8]) -> &[u8] {
    &framed[5..]
}
