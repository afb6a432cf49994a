//! The load: calls over plain HTTP/2 with bytes made beforehand, so that the generator costs little beside the server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Version};
use tokio::net::TcpStream;

/// How a server is called.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) address: String,
    pub(crate) method: String,
    pub(crate) message: Bytes,
    pub(crate) connections: usize,
    /// Calls under way at once on each connection.
    pub(crate) calls: usize,
    pub(crate) lasts: Duration,
    /// Calls per second in all; `None`: as many as will go.
    pub(crate) rate: Option<f64>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Load {
    /// Calls for as long as it lasts.
    pub(crate) async fn run(&self) -> Outcome {
        let began = Instant::now();
        let mut callers = Vec::new();
        for _ in 0..self.connections {
            let socket = TcpStream::connect(&self.address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let (sender, connection) = h2::client::handshake(socket).await.unwrap();
            tokio::spawn(async move { connection.await.ok() });
            for _ in 0..self.calls {
                callers.push(tokio::spawn(self.clone().caller(sender.clone(), began)));
            }
        }
        let mut latencies = Vec::new();
        for caller in callers {
            latencies.extend(caller.await.unwrap());
        }
        let took = began.elapsed();
        latencies.sort_unstable();
        let quantile = |q: usize| latencies[(latencies.len() - 1) * q / 100];
        Outcome { per_second: latencies.len() as f64 / took.as_secs_f64(), p50: quantile(50), p99: quantile(99) }
    }

    async fn caller(self, mut sender: SendRequest<Bytes>, began: Instant) -> Vec<Duration> {
        let pause = self.rate.map(|rate| Duration::from_secs_f64((self.connections * self.calls) as f64 / rate));
        let mut latencies = Vec::new();
        let mut due = Instant::now();
        while began.elapsed() < self.lasts {
            if let Some(pause) = pause {
                due += pause;
                tokio::time::sleep_until(due.into()).await;
            } else {
                due = Instant::now();
            }
            self.call(&mut sender).await;
            // From when it was due, so that a server that stalls does not hide the calls that waited.
            latencies.push(due.elapsed());
        }
        latencies
    }

    /// One call; its answer must be OK.
    pub(crate) async fn call(&self, sender: &mut SendRequest<Bytes>) -> Bytes {
        let request = Request::post(format!("http://{}{}", self.address, self.method))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        std::future::poll_fn(|context| sender.poll_ready(context)).await.unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(self.message.clone(), true).unwrap();
        let response = response.await.unwrap();
        assert!(response.headers().get("grpc-status").is_none_or(|status| status == "0"), "{response:?}");
        let mut body = response.into_body();
        let mut answer = Bytes::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            answer = if answer.is_empty() { data } else { [answer, data].concat().into() };
        }
        let trailers = body.trailers().await.unwrap();
        assert!(trailers.is_none_or(|trailers| trailers["grpc-status"] == "0"), "the call failed");
        answer
    }
}

/// A message with the five bytes that gRPC puts before it.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed.into()
}
