//! Content-addressed blobs: equal content has the same hash and is stored once.

use std::{fmt, io::Read as _, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// Maximum uncompressed size of a blob, beyond the most findings that are read of one manifest.
const MAX_CONTENT_BYTES: u64 = 256 * 1024 * 1024;

/// The SHA-256 of a blob's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Hash(pub [u8; 32]);

/// Text that is not a hash.
#[derive(Debug, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct InvalidHash;

/// Compressed content with the hash of the uncompressed content.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    hash: Hash,
    compressed: Arc<[u8]>,
}

impl Blob {
    /// Serialises a value as JSON, hashes and compresses it.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let content = serde_json::to_vec(value)?;
        let hash = Hash(Sha256::digest(&content).into());
        // Level 3: the disk is the bottleneck, so fewer bytes save more time than compression takes.
        let compressed = zstd::bulk::compress(&content, 3).map_err(serde_json::Error::io)?;
        Ok(Self { hash, compressed: compressed.into() })
    }

    /// Wraps a stored blob without checking it; [`Blob::content`] compares the content with the hash.
    pub fn from_stored(hash: Hash, compressed: impl Into<Arc<[u8]>>) -> Self {
        Self { hash, compressed: compressed.into() }
    }

    /// The hash of the content.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The compressed content, as stored.
    pub fn compressed(&self) -> &Arc<[u8]> {
        &self.compressed
    }

    /// Decompresses the content; an error if it does not match the hash.
    pub fn content(&self) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        zstd::stream::read::Decoder::new(&*self.compressed)?.take(MAX_CONTENT_BYTES).read_to_end(&mut content)?;
        if Hash(Sha256::digest(&content).into()) != self.hash {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the content does not match its hash"));
        }
        Ok(content)
    }

    /// Decodes the value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.content().map_err(serde_json::Error::io)?)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("hash", &self.hash).field("compressed", &self.compressed.len()).finish()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Hash {
    type Error = InvalidHash;

    fn try_from(text: String) -> Result<Self, InvalidHash> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| InvalidHash)?;
        Ok(Self(hash))
    }
}
