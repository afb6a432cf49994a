//! Positions of a reader of the log, and their compact form for a reader that comes back later.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::DecisionId;

/// Decisions that are recorded from now on were evaluated at most this long ago, by the clock of any server.
const MAX_RECORDING_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// A reader's position in one chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainCursor {
    /// The last sequence number read.
    pub sequence: u64,
    /// An evaluation time that is not exceeded up to there, in microseconds.
    pub last_time: i64,
    /// The last sequence number of the chain at the last read.
    pub head: u64,
}

/// A reader's position in every chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// The positions by writer.
    pub chains: BTreeMap<Arc<str>, ChainCursor>,
    /// The writer that was read last; the next read begins with the one after it.
    pub last_read: Arc<str>,
}

/// A position in the whole log that outlives its reader.
///
/// Chains of servers that are long gone are left out: the time says that they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bookmark {
    /// The time before which every decision of an unlisted chain is read, in microseconds.
    pub settled: i64,
    /// The last sequence number read, by writer.
    pub chains: BTreeMap<Arc<str>, u64>,
}

impl Cursors {
    /// Moves past a decision, and all before it in its chain.
    pub fn advance(&mut self, id: &DecisionId) {
        self.chains.entry(Arc::clone(&id.writer)).or_default().sequence = id.sequence;
    }

    /// True if the last read left decisions unread.
    pub fn has_unread(&self) -> bool {
        self.chains.values().any(|chain| chain.sequence < chain.head)
    }

    /// Prepares to [`advance`](Self::advance) step by step to a later position.
    pub fn look_ahead(&mut self, later: &Self) {
        for (writer, later) in &later.chains {
            let chain = self.chains.entry(Arc::clone(writer)).or_default();
            (chain.head, chain.last_time) = (later.head, later.last_time);
        }
    }

    /// Returns the bookmark of this position.
    pub fn bookmark(&self, now: Timestamp) -> Bookmark {
        let settled = now.saturating_sub(MAX_RECORDING_DELAY).unwrap_or(Timestamp::MIN).as_microsecond();
        let is_settled = |chain: &ChainCursor| chain.sequence >= chain.head && chain.last_time < settled;
        let listed = self.chains.iter().filter(|(_, chain)| !is_settled(chain));
        Bookmark { settled, chains: listed.map(|(writer, chain)| (Arc::clone(writer), chain.sequence)).collect() }
    }
}
