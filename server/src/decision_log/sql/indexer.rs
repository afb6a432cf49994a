//! The indexer: writes index batches, and finishes those of stopped writers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    blobs,
    index_batch::{IndexBatch, Indexed, MAX_SEGMENTS, PendingIndex},
    segment::{Line, SegmentBody},
    segment_table,
};
use crate::{
    decision_log::{DecisionRecord, Hash},
    sql::{Connection, Database, Error, RowStatement, Value, row_statement, values},
};

/// Interval of the scan for tails that stopped writers have left.
const SCAN_INTERVAL: Duration = Duration::from_mins(1);
/// Age from which a tail counts as abandoned, far above the age that a running writer allows.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_mins(1);

const INSERT_KEYS: RowStatement = row_statement!(
    "insert into decision_keys (kind, name, first_time, last_time, writer, first_sequence, segments)
     select kind, name, $4, $5, $6, $7, segments from",
    (1 kind text, 2 name text, 3 segments bigint),
    ""
);

/// Writes the batch that starts after a decision; false if another server has already indexed past that decision.
pub(super) async fn write_batch(
    database: &Database,
    writer: &str,
    after: u64,
    batch: IndexBatch,
) -> Result<bool, Error> {
    let writer = writer.to_owned();
    let write = database.write(move |connection| {
        Box::pin(async move {
            let advance = "update decision_writers set indexed = $3 where writer = $1 and indexed = $2";
            let values = values![&writer, after, batch.last];
            let is_advanced = connection.execute(advance, &values).await? > 0;
            if is_advanced {
                insert_keys(connection, &writer, &batch).await?;
            }
            Ok(is_advanced)
        })
    });
    write.await
}

