//! The frame of a gRPC message: one byte for compression, four bytes for the length, then the message.

use prost::bytes::{BufMut as _, Bytes, BytesMut};

/// The size of the frame's header, in bytes.
const HEADER_BYTES: usize = 5;

/// A received frame.
pub(super) struct Received<'a> {
    /// The first byte.
    pub(super) flag: u8,
    /// The length that the header states.
    pub(super) length: usize,
    /// The bytes after the header, which may be fewer or more than `length`.
    pub(super) rest: &'a [u8],
}

/// The flag of a message as it is.
pub(super) const PLAIN: u8 = 0;
/// The flag of a message in the encoding that the headers state.
pub(super) const COMPRESSED: u8 = 1;

/// Parses the header of a frame; `None` as long as the header is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Option<Received<'_>> {
    let ([flag, length @ ..], rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    Some(Received { flag: *flag, length, rest })
}

/// Appends a message with its header.
pub(super) fn put(output: &mut BytesMut, flag: u8, message: &[u8]) {
    output.reserve(message.len().saturating_add(HEADER_BYTES));
    output.put_u8(flag);
    // The size limits keep every message below 4 GiB.
    output.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    output.put_slice(message);
}

/// Returns a message with its header.
pub(super) fn plain(message: &[u8]) -> Bytes {
    let mut output = BytesMut::new();
    put(&mut output, PLAIN, message);
    output.freeze()
}
