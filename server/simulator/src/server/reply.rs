//! Answers as bytes, and the ways in which a fault spoils them.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};

use crate::faults::Instead;
use crate::wire::Error;

/// The connection is to close without (the rest of) an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulator dropped the connection, as it was told to")]
pub(crate) struct Dropped;

/// Which of the two AWS protocols a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.1: ECR.
    Json,
    /// REST with JSON bodies: Inspector.
    Rest,
}

/// An answer before it is sent.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    content_type: &'static str,
    error_type: Option<String>,
    body: Bytes,
    /// The connection closes half-way through the body.
    cut: bool,
}

impl Reply {
    pub(crate) fn json(protocol: Protocol, body: &Value) -> Self {
        let content_type = match protocol {
            Protocol::Json => "application/x-amz-json-1.1",
            Protocol::Rest => "application/json",
        };
        Self { status: 200, content_type, error_type: None, body: body.to_string().into(), cut: false }
    }

    /// An error, by its code in header and body.
    pub(crate) fn error(protocol: Protocol, error: &Error) -> Self {
        let mut body = json!({"__type": error.code, "message": error.message});
        if protocol == Protocol::Rest && error.code == "ValidationException" {
            crate::findings::set(&mut body, "/reason", json!("OTHER"));
        }
        Self { status: error.status, error_type: Some(error.code.clone()), ..Self::json(protocol, &body) }
    }

    pub(crate) fn not_found() -> Self {
        Self { status: 404, ..Self::json(Protocol::Rest, &json!({"message": "Not Found"})) }
    }

    /// An answer of the simulator's own, not of an AWS protocol.
    pub(crate) fn own(status: u16, body: &Value) -> Self {
        Self { status, ..Self::json(Protocol::Rest, body) }
    }

    /// The answer that a fault puts in the place of the right one.
    pub(crate) fn instead(protocol: Protocol, instead: &Instead<'_>) -> Self {
        let Instead { status, content_type, body, code } = instead;
        let plain = match code {
            Some(code) => Self::error(protocol, &Error::new(*status, code, *body)),
            None => Self { body: Bytes::copy_from_slice(body.as_bytes()), ..Self::json(protocol, &Value::Null) },
        };
        Self { status: *status, content_type: content_type.unwrap_or(plain.content_type), ..plain }
    }

    /// A complete answer whose body stops half-way.
    pub(crate) fn truncated(self) -> Self {
        Self { body: self.body.slice(..self.body.len() / 2), ..self }
    }

    /// An answer whose connection closes half-way.
    pub(crate) fn cut(self) -> Self {
        Self { cut: true, ..self }
    }
}

/// Numbers the answers, for their request ids.
static ANSWERS: AtomicU64 = AtomicU64::new(1);

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let number = ANSWERS.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Body::new(reply.body, reply.cut));
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(reply.content_type));
        headers.insert("x-scangate-simulator", header::HeaderValue::from_static("simulated"));
        let texts = [
            ("x-amzn-requestid", Some(format!("00000000-0000-4000-8000-{number:012}"))),
            ("x-amzn-errortype", reply.error_type),
        ];
        for (name, text) in texts {
            // A code that a test made up may hold what a header cannot; it is then in the body only.
            if let Some(value) = text.and_then(|text| header::HeaderValue::try_from(text).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// A body that may break off half-way, having promised the whole.
#[derive(Debug)]
pub(crate) struct Body {
    promised: u64,
    data: Option<Bytes>,
    after: After,
}

/// What comes after the data of a body.
#[derive(Clone, Copy, Debug)]
enum After {
    End,
    /// A pause, in which what was sent leaves the buffer, and then the connection closes.
    Pause,
    Close,
}

impl Body {
    fn new(data: Bytes, cut: bool) -> Self {
        let promised = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let (data, after) = if cut { (data.slice(..data.len() / 2), After::Pause) } else { (data, After::End) };
        Self { promised, data: Some(data).filter(|data| !data.is_empty()), after }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.after {
            After::End => Poll::Ready(None),
            After::Pause => {
                self.after = After::Close;
                task.waker().wake_by_ref();
                Poll::Pending
            }
            After::Close => Poll::Ready(Some(Err(Dropped))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}
