//! Whether what leads to decisions leads to the right ones: keys, requests, and the policies that they were made under.
//!
//! None of it is in the chains. All of it can be told from what is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use moka::sync::Cache;

use super::{
    super::{
        blobs,
        idempotency_keys::{self, Remembered},
        index_terms,
        segment::StoredEntry,
        segment_table::{self, Segment, Writer},
    },
    batch_check::ChapterCheck,
};
use crate::{
    decision_log::{DecisionRecord, Hash, IndexTerms},
    idempotency::DEDUP_WINDOW,
    sql::{Connection, Error},
};

/// Cases whose keys are held while a log is checked.
const CASES: u64 = 2_000;

/// A request's id and fingerprint, with when it is forgotten.
type Request = (String, String, i64);

/// What is known of lookups while chains are followed.
pub(super) struct Lookups {
    now: Timestamp,
    /// Requests that are remembered, by the decision that they lead to.
    requests: BTreeMap<(String, u64), Request>,
    cases: Cache<Hash, IndexTerms>,
    /// The chapter that the chain has come to.
    chapter: Option<ChapterCheck>,
}

impl Lookups {
    pub(super) async fn open(connection: &mut Connection) -> Result<Self, Error> {
        let request = |request: Remembered| {
            let Remembered { id, fingerprint, writer, sequence, expire_time } = request;
            ((writer, u64::try_from(sequence).unwrap_or_default()), (id, fingerprint, expire_time))
        };
        let requests = idempotency_keys::remembered(connection).await?.into_iter().map(request).collect();
        let (now, cases) = (Timestamp::now(), Cache::new(CASES));
        Ok(Self { now, requests, cases, chapter: None })
    }

    /// Compares the keys of consecutive segments with their decisions, and their requests with those that are remembered.
    pub(super) async fn compare(
        &mut self,
        connection: &mut Connection,
        writer: &Writer,
        segments: &[(Segment, Option<Vec<StoredEntry>>)],
    ) -> Result<Vec<String>, Error> {
        let (Some((first, _)), Some((last, _))) = (segments.first(), segments.last()) else { return Ok(Vec::new()) };
        let mut cases = BTreeSet::new();
        for entry in segments.iter().filter_map(|(_, entries)| entries.as_ref()).flatten() {
            cases.insert(entry.case);
        }
        let cases = self.read_cases(connection, &cases).await?;
        let name = &writer.name;
        let mut found = segment_table::keys_of(connection, name, first.first, last.first).await?;
        let mut damage = Vec::new();
        for (segment, entries) in segments {
            if let Some(keys) = found.remove(&segment.first) {
                damage.extend(self.end_chapter(name));
                self.chapter = Some(ChapterCheck::begin(keys, segment));
            }
            damage.extend(self.compare_keys(writer, segment, entries.as_deref(), &cases));
            for (sequence, entry) in (segment.first..).zip(entries.iter().flatten()) {
                damage.extend(self.compare_request(name, sequence, entry));
            }
        }
        Ok(damage)
    }

    fn compare_keys(
        &mut self,
        writer: &Writer,
        segment: &Segment,
        entries: Option<&[StoredEntry]>,
        cases: &BTreeMap<Hash, IndexTerms>,
    ) -> Vec<String> {
        let mut damage = Vec::new();
        let of = format!("decisions {0}-{1} to {0}-{2}", writer.name, segment.first, segment.last);
        let latest = entries.map(|entries| entries.iter().map(|entry| entry.evaluated_at.as_microsecond()).max());
        if latest.is_some_and(|latest| latest != Some(segment.last_time)) {
            damage.push(format!("{of} are noted with a time that none of them was made at"));
        }
        let found = self.chapter.as_mut().map(|chapter| chapter.next(segment)).unwrap_or_default();
        let cases = entries.and_then(|entries| {
            entries.iter().map(|entry| Some((entry.case, cases.get(&entry.case)?))).collect::<Option<Vec<_>>>()
        });
        // What cannot be read, or what it is about, is told as what it is.
        if let Some(cases) = cases {
            let expected = if segment.first <= writer.indexed { keys_of(&cases) } else { BTreeSet::new() };
            if expected != found {
                damage.push(format!("{of} are not found by all that they are about, or by more than that"));
            }
        }
        damage
    }

    /// What is wrong with the chapter that has ended.
    pub(super) fn end_chapter(&mut self, writer: &str) -> Option<String> {
        self.chapter.take().and_then(|chapter| chapter.end(writer))
    }

    fn compare_request(&mut self, writer: &str, sequence: u64, entry: &StoredEntry) -> Option<String> {
        let remembered = self.requests.remove(&(writer.to_owned(), sequence));
        let name = format!("{writer}-{sequence}");
        match (&entry.request, remembered) {
            (Some((id, fingerprint)), Some((remembered, of, _))) if *id == remembered && *fingerprint == of => None,
            (_, Some((id, ..))) => {
                Some(format!("request {id:?} leads to decision {name}, which another or none has asked for"))
            }
            (Some((id, _)), None) => {
                let forgotten = entry.evaluated_at.saturating_add(DEDUP_WINDOW).unwrap_or(Timestamp::MAX);
                (self.now < forgotten).then(|| format!("request {id:?} no longer leads to decision {name}"))
            }
            (None, None) => None,
        }
    }

    /// What these cases are about, as far as they can be read. The cache may let go of any at any time: what is compared is held here.
    async fn read_cases(
        &self,
        connection: &mut Connection,
        cases: &BTreeSet<Hash>,
    ) -> Result<BTreeMap<Hash, IndexTerms>, Error> {
        let mut known: BTreeMap<Hash, IndexTerms> =
            cases.iter().filter_map(|case| Some((*case, self.cases.get(case)?))).collect();
        let missing: Vec<Hash> = cases.iter().filter(|case| !known.contains_key(*case)).copied().collect();
        for (hash, blob) in blobs::get(connection, &missing).await? {
            if let Ok(case) = blob.read::<DecisionRecord>() {
                self.cases.insert(hash, case.keys.clone());
                known.insert(hash, case.keys);
            }
        }
        Ok(known)
    }

    /// Decisions of a writer that retention has removed: requests may lead there, and be told that they are gone.
    pub(super) fn removed(&mut self, writer: &str, upto: u64) {
        self.requests.retain(|(of, sequence), _| of != writer || *sequence > upto);
    }

    /// What is left once every chain was followed: requests and keys that lead nowhere, and policies that are gone.
    pub(super) async fn finish(&mut self, connection: &mut Connection) -> Result<Vec<String>, Error> {
        let now = self.now.as_microsecond();
        let leads_nowhere = |((writer, sequence), (id, _, expire_time)): ((String, u64), Request)| {
            (expire_time > now)
                .then(|| format!("request {id:?} leads to decision {writer}-{sequence}, which is not there"))
        };
        let mut damage: Vec<String> =
            std::mem::take(&mut self.requests).into_iter().filter_map(leads_nowhere).collect();
        let strays = segment_table::stray_keys(connection).await?;
        if strays > 0 {
            damage.push(format!("{strays} keys lead to decisions that are not there"));
        }
        Ok(damage)
    }
}

fn keys_of(cases: &[(Hash, &IndexTerms)]) -> BTreeSet<(String, String)> {
    let keys = cases.iter().flat_map(|(case, keys)| index_terms::of(*case, Some(*keys)));
    keys.chain([index_terms::all()]).map(|(kind, name)| (kind.to_owned(), name)).collect()
}
