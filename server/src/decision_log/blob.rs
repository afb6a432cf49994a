//! Things kept by what they are: the same content is the same blob, stored once.

use std::{fmt, io::Read as _, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// The most bytes that a blob may have once unpacked: beyond the most findings that are read of one manifest.
const MOST: u64 = 256 * 1024 * 1024;

/// SHA-256 of a blob's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Hash(pub [u8; 32]);

/// Text that is no hash.
#[derive(Debug, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct InvalidHash;

/// Content by its hash, packed.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    hash: Hash,
    packed: Arc<[u8]>,
}

impl Blob {
    /// Packs a value's JSON.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let content = serde_json::to_vec(value)?;
        let hash = Hash(Sha256::digest(&content).into());
        // Level 3: what takes long is the wait for the disk, and less to write makes it shorter.
        let packed = zstd::bulk::compress(&content, 3).map_err(serde_json::Error::io)?;
        Ok(Self { hash, packed: packed.into() })
    }

    /// A blob as it was kept; whether its content is that of its hash is for [`Blob::content`] to say.
    pub fn kept(hash: Hash, packed: impl Into<Arc<[u8]>>) -> Self {
        Self { hash, packed: packed.into() }
    }

    /// What it is called.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// As it is kept.
    pub fn packed(&self) -> &Arc<[u8]> {
        &self.packed
    }

    /// The content; an error where it is not what its hash says.
    pub fn content(&self) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        zstd::stream::read::Decoder::new(&*self.packed)?.take(MOST).read_to_end(&mut content)?;
        if Hash(Sha256::digest(&content).into()) != self.hash {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the content is not that of its hash"));
        }
        Ok(content)
    }

    /// The value.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.content().map_err(serde_json::Error::io)?)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("hash", &self.hash).field("packed", &self.packed.len()).finish()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' - 10 + half };
        // All at once: every decision that is recorded has one.
        let mut digits = [0; 64];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 0xf)];
        }
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
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
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).ok_or(InvalidHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}
