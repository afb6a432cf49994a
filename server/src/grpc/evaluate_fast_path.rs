//! The way in: EvaluateGate, which most calls are, by the shortest way, and every other method by tonic's router.
//!
//! A protobuf message is its fields, in whatever order. What all answers of one judgement have in common is most of an answer, and
//! is put into bytes once; what each has of its own goes after it.

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
use scangate_proto::v1::{
    EvaluateGateRequest,
    scan_gate_service_server::{SERVICE_NAME, ScanGateServiceServer},
};
use tonic::{
    Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    server::Grpc,
    service::Routes,
};
use tonic_prost::ProstDecoder;
use tower::{Service, service_fn};

use super::{
    ScanGateService,
    convert::decision::{self, FindingLimit},
    encoded_decisions::EncodedDecisions,
};
use crate::decisions::RecordedDecision;

/// The largest request: a policy with every list full is well below.
pub(crate) const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// The largest answer: a page of 1,000 findings with full descriptions is about 5 MiB.
pub(crate) const MAX_RESPONSE: usize = 16 * 1024 * 1024;
/// What is allocated for a question and for an answer to begin with: enough for most, where tonic takes 8 KiB for either, of which
/// a thousand calls at once would touch sixteen megabytes.
const DECODE_BUFFER: usize = 256;
const ENCODE_BUFFER: usize = 1536;
/// What tonic sends at once of an answer that comes in several messages, which these do not.
const YIELD_THRESHOLD: usize = 32 * 1024;

/// Leads each call to its method.
#[derive(Clone, Debug)]
pub(crate) struct FastPath {
    gate: Arc<ScanGateService>,
    encoded: EncodedDecisions,
    router: Routes,
}

impl FastPath {
    /// The gate, and besides it what these routes lead to.
    pub(crate) fn new(gate: ScanGateService, router: Routes) -> Self {
        let gate = Arc::new(gate);
        let service = ScanGateServiceServer::from_arc(Arc::clone(&gate))
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(MAX_RESPONSE);
        Self { gate, encoded: EncodedDecisions::new(), router: router.add_service(service).prepare() }
    }
}

type ResponseFuture = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Body>> for FastPath {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As tonic's routes are, always.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        if is_evaluate(request.uri().path()) {
            let (gate, codec) = (Arc::clone(&self.gate), EvaluateCodec { encoded: self.encoded.clone() });
            return Box::pin(async move { Ok(evaluate(&gate, codec, request).await) });
        }
        Box::pin(self.router.call(request))
    }
}

fn is_evaluate(path: &str) -> bool {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
    method == Some("/EvaluateGate")
}

/// As the generated server does it, but for the codec.
async fn evaluate(gate: &ScanGateService, codec: EvaluateCodec, request: Request<Body>) -> Response<Body> {
    let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(MAX_REQUEST), Some(MAX_RESPONSE));
    let answer = service_fn(|request| async { gate.evaluate(request).await.map(tonic::Response::new) });
    grpc.unary(answer, request).await
}

/// Reads questions, and writes answers.
#[derive(Clone, Debug)]
struct EvaluateCodec {
    encoded: EncodedDecisions,
}

impl Codec for EvaluateCodec {
    type Encode = RecordedDecision;
    type Decode = EvaluateGateRequest;
    type Encoder = Self;
    type Decoder = ProstDecoder<EvaluateGateRequest>;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(DECODE_BUFFER, YIELD_THRESHOLD))
    }
}

impl Encoder for EvaluateCodec {
    type Item = RecordedDecision;
    type Error = Status;

    /// Writes an `EvaluateGateResponse`.
    fn encode(&mut self, answer: RecordedDecision, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let judgement = &answer.evaluated;
        let shared = self.encoded.get_or_encode(judgement, |judgement| {
            decision::render_evaluated_fields(judgement, FindingLimit::Single).encode_to_vec()
        });
        let shared = shared.bytes();
        let own = decision::render_recorded_fields(&answer);
        let length = shared.len().saturating_add(own.encoded_len());
        to.reserve(length.saturating_add(16));
        encode_key(DECISION, WireType::LengthDelimited, to);
        encode_varint(u64::try_from(length).unwrap_or(u64::MAX), to);
        to.put_slice(shared);
        own.encode_raw(to);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ENCODE_BUFFER, YIELD_THRESHOLD)
    }
}

/// The number of `EvaluateGateResponse.decision`.
const DECISION: u32 = 1;
