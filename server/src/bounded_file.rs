//! Reads files whose size is not trusted.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Reads a file; `None` if it has more bytes than the limit.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok(u64::try_from(content.len()).is_ok_and(|length| length <= limit).then_some(content))
}
