//! Raw HTTP/2 requests: everything that a gRPC library would not send.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use scangate_client::Rejection;
use tokio::net::TcpStream;
use tonic::Status;

/// A method on the fast path.
pub const EVALUATE: &str = "/scangate.v1.ScanGateService/EvaluateGate";
/// A method behind the router.
pub const LIST_POLICIES: &str = "/scangate.v1.PolicyService/ListPolicies";

/// A connection.
pub struct Connection {
    sender: SendRequest<Bytes>,
    address: SocketAddr,
}

/// A complete response.
#[derive(Debug)]
pub struct RawResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl RawResponse {
    /// The error that the response carries; panics on a success.
    #[track_caller]
    pub fn rejection(&self) -> Rejection {
        Rejection::from(&self.grpc_status())
    }

    /// The gRPC status, from the trailers or, for an error without messages, from the headers.
    #[track_caller]
    pub fn grpc_status(&self) -> Status {
        let status = Status::from_header_map(&self.trailers).or_else(|| Status::from_header_map(&self.headers));
        status.unwrap_or_else(|| panic!("no status: {self:?}"))
    }
}

/// Connects to a gate.
pub async fn connect(address: SocketAddr) -> Connection {
    let socket = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    Connection { sender, address }
}

impl Connection {
    /// Sends a gRPC call with these headers besides the usual ones, and these pieces of a body.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)], pieces: &[&[u8]]) -> RawResponse {
        let usual = [("content-type", "application/grpc"), ("te", "trailers")];
        self.send(Method::POST, path, &[usual.as_slice(), headers].concat(), pieces).await
    }

    /// Sends a request.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], pieces: &[&[u8]]) -> RawResponse {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (response, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        for piece in pieces {
            // The server may have ended the stream already, with the response that the test looks at.
            body.send_data(Bytes::copy_from_slice(piece), false).ok();
            tokio::task::yield_now().await;
        }
        body.send_data(Bytes::new(), true).ok();
        let (parts, mut stream) = response.await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await.ok().flatten().unwrap_or_default();
        RawResponse { status: parts.status, headers: parts.headers, body, trailers }
    }
}

/// A message in its frame.
pub fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], length.as_slice(), message].concat()
}
