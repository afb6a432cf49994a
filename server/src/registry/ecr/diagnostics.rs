//! What is noted while one scan is read: texts kept once each and cut to size, and whatever is wrong with the answer.

use std::{collections::HashSet, sync::Arc};

use aws_sdk_ecr::primitives::DateTime;
use jiff::Timestamp;
use scangate_core::{finding::Score, scan::Flaw};

use super::error::sanitize;

/// As much of a description as is kept, in bytes.
pub(super) const MAX_DESCRIPTION_BYTES: usize = 4096;
/// As much of a name, title, version or address as is kept.
pub(super) const MAX_NAME_BYTES: usize = 512;
/// Flaws told of one scan; the first would do.
const MAX_FLAWS: usize = 16;

/// Notes on one scan.
#[derive(Debug, Default)]
pub(super) struct ScanDiagnostics {
    texts: HashSet<Arc<str>>,
    flaws: Vec<Flaw>,
}

impl ScanDiagnostics {
    /// A text cut to so many bytes, shared with its equals.
    pub(super) fn intern(&mut self, text: &str, most: usize) -> Arc<str> {
        let text = truncate(text, most);
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&text));
        text
    }

    /// A text that says something: not empty, and none of the words for nothing.
    pub(super) fn non_empty(&mut self, text: Option<&str>, most: usize) -> Option<Arc<str>> {
        let text = text.filter(|text| !matches!(*text, "" | "None Provided" | "NotAvailable"))?;
        Some(self.intern(text, most))
    }

    /// A time; one that cannot be is a flaw.
    pub(super) fn time(&mut self, what: &str, time: Option<&DateTime>) -> Option<Timestamp> {
        let time = time?;
        let read = timestamp(time);
        if read.is_none() {
            self.malformed(format!("{what} is {} seconds after 1970", time.secs()));
        }
        read
    }

    /// A score; one that cannot be is a flaw.
    pub(super) fn score(&mut self, of: &str, value: f64) -> Option<Score> {
        let score = Score::new(value).ok();
        if score.is_none() {
            self.malformed(format!("{of} has the score {value}"));
        }
        score
    }

    /// The answer has an impossible value.
    pub(super) fn malformed(&mut self, what: impl AsRef<str>) {
        self.flaw(Flaw::Malformed(sanitize(what.as_ref())));
    }

    /// The answer is about something else.
    pub(super) fn mismatch(&mut self, what: impl AsRef<str>) {
        self.flaw(Flaw::Mismatch(sanitize(what.as_ref())));
    }

    /// Something is missing from the answer.
    pub(super) fn incomplete(&mut self, what: impl AsRef<str>) {
        self.flaw(Flaw::Incomplete(sanitize(what.as_ref())));
    }

    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < MAX_FLAWS && !self.flaws.contains(&flaw) {
            self.flaws.push(flaw);
        }
    }

    /// Whether nothing is wrong with the answer so far.
    pub(super) fn is_flawless(&self) -> bool {
        self.flaws.is_empty()
    }

    /// What is wrong with the answer, gravest first.
    pub(super) fn into_flaws(mut self) -> Vec<Flaw> {
        self.flaws.sort();
        self.flaws
    }
}

/// As much of a text as so many bytes hold.
pub(super) fn truncate(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// A time of the SDK, which saturates where the wire's number is out of all bounds.
pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}
