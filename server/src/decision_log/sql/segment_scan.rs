//! Segments, newest first, out of the chapters that a key leads to and the tails that none leads to yet.
//!
//! Chapters of several writers overlap, so that the segments of all that have come into sight wait here until no chapter that has
//! not can have a newer one.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    index_batch::{SEGMENTS, SPAN},
    index_terms::Key,
    segment_table,
};
use crate::sql::{Connection, Error, JsonRows, query_error};

/// Chapters that are read at once.
const CHAPTERS: u32 = 32;
/// The most segments of a tail that are looked through: far more than there are where anybody can index.
const TAIL: usize = 20_000;

/// A segment's place in the order of all: its time, its writer, and its first decision.
pub(super) type Place = (i64, Arc<str>, i64);

/// A chapter that the key leads to.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Chapter {
    last_time: i64,
    writer: String,
    first_sequence: i64,
    segments: i64,
}

/// The segments from a place on that may have decisions of a key.
pub(super) struct Newest {
    key: Key,
    from: Place,
    since: i64,
    /// In sight, and not given out yet.
    waiting: BTreeSet<Place>,
    /// Chapters that were found, and whose segments were not looked at.
    chapters: VecDeque<Chapter>,
    /// After which chapter more are found; `None`: there are no more.
    after: Option<(i64, String, i64)>,
}

impl Newest {
    /// Those that are no newer than a place, and no older than a time.
    pub(super) async fn open(connection: &mut Connection, key: Key, from: Place, since: i64) -> Result<Self, Error> {
        // A chapter that ends later than this begins later than the place.
        let after = Some((from.0.saturating_add(SPAN).saturating_add(1), String::new(), 0));
        let mut newest = Self { key, from, since, waiting: BTreeSet::new(), chapters: VecDeque::new(), after };
        for (writer, indexed) in segment_table::unindexed(connection).await? {
            let name: Arc<str> = writer.as_str().into();
            let tail =
                segment_table::tail(connection, &writer, indexed, i64::try_from(TAIL).unwrap_or(i64::MAX)).await?;
            if tail.len() == TAIL {
                // Without the newest of them a list would look whole and not be.
                return Err(Error::Unavailable("more decisions are not indexed yet than can be looked through".into()));
            }
            for (first, last_time) in tail {
                newest.sight((last_time, Arc::clone(&name), first));
            }
        }
        Ok(newest)
    }

    fn sight(&mut self, place: Place) {
        if place <= self.from && place.0 >= self.since {
            self.waiting.insert(place);
        }
    }

    /// The next ones with what is in them, at most so many; empty: there are no more.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
        most: usize,
    ) -> Result<Vec<(Place, Vec<u8>)>, Error> {
        let mut places = Vec::new();
        while places.len() < most {
            if self.chapters.is_empty() {
                self.find(connection).await?;
            }
            let unseen = self.chapters.front().map_or(i64::MIN, |chapter| chapter.last_time);
            let is_next = |place: &Place| self.chapters.is_empty() || place.0 > unseen;
            if self.waiting.last().is_some_and(is_next) {
                places.extend(self.waiting.pop_last());
            } else if let Some(chapter) = self.chapters.pop_front() {
                self.look_at(connection, &chapter).await?;
            } else {
                break;
            }
        }
        read(connection, places).await
    }

    /// Finds more chapters by the key.
    async fn find(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let Some((last_time, writer, first_sequence)) = self.after.take() else { return Ok(()) };
        let found: Vec<Chapter> = sqlx::query_as(
            "select last_time, writer, first_sequence, segments from decision_keys
             where kind = $1 and name = $2 and (last_time, writer, first_sequence) < ($3, $4, $5)
                 and last_time >= $6 and first_time <= $7
             order by last_time desc, writer desc, first_sequence desc limit $8",
        )
        .bind(self.key.0)
        .bind(&self.key.1)
        .bind(last_time)
        .bind(writer)
        .bind(first_sequence)
        .bind(self.since)
        .bind(self.from.0)
        .bind(i64::from(CHAPTERS))
        .fetch_all(connection)
        .await
        .map_err(query_error)?;
        if u32::try_from(found.len()).is_ok_and(|found| found == CHAPTERS) {
            self.after = found.last().map(|last| (last.last_time, last.writer.clone(), last.first_sequence));
        }
        self.chapters.extend(found);
        Ok(())
    }

    async fn look_at(&mut self, connection: &mut Connection, chapter: &Chapter) -> Result<(), Error> {
        let before = chapter.first_sequence.saturating_sub(1);
        let segments = segment_table::tail(connection, &chapter.writer, before, i64::from(SEGMENTS)).await?;
        let writer: Arc<str> = chapter.writer.as_str().into();
        for (index, (first, last_time)) in segments.into_iter().enumerate() {
            if chapter.segments >> index & 1 == 1 {
                self.sight((last_time, Arc::clone(&writer), first));
            }
        }
        Ok(())
    }
}

/// The segments at these places, in the same order.
async fn read(connection: &mut Connection, places: Vec<Place>) -> Result<Vec<(Place, Vec<u8>)>, Error> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let select = "select s.last_time, s.writer, s.first_sequence, s.body from {rows} join decision_segments s
        on s.writer = value ->> 0 and s.first_sequence = cast(value ->> 1 as bigint)";
    let select = JsonRows::new(connection, select, places.iter().map(|(_, writer, first)| (&**writer, first)))?;
    let rows: Vec<(i64, String, i64, Vec<u8>)> = select.query_as().fetch_all(connection).await.map_err(query_error)?;
    let mut read: Vec<(Place, Vec<u8>)> =
        rows.into_iter().map(|(time, writer, first, body)| ((time, Arc::from(writer), first), body)).collect();
    read.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    Ok(read)
}
