//! Raw HTTP/2 requests: everything that a gRPC library would not send.

use std::{error::Error, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use scangate_client::Rejection;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{Code, Status};

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

/// Connects to a gate over TLS. A refused client certificate is an error here or, in TLS 1.3, of the first call.
pub async fn connect_tls(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Connection, Box<dyn Error>> {
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    let socket = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?;
    let (sender, connection) = h2::client::handshake(socket).await?;
    tokio::spawn(async move { connection.await.ok() });
    Ok(Connection { sender, address })
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

impl Connection {
    /// Calls a method with an empty message, and returns the status: that of an error, or OK once a message or the end arrives. A
    /// stream is not read further.
    pub async fn status_of(&self, path: &str, headers: &[(&str, &str)]) -> Result<Status, h2::Error> {
        let mut request = Request::builder().method(Method::POST).uri(format!("http://{}{path}", self.address));
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(request.body(()).unwrap(), false)?;
        // A refused call may have ended already.
        body.send_data(Bytes::from(frame(0, &[])), true).ok();
        let (parts, mut stream) = response.await?.into_parts();
        if let Some(status) = Status::from_header_map(&parts.headers) {
            return Ok(status);
        }
        if let Some(data) = stream.data().await {
            return data.map(|_| Status::new(Code::Ok, ""));
        }
        let trailers = stream.trailers().await?.unwrap_or_default();
        Ok(Status::from_header_map(&trailers).unwrap_or_else(|| Status::unknown("no status")))
    }
}

/// A message in its frame.
pub fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], length.as_slice(), message].concat()
}
