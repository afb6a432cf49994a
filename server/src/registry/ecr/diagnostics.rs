//! State of reading one scan: interned and truncated texts, and the flaws of the response.

use std::{collections::HashSet, sync::Arc};

use aws_sdk_ecr::primitives::DateTime;
use jiff::Timestamp;
use scangate_core::{finding::Score, scan::Flaw};

use super::error::sanitize;

/// The maximum of a stored description, in bytes.
pub(super) const MAX_DESCRIPTION_BYTES: usize = 4096;
/// The maximum of a stored name, title, version or address, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 512;
/// The maximum of reported flaws: a single one makes a scan prove nothing.
const MAX_FLAWS: usize = 16;

/// The texts and flaws of one scan.
#[derive(Debug, Default)]
pub(super) struct ScanDiagnostics {
    texts: HashSet<Arc<str>>,
    flaws: Vec<Flaw>,
}

impl ScanDiagnostics {
    /// Returns a text truncated to `most` bytes, shared with equal texts.
    pub(super) fn intern(&mut self, text: &str, max_bytes: usize) -> Arc<str> {
        let text = truncate(text, max_bytes);
        if let Some(interned) = self.texts.get(text) {
            return Arc::clone(interned);
        }
        let text: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&text));
        text
    }

    /// Returns a text unless it is empty or one of AWS's placeholders for a missing value.
    pub(super) fn non_empty(&mut self, text: Option<&str>, max_bytes: usize) -> Option<Arc<str>> {
        let text = text.filter(|text| is_stated(text))?;
        Some(self.intern(text, max_bytes))
    }

    /// Converts a time. An impossible one is a flaw.
    pub(super) fn time(&mut self, name: &str, time: Option<&DateTime>) -> Option<Timestamp> {
        let time = time?;
        let read = timestamp(time);
        if read.is_none() {
            self.malformed(format!("{name} is out of range: {} seconds after 1970", time.secs()));
        }
        read
    }

    /// Converts a score. An impossible one is a flaw.
    pub(super) fn score(&mut self, name: &str, value: f64) -> Option<Score> {
        let score = Score::new(value).ok();
        if score.is_none() {
            self.malformed(format!("{name} has the invalid score {value}"));
        }
        score
    }

    /// Records an impossible value in the response.
    pub(super) fn malformed(&mut self, detail: impl AsRef<str>) {
        self.flaw(Flaw::Malformed(sanitize(detail.as_ref())));
    }

    /// Records that the response is about something else.
    pub(super) fn mismatch(&mut self, detail: impl AsRef<str>) {
        self.flaw(Flaw::Mismatch(sanitize(detail.as_ref())));
    }

    /// Records missing data in the response.
    pub(super) fn incomplete(&mut self, detail: impl AsRef<str>) {
        self.flaw(Flaw::Incomplete(sanitize(detail.as_ref())));
    }

    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < MAX_FLAWS && !self.flaws.contains(&flaw) {
            self.flaws.push(flaw);
        }
    }

    /// True if the response has no flaws so far.
    pub(super) fn is_flawless(&self) -> bool {
        self.flaws.is_empty()
    }

    /// Returns the flaws, gravest first.
    pub(super) fn into_flaws(mut self) -> Vec<Flaw> {
        self.flaws.sort();
        self.flaws
    }
}

/// True unless the text is empty or one of AWS's placeholders for a missing value.
pub(super) fn is_stated(text: &str) -> bool {
    !matches!(text.trim(), "" | "None Provided" | "NotAvailable")
}

/// Truncates a text to `most` bytes, at a character boundary.
pub(super) fn truncate(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or_default()
}

/// Converts a time of the SDK, which saturates if the number in the response is out of range.
pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}
