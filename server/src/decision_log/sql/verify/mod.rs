//! Whether the log is what was recorded: every chain is followed, everything that a decision rests on is read, and what leads to
//! decisions is compared with them.

mod batch_check;
mod index_check;

use std::collections::{BTreeMap, BTreeSet};

use self::index_check::Lookups;
use super::{
    blobs,
    segment::{self, Head, StoredEntry},
    segment_table::{self, Segment, Writer},
};
use crate::{
    decision_log::{Blob, DecisionRecord, EvaluationInputs, Hash, Outcome, Report},
    sql::{Connection, Database, Error, query_error},
};

/// Segments, or blobs, that are read at once.
const AT_ONCE: i64 = 64;
/// CorruptRecord that is told; a log that is damaged all over is told so.
const MOST_DAMAGE: usize = 1_000;

/// Follows every chain, in one state of the database.
pub(super) async fn verify(database: &Database) -> Result<Report, Error> {
    let mut connection = database.reader().await?;
    let mut transaction = database.begin_read(&mut connection).await?;
    let lookups = Lookups::open(&mut transaction).await?;
    let mut checking = Checking { report: Report::default(), lookups, cases: BTreeMap::new(), parts: BTreeMap::new() };
    let writers = segment_table::writers(&mut transaction).await?;
    for writer in &writers {
        checking.chain(&mut transaction, writer).await?;
    }
    checking.strays(&mut transaction, &writers).await?;
    checking.blobs(&mut transaction).await?;
    let report = checking.finish(&mut transaction).await?;
    transaction.rollback().await.map_err(query_error)?;
    Ok(report)
}

struct Checking {
    report: Report,
    lookups: Lookups,
    /// Cases that decisions rest on, each with one of these.
    cases: BTreeMap<Hash, String>,
    /// Blobs that cases rest on, each with one of these.
    parts: BTreeMap<Hash, String>,
}

impl Checking {
    fn damage(&mut self, what: String) {
        if self.report.damage.len() < MOST_DAMAGE {
            self.report.damage.push(what);
        }
    }

    async fn chain(&mut self, connection: &mut Connection, writer: &Writer) -> Result<(), Error> {
        self.report.writers += 1;
        self.report.removed = self.report.removed.saturating_add(writer.pruned.sequence);
        let name = &writer.name;
        let mut at = writer.pruned;
        if at.sequence > 0 {
            self.lookups.removed(name, at.sequence);
        } else if at != Head::beginning(name) {
            self.damage(format!("the chain of {name} does not begin as it was noted to"));
        }
        if writer.indexed > writer.head.sequence {
            self.damage(format!("the chain of {name} is noted to be indexed further than it goes"));
        }
        loop {
            let next = at.sequence.saturating_add(1);
            let segments = segment_table::segments_from(connection, name, next, AT_ONCE).await?;
            if segments.is_empty() {
                break;
            }
            let mut read = Vec::with_capacity(segments.len());
            for segment in segments {
                let entries = self.segment(name, at, &segment);
                at = Head { sequence: segment.last, hash: segment.hash };
                read.push((segment, entries));
            }
            for damage in self.lookups.compare(connection, writer, &read).await? {
                self.damage(damage);
            }
        }
        if let Some(damage) = self.lookups.end_chapter(name) {
            self.damage(damage);
        }
        if at.sequence < writer.head.sequence {
            let (from, to) = (at.sequence.saturating_add(1), writer.head.sequence);
            self.damage(format!("decisions {name}-{from} to {name}-{to} are missing at the end"));
        } else if at != writer.head {
            self.damage(format!("the chain of {name} does not end as it was noted to"));
        }
        Ok(())
    }

