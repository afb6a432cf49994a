//! Compression of messages: gzip and zstd.
//!
//! A response is compressed message by message, so that small ones cost nothing. tonic decides once for a whole response, before it
//! knows the size.

use std::{
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll, ready},
};

use flate2::bufread::{GzDecoder, GzEncoder};
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use prost::bytes::{Bytes, BytesMut};
use tonic::{Status, body::Body};

use super::message_frame::{self, COMPRESSED, PLAIN};

/// The header with the encoding of the messages.
pub(super) const ENCODING_HEADER: &str = "grpc-encoding";
/// The header with the encodings that the peer accepts.
const ACCEPT_HEADER: &str = "grpc-accept-encoding";
/// The encodings, as `grpc-accept-encoding` lists them.
pub(super) const SUPPORTED: &str = "gzip,zstd,identity";
/// The largest message that is sent uncompressed although the client accepts compression, in bytes.
const MAX_PLAIN_BYTES: usize = 16 * 1024;
/// The level of both algorithms: the fastest. A response is compressed on the thread that sends it.
const LEVEL: u8 = 1;
/// The largest window of a zstd frame as a power of two: 8 MiB, which the format asks every decoder to support.
const MAX_WINDOW_LOG: u32 = 23;

/// An encoding of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Zstd,
}

/// The failure of a decompression.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecompressError {
    /// The message exceeds the limit.
    TooLarge,
    /// The bytes are not in the encoding.
    Malformed,
}

impl Encoding {
    /// Parses one name of an encoding.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Returns the best encoding that a client accepts.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accepted = headers.get(ACCEPT_HEADER)?.to_str().ok()?;
        let encodings = accepted.split(',').filter_map(|name| Self::parse(name.trim()));
        // zstd takes less time than gzip and gives less.
        encodings.max_by_key(|encoding| *encoding == Self::Zstd)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Decompresses a message of at most `limit` bytes. Memory is bounded by the limit and the window.
    pub(super) fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
        match self {
            Self::Gzip => {
                let mut rest = bytes;
                let plain = read_limited(GzDecoder::new(&mut rest), limit)?;
                if rest.is_empty() { Ok(plain) } else { Err(DecompressError::Malformed) }
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                read_limited(decoder, limit)
            }
        }
    }

    fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut compressed = Vec::new();
                GzEncoder::new(bytes, flate2::Compression::new(LEVEL.into())).read_to_end(&mut compressed)?;
                Ok(compressed)
            }
            Self::Zstd => zstd::bulk::compress(bytes, LEVEL.into()),
        }
    }
}

impl From<io::Error> for DecompressError {
    fn from(_: io::Error) -> Self {
        Self::Malformed
    }
}

fn read_limited(decoder: impl Read, limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut plain = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bound).read_to_end(&mut plain)?;
    if plain.len() > limit { Err(DecompressError::TooLarge) } else { Ok(plain) }
}

/// Compresses the large messages of a response, in an encoding that the client accepts.
pub(super) fn compress_response(response: Response<Body>, encoding: Option<Encoding>) -> Response<Body> {
    let Some(encoding) = encoding else { return response };
    // An error without messages has its status in the headers.
    if response.headers().contains_key(Status::GRPC_STATUS) {
        return response;
    }
    let mut response = response.map(|body| Body::new(CompressedBody { body, encoding }));
    response.headers_mut().insert(ENCODING_HEADER, HeaderValue::from_static(encoding.name()));
    response
}

/// A response body whose large messages are compressed.
struct CompressedBody {
    body: Body,
    encoding: Encoding,
}

impl HttpBody for CompressedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let encoding = self.encoding;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|messages| compress_messages(messages, encoding)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Compresses the large ones of several messages. tonic never splits a message.
fn compress_messages(messages: Bytes, encoding: Encoding) -> Bytes {
    if messages.len() <= MAX_PLAIN_BYTES {
        return messages;
    }
    let mut output = BytesMut::new();
    let mut rest = messages.as_ref();
    while let Some(frame) = message_frame::parse(rest)
        && let Some((message, after)) = frame.rest.split_at_checked(frame.length)
    {
        rest = after;
        // A message that cannot be compressed is sent as it is.
        match (message.len() > MAX_PLAIN_BYTES).then(|| encoding.compress(message)) {
            Some(Ok(compressed)) => message_frame::put(&mut output, COMPRESSED, &compressed),
            Some(Err(_)) | None => message_frame::put(&mut output, PLAIN, message),
        }
    }
    output.extend_from_slice(rest);
    output.freeze()
}