/// Inserts the keys of a batch.
pub(super) async fn insert_keys(connection: &mut Connection, writer: &str, batch: &IndexBatch) -> Result<(), Error> {
    let keys = batch.keys();
    let rows: Vec<[Value<'_>; 3]> =
        keys.iter().map(|((kind, name), segments)| values![*kind, name, *segments]).collect();
    let values = values![batch.first_time, batch.last_time, writer, batch.first];
    connection.execute_each(INSERT_KEYS, &rows, &values).await?;
    Ok(())
}

/// Indexes a writer's tail up to its current head. Later decisions are left out: a busy writer would keep this running.
async fn index_up_to(database: &Database, writer: &str) -> Result<(), Error> {
    let name = writer.to_owned();
    let chain =
        database.read(move |connection| Box::pin(async move { segment_table::load_chain(connection, &name).await }));
    let Some(chain) = chain.await? else { return Ok(()) };
    while index_some(database, writer, chain.sequence).await? {}
    Ok(())
}

/// Indexes a few segments of a writer's tail, up to a decision; false if none are left.
pub(super) async fn index_some(database: &Database, writer: &str, last: u64) -> Result<bool, Error> {
    let name = writer.to_owned();
    let tail = database.read(move |connection| Box::pin(async move { load_tail(connection, &name, last).await }));
    let Some((indexed, mut pending)) = tail.await? else { return Ok(false) };
    let mut after = indexed;
    while let Some(batch) = pending.pop() {
        let batch_last = batch.last;
        // If another server indexes the same tail, the next call reads its progress.
        if !write_batch(database, writer, after, batch).await? {
            break;
        }
        after = batch_last;
    }
    Ok(true)
}

/// Loads the first batches of a writer's tail up to a decision, with the last indexed decision; `None` if there is no tail.
async fn load_tail(connection: &mut Connection, writer: &str, last: u64) -> Result<Option<(u64, PendingIndex)>, Error> {
    let chain = segment_table::load_chain(connection, writer).await?;
    let Some(indexed) = chain.map(|chain| chain.indexed).filter(|indexed| *indexed < last) else { return Ok(None) };
    let next = indexed.saturating_add(1);
    let segments = segment_table::segments_from(connection, writer, next, i64::from(MAX_SEGMENTS)).await?;
    if segments.is_empty() {
        return Ok(None);
    }
    Ok(Some((indexed, batches_from(connection, &segments).await?)))
}

/// Reindexes the rest of a batch that was trimmed up to a decision.
pub(super) async fn reindex_partial(connection: &mut Connection, writer: &str, trimmed: u64) -> Result<(), Error> {
    let last = segment_table::batch_end(connection, writer, trimmed).await?;
    let next = trimmed.saturating_add(1);
    let mut segments: Vec<SegmentBody> =
        segment_table::segments_from(connection, writer, next, i64::from(MAX_SEGMENTS)).await?;
    segments.retain(|segment| segment.first <= last);
    let mut pending = batches_from(connection, &segments).await?;
    while let Some(batch) = pending.pop() {
        insert_keys(connection, writer, &batch).await?;
    }
    Ok(())
}

/// Builds the batches of consecutive segments.
async fn batches_from(connection: &mut Connection, segments: &[SegmentBody]) -> Result<PendingIndex, Error> {
    // An unreadable segment or record gets a key that every list reads; reads and verification report it.
    let decisions = |segment: &SegmentBody| -> BTreeSet<(Option<Hash>, Option<String>)> {
        let decision = |line: &Line| (line.record(), line.caller().map(str::to_owned));
        segment.decode().map_or(BTreeSet::from([(None, None)]), |lines| lines.iter().map(decision).collect())
    };
    let decisions: Vec<BTreeSet<(Option<Hash>, Option<String>)>> = segments.iter().map(decisions).collect();
    let hashes: BTreeSet<Hash> = decisions.iter().flatten().filter_map(|(record, _)| *record).collect();
    let hashes: Vec<Hash> = hashes.into_iter().collect();
    let blobs = blobs::load(connection, &hashes).await?;
    let loaded: BTreeMap<Hash, DecisionRecord> =
        blobs.into_iter().filter_map(|(hash, blob)| Some((hash, blob.decode().ok()?))).collect();
    let mut pending = PendingIndex::default();
    for (segment, decisions) in segments.iter().zip(&decisions) {
        let terms = |hash: Option<Hash>| Some(&loaded.get(&hash?)?.keys);
        let decisions = decisions.iter().map(|(record, caller)| Indexed {
            record: *record,
            terms: terms(*record),
            caller: caller.as_deref(),
        });
        pending.add((segment.first, segment.last), segment.last_time, decisions);
    }
    Ok(pending)
}

/// Indexes every tail whose first segment is older than `min_age`. A damaged row of one writer is an error
/// after the others are indexed.
pub(super) async fn index_all(database: &Database, min_age: SignedDuration) -> Result<(), Error> {
    let latest = Timestamp::now().saturating_sub(min_age).unwrap_or(Timestamp::MIN).as_microsecond();
    let writers = database.read(move |connection| {
        Box::pin(async move {
            let mut writers = Vec::new();
            for (writer, indexed) in segment_table::unindexed_writers(connection).await? {
                let first = segment_table::segments_after(connection, &writer, indexed, 1).await?;
                if first.iter().any(|(_, _, last_time)| min_age.is_zero() || *last_time < latest) {
                    writers.push(writer);
                }
            }
            Ok::<_, Error>(writers)
        })
    });
    let mut outcome = Ok(());
    for writer in writers.await? {
        match index_up_to(database, &writer).await {
            Err(error @ Error::Corrupt { .. }) => outcome = outcome.and(Err(error)),
            indexed => indexed?,
        }
    }
    outcome
}

/// Indexes abandoned tails at regular intervals, until its task is aborted.
pub(super) async fn run(database: Arc<Database>) {
    loop {
        tokio::time::sleep(SCAN_INTERVAL).await;
        if let Err(error) = index_all(&database, ABANDONED_AFTER).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "abandoned decisions cannot be indexed; lists still include them"
            );
        }
    }
}