    /// Follows the chain through one segment; `None`: it cannot be read.
    fn segment(&mut self, name: &str, at: Head, segment: &Segment) -> Option<Vec<StoredEntry>> {
        let next = at.sequence.saturating_add(1);
        if segment.first != next {
            self.damage(format!("decisions {name}-{next} to {name}-{} are missing", segment.first.saturating_sub(1)));
        }
        let of = format!("decisions {name}-{} to {name}-{}", segment.first, segment.last);
        let mut head = at;
        let entries = match segment::read_on(&segment.body, &mut head) {
            Ok(entries) => entries,
            Err(error) => {
                self.damage(format!("{of} cannot be read: {error}"));
                return None;
            }
        };
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        if segment.last.saturating_sub(segment.first).saturating_add(1) != count {
            self.damage(format!("the segment of {of} has {count} of them"));
        }
        if head.hash == segment.hash {
            self.report.decisions = self.report.decisions.saturating_add(count);
        } else {
            self.damage(format!("{of} are not what was recorded: their hash differs"));
        }
        for (sequence, entry) in (segment.first..).zip(&entries) {
            self.cases.entry(entry.case).or_insert_with(|| format!("{name}-{sequence}"));
        }
        Some(entries)
    }

    /// What can be told once everything was read.
    async fn finish(mut self, connection: &mut Connection) -> Result<Report, Error> {
        for damage in self.lookups.finish(connection).await? {
            self.damage(damage);
        }
        Ok(self.report)
    }

    /// Decisions of writers that nobody knows.
    async fn strays(&mut self, connection: &mut Connection, writers: &[Writer]) -> Result<(), Error> {
        for name in segment_table::segment_writers(connection).await? {
            if !writers.iter().any(|writer| writer.name == name) {
                self.damage(format!("there are decisions of {name}, and no note of how far its chain goes"));
            }
        }
        Ok(())
    }

    /// Reads every blob, and notes what is missing.
    async fn blobs(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let mut there = BTreeSet::new();
        let mut after = String::new();
        loop {
            let blobs = blobs::after(connection, &after, AT_ONCE).await?;
            let Some((last, _)) = blobs.last() else { break };
            after.clone_from(last);
            for (name, body) in blobs {
                match Hash::try_from(name.clone()) {
                    Ok(hash) => {
                        let blob = Blob::kept(hash, body);
                        match blob.content() {
                            Ok(content) => {
                                self.report.blobs += 1;
                                there.insert(hash);
                                self.note_parts(hash, &content);
                            }
                            Err(error) => self.damage(format!("blob {name} is not what was recorded: {error}")),
                        }
                    }
                    Err(_) => self.damage(format!("blob {name:?} has no name of ours")),
                }
            }
        }
        let missing = self.cases.iter().chain(&self.parts).filter(|(hash, _)| !there.contains(*hash));
        let missing: Vec<String> = missing
            .map(|(hash, by)| format!("blob {hash}, which decision {by} rests on, is missing or damaged"))
            .collect();
        for missing in missing {
            self.damage(missing);
        }
        Ok(())
    }

    /// Records the policies that an outcome was decided under.
    fn note_policies(&mut self, hash: Hash, outcome: &Outcome) {
        for policy in &outcome.decision.policies {
            let policy = (policy.id.clone(), policy.revision, policy.content_digest.clone());
            self.report.policies.entry(policy).or_insert(hash);
        }
    }

    /// What a case, its inputs, or its outcome rests on.
    fn note_parts(&mut self, hash: Hash, content: &[u8]) {
        if let Some(by) = self.cases.get(&hash).cloned()
            && let Ok(case) = serde_json::from_slice::<DecisionRecord>(content)
        {
            self.parts.insert(case.inputs, by.clone());
            self.parts.insert(case.outcome, by);
        } else if let Ok(inputs) = serde_json::from_slice::<EvaluationInputs>(content) {
            for part in inputs.needs() {
                self.parts.entry(part).or_insert_with(|| format!("with inputs {hash}"));
            }
        } else if let Ok(outcome) = serde_json::from_slice::<Outcome>(content) {
            self.note_policies(hash, &outcome);
        }
    }
}
