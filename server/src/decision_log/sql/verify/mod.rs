//! Verifies the whole log: every chain, every blob that decisions reference, and the keys that lead to decisions.

mod index_check;

use std::collections::{BTreeMap, BTreeSet};

use self::index_check::IndexVerifier;
use super::{
    blobs,
    segment::{self, Head, StoredEntry},
    segment_table::{self, Segment, WriterRow},
};
use crate::{
    decision_log::{Blob, DecisionRecord, EvaluationInputs, Hash, Outcome, Report},
    sql::{Connection, Error},
};

/// Maximum number of segments or blobs in one read.
const READ_BATCH_SIZE: i64 = 64;

/// Verifies the log, in the caller's snapshot.
pub(super) async fn verify(connection: &mut Connection) -> Result<Report, Error> {
    let index = IndexVerifier::load(connection).await?;
    let mut verifier = Verifier { report: Report::default(), index, records: BTreeMap::new(), parts: BTreeMap::new() };
    let writers = segment_table::load_writers(connection).await?;
    for writer in &writers {
        verifier.check_chain(connection, writer).await?;
    }
    verifier.check_orphans(connection, &writers).await?;
    verifier.check_blobs(connection).await?;
    for damage in verifier.index.finish(connection).await? {
        verifier.report.add_damage(damage);
    }
    Ok(verifier.report)
}

struct Verifier {
    report: Report,
    index: IndexVerifier,
    /// The referenced records, each with one decision that references it.
    records: BTreeMap<Hash, String>,
    /// The referenced parts, each with one decision or inputs blob that references it.
    parts: BTreeMap<Hash, String>,
}

impl Verifier {
    async fn check_chain(&mut self, connection: &mut Connection, writer: &WriterRow) -> Result<(), Error> {
        let name = &writer.name;
        self.check_writer(writer);
        let mut at = writer.trimmed;
        loop {
            let next = at.sequence.saturating_add(1);
            let segments = segment_table::segments_from(connection, name, next, READ_BATCH_SIZE).await?;
            if segments.is_empty() {
                break;
            }
            let mut read = Vec::with_capacity(segments.len());
            for segment in segments {
                let entries = self.check_segment(name, at, &segment);
                at = Head { sequence: segment.last, hash: segment.hash };
                read.push((segment, entries));
            }
            for damage in self.index.check_segments(connection, writer, &read).await? {
                self.report.add_damage(damage);
            }
        }
        if let Some(damage) = self.index.finish_batch(name) {
            self.report.add_damage(damage);
        }
        if at.sequence < writer.head.sequence {
            let (from, to) = (at.sequence.saturating_add(1), writer.head.sequence);
            self.report
                .add_damage(format!("decisions {name}-{from} to {name}-{to} are missing at the end of the chain"));
        } else if at != writer.head {
            self.report.add_damage(format!("writer {name}: the chain does not end at the stored position"));
        }
        Ok(())
    }

    /// Verifies the stored start and index position of a chain.
    fn check_writer(&mut self, writer: &WriterRow) {
        let WriterRow { name, head, trimmed, indexed } = writer;
        self.report.writers += 1;
        self.report.removed = self.report.removed.saturating_add(trimmed.sequence);
        if trimmed.sequence > 0 {
            self.index.skip_trimmed(name, trimmed.sequence);
        } else if *trimmed != Head::genesis(name) {
            self.report.add_damage(format!("writer {name}: the chain does not start with the writer's first hash"));
        }
        if *indexed > head.sequence {
            self.report.add_damage(format!("writer {name}: the stored index position is beyond the end of the chain"));
        }
    }

