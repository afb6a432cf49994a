//! Whether the log is what was recorded: every chain is followed, and everything that a decision rests on is read.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    segment,
    statements::{self, Head, Writer},
};
use crate::{
    decisions::{Blob, Hash, Inputs},
    log::{Case, Report},
    store::{
        Error,
        sql::{Connection, Database, failed},
    },
};

/// Segments, or blobs, that are read at once.
const AT_ONCE: i64 = 64;
/// Damage that is told; a log that is damaged all over is told so.
const MOST_DAMAGE: usize = 1_000;

/// Follows every chain, in one state of the database.
pub(super) async fn verify(database: &Database) -> Result<Report, Error> {
    let mut connection = database.reader().await?;
    let mut transaction = database.begin_read(&mut connection).await?;
    let mut checking = Checking::default();
    let writers = statements::writers(&mut transaction).await?;
    for writer in &writers {
        checking.chain(&mut transaction, writer).await?;
    }
    checking.strays(&mut transaction, &writers).await?;
    checking.blobs(&mut transaction).await?;
    transaction.rollback().await.map_err(failed)?;
    Ok(checking.report)
}

#[derive(Default)]
struct Checking {
    report: Report,
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
        let name = &writer.name;
        let mut at = writer.pruned;
        loop {
            let next = at.sequence.saturating_add(1);
            let segments = statements::segments_from(connection, name, next, AT_ONCE).await?;
            if segments.is_empty() {
                break;
            }
            for segment in segments {
                if segment.first != at.sequence.saturating_add(1) {
                    let (from, to) = (at.sequence.saturating_add(1), segment.first.saturating_sub(1));
                    self.damage(format!("decisions {name}-{from} to {name}-{to} are missing"));
                }
                let mut hash = at.hash;
                match segment::read(&segment.body, &mut hash) {
                    Err(error) => {
                        self.damage(format!(
                            "decisions {name}-{} to {name}-{} cannot be read: {error}",
                            segment.first, segment.last
                        ));
                    }
                    Ok(entries) => {
                        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
                        if segment.last.saturating_sub(segment.first).saturating_add(1) != count {
                            self.damage(format!(
                                "the segment of decisions {name}-{} to {name}-{} has {count} of them",
                                segment.first, segment.last
                            ));
                        }
                        if hash != segment.hash {
                            self.damage(format!(
                                "decisions {name}-{} to {name}-{} are not what was recorded: their hash differs",
                                segment.first, segment.last
                            ));
                        } else {
                            self.report.decisions = self.report.decisions.saturating_add(count);
                        }
                        for (sequence, entry) in (segment.first..).zip(entries) {
                            self.cases.entry(entry.case).or_insert_with(|| format!("{name}-{sequence}"));
                        }
                    }
                }
                at = Head { sequence: segment.last, hash: segment.hash };
            }
        }
        if at.sequence < writer.head.sequence {
            let (from, to) = (at.sequence.saturating_add(1), writer.head.sequence);
            self.damage(format!("decisions {name}-{from} to {name}-{to} are missing at the end"));
        } else if at != writer.head {
            self.damage(format!("the chain of {name} does not end as it was noted to"));
        }
        Ok(())
    }

    /// Decisions of writers that nobody knows.
    async fn strays(&mut self, connection: &mut Connection, writers: &[Writer]) -> Result<(), Error> {
        let names: Vec<String> = sqlx::query_scalar("select distinct writer from decision_segments order by writer")
            .fetch_all(connection)
            .await
            .map_err(failed)?;
        for name in names {
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
            let blobs = statements::blobs_after(connection, &after, AT_ONCE).await?;
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

    /// What a case, or the inputs of one, rests on.
    fn note_parts(&mut self, hash: Hash, content: &[u8]) {
        if let Some(by) = self.cases.get(&hash).cloned()
            && let Ok(case) = serde_json::from_slice::<Case>(content)
        {
            self.parts.insert(case.inputs, by.clone());
            self.parts.insert(case.outcome, by);
        } else if let Ok(inputs) = serde_json::from_slice::<Inputs>(content) {
            for part in inputs.needs() {
                self.parts.entry(part).or_insert_with(|| format!("with inputs {hash}"));
            }
        }
    }
}
