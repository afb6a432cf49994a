//! Fast path for EvaluateGate; every other method goes through tonic's router.
//!
//! The fields of a protobuf message may be encoded in any order. Most fields of a response depend only on the evaluated
//! decision: they are encoded once and cached. The few fields that differ between its records are encoded for each response
//! and appended.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use prost::{
    Message as _,
    bytes::BufMut as _,
    encoding::{WireType, encode_key, encode_varint},
};
use scangate_proto::{
    requests::Method,
    v1::{EvaluateGateRequest, scan_gate_service_server::ScanGateServiceServer},
};
use tonic::{
    Code, Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    server::Grpc,
    service::Routes,
};
use tonic_prost::ProstDecoder;
use tower::{Service, service_fn};

use super::{
    ScanGateService,
    byte_budget::ByteBudget,
    compression::{Encoding, compress_response},
    convert::decision,
    encoded_decisions::EncodedDecisions,
    request_body::{self, MAX_REQUEST_BYTES, RequestBody},
    status,
};
use crate::evaluation::Evaluated;

/// The size from which a response is refused, in bytes: the default limit of gRPC clients. Responses are built to stay below
/// [`byte_budget::MAX_RESPONSE_BYTES`](super::byte_budget::MAX_RESPONSE_BYTES).
pub(crate) const MAX_ENCODED_BYTES: usize = 4 * 1024 * 1024;

/// A service that dispatches each call to its method. A clone is cheap: the middleware makes one for each call.
#[derive(Clone, Debug)]
pub(crate) struct FastPath {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    gate: Arc<ScanGateService>,
    encoded: EncodedDecisions,
    router: Routes,
}

impl FastPath {
    /// A service over the gate and the routes of all other services.
    pub(crate) fn new(gate: ScanGateService, router: Routes) -> Self {
        let gate = Arc::new(gate);
        let service = ScanGateServiceServer::from_arc(Arc::clone(&gate))
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_ENCODED_BYTES);
        let router = router.add_service(service).prepare();
        Self { shared: Arc::new(Shared { gate, encoded: EncodedDecisions::new(), router }) }
    }
}

/// The maximum size of the key and length of `decision`, and of the whole field `replayed`, in bytes.
const MAX_PREFIX_BYTES: usize = 16;
/// The field number of `EvaluateGateResponse.decision`.
const DECISION_FIELD: u32 = 1;
/// The field number of `EvaluateGateResponse.replayed`.
const REPLAYED_FIELD: u32 = 2;

type ResponseFuture = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Body>> for FastPath {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Like tonic's routes, always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        let Some(method) = Method::find(request.uri().path()) else {
            return Box::pin(call_other(self.shared.router.clone(), request));
        };
        let encoding = Encoding::accepted(request.headers());
        let request = match request_body::wrap(request, method.request()) {
            Ok(request) => request,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        if method == Method::EvaluateGate {
            let shared = Arc::clone(&self.shared);
            return Box::pin(async move { Ok(compress_response(evaluate(shared, request).await, encoding)) });
        }
        let response = self.shared.router.clone().call(request);
        Box::pin(async move { Ok(compress_response(response.await?, encoding)) })
    }
}

/// Calls a service that is not part of the contract.
async fn call_other(mut router: Routes, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let response = router.call(request).await?;
    let code = response.headers().get(Status::GRPC_STATUS);
    // tonic's own answer to an unknown method has no details.
    let is_unknown = code.is_some_and(|code| code.as_bytes() == (Code::Unimplemented as i32).to_string().as_bytes());
    Ok(if is_unknown { status::unknown_method(&path).into_http() } else { response })
}

/// Handles the call like the generated server, but with the codec of this module.
async fn evaluate(shared: Arc<Shared>, request: Request<RequestBody>) -> Response<Body> {
    let codec = EvaluateCodec { shared: Arc::clone(&shared) };
    let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(MAX_REQUEST_BYTES), Some(MAX_ENCODED_BYTES));
    let service = service_fn(|request| async { shared.gate.evaluate(request).await.map(tonic::Response::new) });
    grpc.unary(service, request).await
}

/// A codec that decodes requests, and encodes responses from recorded decisions.
#[derive(Clone, Debug)]
struct EvaluateCodec {
    shared: Arc<Shared>,
}

impl Codec for EvaluateCodec {
    type Encode = Evaluated;
    type Decode = EvaluateGateRequest;
    type Encoder = Self;
    type Decoder = ProstDecoder<EvaluateGateRequest>;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for EvaluateCodec {
    type Item = Evaluated;
    type Error = Status;

    /// Encodes an `EvaluateGateResponse`.
    fn encode(&mut self, evaluated: Evaluated, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let Evaluated { recorded, replayed } = evaluated;
        let evaluated = &recorded.evaluated;
        let encoded = self.shared.encoded.get_or_encode(evaluated, |evaluated| {
            decision::render_evaluated_fields(evaluated, ByteBudget::decision()).encode_to_vec()
        });
        let evaluated_bytes = encoded.bytes();
        let recorded_fields = decision::render_recorded_fields(&recorded);
        let length = evaluated_bytes.len().saturating_add(recorded_fields.encoded_len());
        buffer.reserve(length.saturating_add(MAX_PREFIX_BYTES));
        encode_key(DECISION_FIELD, WireType::LengthDelimited, buffer);
        encode_varint(u64::try_from(length).unwrap_or(u64::MAX), buffer);
        buffer.put_slice(evaluated_bytes);
        recorded_fields.encode_raw(buffer);
        // The default is not encoded.
        if replayed {
            encode_key(REPLAYED_FIELD, WireType::Varint, buffer);
            encode_varint(1, buffer);
        }
        Ok(())
    }
}