    /// Verifies the chain through a segment, and returns its entries; `None` if it cannot be read.
    fn check_segment(&mut self, name: &str, at: Head, segment: &Segment) -> Option<Vec<StoredEntry>> {
        let next = at.sequence.saturating_add(1);
        if segment.first != next {
            self.report.add_damage(format!(
                "decisions {name}-{next} to {name}-{} are missing",
                segment.first.saturating_sub(1)
            ));
        }
        let range = format!("decisions {name}-{} to {name}-{}", segment.first, segment.last);
        let mut head = at;
        let entries = match segment::decode_chained(&segment.body, &mut head) {
            Ok(entries) => entries,
            Err(error) => {
                self.report.add_damage(format!("{range} cannot be read: {error}"));
                return None;
            }
        };
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        if segment.last.saturating_sub(segment.first).saturating_add(1) != count {
            self.report.add_damage(format!("{range}: the segment contains {count} decisions"));
        }
        if head.hash == segment.hash {
            self.report.decisions = self.report.decisions.saturating_add(count);
        } else {
            self.report.add_damage(format!("{range} were modified: their hash differs"));
        }
        for (sequence, entry) in (segment.first..).zip(&entries) {
            self.records.entry(entry.record).or_insert_with(|| format!("{name}-{sequence}"));
        }
        Some(entries)
    }

    /// Reports segments of writers without a stored chain.
    async fn check_orphans(&mut self, connection: &mut Connection, writers: &[WriterRow]) -> Result<(), Error> {
        for name in segment_table::segment_writers(connection).await? {
            if !writers.iter().any(|writer| writer.name == name) {
                self.report
                    .add_damage(format!("writer {name}: decisions exist, but the end of their chain is not stored"));
            }
        }
        Ok(())
    }

    /// Verifies every blob, and reports the missing ones.
    async fn check_blobs(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let mut intact = BTreeSet::new();
        let mut after = String::new();
        loop {
            let blobs = blobs::load_after(connection, &after, READ_BATCH_SIZE).await?;
            let Some((last, _)) = blobs.last() else { break };
            after.clone_from(last);
            for (name, body) in blobs {
                intact.extend(self.check_blob(&name, body));
            }
        }
        let missing = self.records.iter().chain(&self.parts).filter(|(hash, _)| !intact.contains(*hash));
        for (hash, by) in missing {
            self.report.add_damage(format!("blob {hash}, which decision {by} references, is missing or damaged"));
        }
        Ok(())
    }

    /// Verifies a blob, and returns its hash if it is intact.
    fn check_blob(&mut self, name: &str, body: Vec<u8>) -> Option<Hash> {
        let Ok(hash) = Hash::try_from(name.to_owned()) else {
            self.report.add_damage(format!("blob {name:?}: the name is not a hash"));
            return None;
        };
        match Blob::from_stored(hash, body).content() {
            Ok(content) => {
                self.report.blobs += 1;
                self.note_parts(hash, &content);
                Some(hash)
            }
            Err(error) => {
                self.report.add_damage(format!("blob {name} was modified: {error}"));
                None
            }
        }
    }

    /// Adds the policies of an outcome to the report.
    fn note_policies(&mut self, hash: Hash, outcome: &Outcome) {
        for policy in &outcome.decision.policies {
            let policy = (policy.id.clone(), policy.revision, policy.content_digest.clone());
            self.report.policies.entry(policy).or_insert(hash);
        }
    }

    /// Notes the parts that a record or its inputs reference, and the policies of an outcome.
    fn note_parts(&mut self, hash: Hash, content: &[u8]) {
        if let Some(by) = self.records.get(&hash).cloned()
            && let Ok(record) = serde_json::from_slice::<DecisionRecord>(content)
        {
            self.parts.insert(record.inputs, by.clone());
            self.parts.insert(record.outcome, by);
        } else if let Ok(inputs) = serde_json::from_slice::<EvaluationInputs>(content) {
            for part in inputs.part_hashes() {
                self.parts.entry(part).or_insert_with(|| format!("with inputs {hash}"));
            }
        } else if let Ok(outcome) = serde_json::from_slice::<Outcome>(content) {
            self.note_policies(hash, &outcome);
        }
    }
}
