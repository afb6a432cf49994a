//! HTTP responses, and the faults that damage them in transport.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};

use crate::faults::CannedResponse;
use crate::wire::Error;

/// The signal to close the connection without (the rest of) a response.
#[derive(Debug, thiserror::Error)]
#[error("connection closed by a simulated fault")]
pub(crate) struct ConnectionDropped;

/// The AWS protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.1: ECR.
    AwsJson,
    /// REST with JSON bodies: Inspector.
    RestJson,
}

/// A response before it is sent.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    status: u16,
    content_type: &'static str,
    error_type: Option<String>,
    body: Bytes,
    /// True if the connection closes half-way through the body.
    cut: bool,
}

impl HttpResponse {
    pub(crate) fn json(protocol: Protocol, body: &Value) -> Self {
        let content_type = match protocol {
            Protocol::AwsJson => "application/x-amz-json-1.1",
            Protocol::RestJson => "application/json",
        };
        Self { status: 200, content_type, error_type: None, body: body.to_string().into(), cut: false }
    }

    /// An error, with its code in header and body.
    pub(crate) fn error(protocol: Protocol, error: &Error) -> Self {
        let mut body = json!({"__type": error.code, "message": error.message});
        if protocol == Protocol::RestJson && error.code == "ValidationException" {
            crate::findings::set_pointer(&mut body, "/reason", json!("OTHER"));
        }
        Self { status: error.status, error_type: Some(error.code.clone()), ..Self::json(protocol, &body) }
    }

    pub(crate) fn not_found() -> Self {
        Self { status: 404, ..Self::json(Protocol::RestJson, &json!({"message": "Not Found"})) }
    }

    /// A response of an admin endpoint, which speaks no AWS protocol.
    pub(crate) fn admin(status: u16, body: &Value) -> Self {
        Self { status, ..Self::json(Protocol::RestJson, body) }
    }

    /// The canned response of a fault.
    pub(crate) fn canned(protocol: Protocol, canned: &CannedResponse<'_>) -> Self {
        let CannedResponse { status, content_type, body, code } = canned;
        let plain = match code {
            Some(code) => Self::error(protocol, &Error::new(*status, code, *body)),
            None => Self { body: Bytes::copy_from_slice(body.as_bytes()), ..Self::json(protocol, &Value::Null) },
        };
        Self { status: *status, content_type: content_type.unwrap_or(plain.content_type), ..plain }
    }

    /// A complete response whose body ends half-way.
    pub(crate) fn truncated(self) -> Self {
        Self { body: self.body.slice(..self.body.len() / 2), ..self }
    }

    /// A response whose connection closes half-way.
    pub(crate) fn cut(self) -> Self {
        Self { cut: true, ..self }
    }
}

/// The next number for a request id.
static NEXT_REQUEST_ID: AtomicU64 = AtomicU64::new(1);

impl From<HttpResponse> for Response<ResponseBody> {
    fn from(http: HttpResponse) -> Self {
        let number = NEXT_REQUEST_ID.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(ResponseBody::new(http.body, http.cut));
        *response.status_mut() = StatusCode::from_u16(http.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(http.content_type));
        headers.insert("x-scangate-simulator", header::HeaderValue::from_static("simulated"));
        let texts = [
            ("x-amzn-requestid", Some(format!("00000000-0000-4000-8000-{number:012}"))),
            ("x-amzn-errortype", http.error_type),
        ];
        for (name, text) in texts {
            // A fault's error code may contain characters that a header cannot; it is then in the body only.
            if let Some(value) = text.and_then(|text| header::HeaderValue::try_from(text).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// A body that may end half-way, although its length was announced in full.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    announced_length: u64,
    data: Option<Bytes>,
    ending: Ending,
}

/// The event after the data of a body.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Complete,
    /// A pause, in which the data leaves the send buffer. The connection closes after it.
    Pause,
    Close,
}

impl ResponseBody {
    fn new(data: Bytes, cut: bool) -> Self {
        let announced_length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let (data, ending) = if cut { (data.slice(..data.len() / 2), Ending::Pause) } else { (data, Ending::Complete) };
        Self { announced_length, data: Some(data).filter(|data| !data.is_empty()), ending }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = ConnectionDropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionDropped>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.ending {
            Ending::Complete => Poll::Ready(None),
            Ending::Pause => {
                self.ending = Ending::Close;
                task.waker().wake_by_ref();
                Poll::Pending
            }
            Ending::Close => Poll::Ready(Some(Err(ConnectionDropped))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced_length)
    }
}
