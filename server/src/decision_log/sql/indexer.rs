//! Writing chapters: what their decisions are found by, once for all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    blobs,
    index_batch::{Chapter, SEGMENTS, Tail},
    segment,
    segment_table::{self, Segment, number_out},
};
use crate::{
    decision_log::{DecisionRecord, Hash},
    sql::{Connection, Database, Error, JsonRows, commit_error, discard_if_broken, query_error},
};

/// How often somebody looks for what writers have left that are no more.
const AGAIN: Duration = Duration::from_mins(1);
/// How old a tail is that its writer has left: far older than one that is looked after.
const LEFT: SignedDuration = SignedDuration::from_mins(1);

/// Writes the chapter that follows a decision; false where that is not the last one that is indexed: somebody else has come first.
pub(super) async fn write(database: &Database, writer: &str, after: u64, chapter: &Chapter) -> Result<bool, Error> {
    let mut connection = database.writer().await?;
    let outcome = write_on(database, &mut connection, writer, after, chapter).await;
    discard_if_broken(&mut connection, outcome)
}

async fn write_on(
    database: &Database,
    connection: &mut Connection,
    writer: &str,
    after: u64,
    chapter: &Chapter,
) -> Result<bool, Error> {
    let mut transaction = database.begin_write(connection).await?;
    let moved = sqlx::query("update decision_writers set indexed = $3 where writer = $1 and indexed = $2")
        .bind(writer)
        .bind(number_out(after))
        .bind(number_out(chapter.last))
        .execute(&mut *transaction)
        .await
        .map_err(query_error)?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    put(&mut transaction, writer, chapter).await?;
    transaction.commit().await.map_err(commit_error)?;
    Ok(true)
}

/// Writes the keys of a chapter.
pub(super) async fn put(connection: &mut Connection, writer: &str, chapter: &Chapter) -> Result<(), Error> {
    let insert = "insert into decision_keys (kind, name, first_time, last_time, writer, first_sequence, segments)
        select value ->> 0, value ->> 1, $2, $3, $4, $5, cast(value ->> 2 as bigint) from {rows}";
    let keys = chapter.keys();
    JsonRows::new(connection, insert, keys.iter().map(|((kind, name), segments)| (kind, name, segments)))?
        .query()
        .bind(chapter.first_time)
        .bind(chapter.last_time)
        .bind(writer.to_owned())
        .bind(number_out(chapter.first))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(query_error)
}

/// Writes chapters of all that a writer has recorded until now since its last one. Not of what it records meanwhile: it may do so
/// for ever.
async fn write_rest(database: &Database, writer: &str) -> Result<(), Error> {
    let last = async {
        let mut connection = database.reader().await?;
        segment_table::indexed(&mut connection, writer).await
    };
    let Some((_, last)) = last.await? else { return Ok(()) };
    while write_some(database, writer, last).await? {}
    Ok(())
}

/// Writes some of these chapters, no further than a decision that is recorded; false where there are none left.
pub(super) async fn write_some(database: &Database, writer: &str, last: u64) -> Result<bool, Error> {
    let mut connection = database.reader().await?;
    let Some((indexed, _)) =
        segment_table::indexed(&mut connection, writer).await?.filter(|(indexed, _)| *indexed < last)
    else {
        return Ok(false);
    };
    let next = indexed.saturating_add(1);
    let segments = segment_table::segments_from(&mut connection, writer, next, i64::from(SEGMENTS)).await?;
    let mut tail = read(&mut connection, &segments).await?;
    drop(connection);
    let mut after = indexed;
    while let Some(chapter) = tail.take() {
        // Where somebody else is at it, too, it is read again how far that has come.
        if !write(database, writer, after, &chapter).await? {
            break;
        }
        after = chapter.last;
    }
    Ok(!segments.is_empty())
}

/// Indexes anew what is left of a chapter whose beginning was cut off, up to a decision.
pub(super) async fn mend(connection: &mut Connection, writer: &str, cut: u64) -> Result<(), Error> {
    let (indexed, _) = segment_table::indexed(connection, writer).await?.unwrap_or_default();
    let next = segment_table::next_chapter(connection, writer, cut).await?;
    let upto = next.map_or(indexed, |next| next.saturating_sub(1));
    let mut segments =
        segment_table::segments_from(connection, writer, cut.saturating_add(1), i64::from(SEGMENTS)).await?;
    segments.retain(|segment| segment.first <= upto);
    let mut tail = read(connection, &segments).await?;
    while let Some(chapter) = tail.take() {
        put(connection, writer, &chapter).await?;
    }
    Ok(())
}

/// Chapters of consecutive segments, as they were read.
pub(super) async fn read(connection: &mut Connection, segments: &[Segment]) -> Result<Tail, Error> {
    // What cannot be read is found by what there is of it: it is for whoever reads it to tell.
    let cases = |segment: &Segment| -> BTreeSet<Hash> {
        segment::read(&segment.body).unwrap_or_default().into_iter().map(|entry| entry.case).collect()
    };
    let cases: Vec<BTreeSet<Hash>> = segments.iter().map(cases).collect();
    let all: Vec<Hash> = cases.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let blobs = blobs::get(connection, &all).await?;
    let known: BTreeMap<Hash, DecisionRecord> =
        blobs.into_iter().filter_map(|(hash, blob)| Some((hash, blob.read().ok()?))).collect();
    let mut tail = Tail::default();
    for (segment, cases) in segments.iter().zip(cases) {
        let cases = cases.into_iter().map(|case| (case, known.get(&case).map(|case| &case.keys)));
        tail.add((segment.first, segment.last), segment.last_time, cases);
    }
    Ok(tail)
}

/// Writes chapters of what every writer has recorded, if nobody has for as long as that.
pub(super) async fn write_all(database: &Database, left: SignedDuration) -> Result<(), Error> {
    let mut connection = database.reader().await?;
    let latest = Timestamp::now().saturating_sub(left).unwrap_or(Timestamp::MIN).as_microsecond();
    let mut writers = Vec::new();
    for (writer, indexed) in segment_table::unindexed(&mut connection).await? {
        let first = segment_table::tail(&mut connection, &writer, indexed, 1).await?;
        if first.iter().any(|(_, last_time)| left.is_zero() || *last_time < latest) {
            writers.push(writer);
        }
    }
    drop(connection);
    for writer in writers {
        write_rest(database, &writer).await?;
    }
    Ok(())
}

/// Looks after what writers have left that were killed, for as long as it is let.
pub(super) async fn keep_up(database: Arc<Database>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        if let Err(error) = write_all(&database, LEFT).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "decisions of before cannot be indexed; they are found all the same"
            );
        }
    }
}
