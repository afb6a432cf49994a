//! Observations in a SQL database.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use scangate_core::{
    first_seen::{FirstSeen, FirstSeenTimes},
    image::Repository,
    name::Environment,
    waiver::Scope,
};

mod related;

use super::{Error, Observations, SeenFinding, SeenNames};
use crate::sql::{self, Database, FromRow, Row, RowStatement, Value, row_statement, values};

/// Maximum number of findings in one statement.
const BATCH_SIZE: usize = 2_000;

const INSERT_OBSERVATIONS: RowStatement = row_statement!(
    "insert into observations (registry, repository, vulnerability, package, first_observed, fix_first_observed)
     select $4, $5, vulnerability, package, $6, fix_first_observed from",
    (1 vulnerability text, 2 package text, 3 fix_first_observed bigint),
    "where true on conflict (registry, repository, vulnerability, package) do update set
         fix_first_observed = coalesce(observations.fix_first_observed, excluded.fix_first_observed)"
);
const INSERT_ADMISSIONS: RowStatement = row_statement!(
    "insert into admissions (registry, repository, environment, vulnerability, package, first_admitted)
     select $3, $4, $5, vulnerability, package, $6 from",
    (1 vulnerability text, 2 package text),
    "where true on conflict (registry, repository, environment, vulnerability, package) do nothing"
);
const SELECT_TIMES: RowStatement = row_statement!(
    "select o.vulnerability, o.package, o.first_observed, o.fix_first_observed, a.first_admitted from",
    (1 vulnerability text),
    "join observations o on o.vulnerability = input.vulnerability
     left join admissions a on a.registry = o.registry and a.repository = o.repository and a.environment = $4
         and a.vulnerability = o.vulnerability and a.package = o.package
     where o.registry = $2 and o.repository = $3"
);

/// The times of a finding.
struct TimesRow(Key, FirstSeen);

impl FromRow for TimesRow {
    fn from_row(row: &Row<'_>) -> Result<Self, sql::Error> {
        let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
        let (vulnerability, package): (String, String) = (row.get(0)?, row.get(1)?);
        let times = FirstSeen {
            first_observe_time: at(row.get(2)?),
            fix_first_observe_time: row.get::<Option<i64>>(3)?.and_then(at),
            first_admit_time: row.get::<Option<i64>>(4)?.and_then(at),
        };
        Ok(Self((vulnerability.into(), package.into()), times))
    }
}

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::Unavailable(source) => Self::Unavailable(source),
            sql::Error::Corrupt { what, source } => Self::Corrupt { what, source },
        }
    }
}

/// Observations in a SQL database.
#[derive(Debug)]
pub struct SqlObservations {
    database: Arc<Database>,
}

/// The repository and environment of observations, in columns.
#[derive(Clone, Debug)]
struct Place {
    registry: String,
    repository: String,
    /// Empty if the request names no environment.
    environment: String,
}

impl Place {
    fn new(repository: &Repository, environment: Option<&Environment>) -> Self {
        Self {
            registry: repository.registry.to_string(),
            repository: repository.name.to_string(),
            environment: environment.map(ToString::to_string).unwrap_or_default(),
        }
    }
}

#[async_trait::async_trait]
impl Observations for SqlObservations {
    async fn observe(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error> {
        let (place, findings) = (Place::new(repository, environment), distinct(findings));
        self.observe_related(&place, &findings).await?;
        let times = self.load_times(&place, &findings).await?;
        let is_new = |finding: &SeenFinding| match times.get(&key(finding)) {
            None => true,
            Some(times) => finding.fix_seen && times.fix_first_observe_time.is_none(),
        };
        let row = |one: &SeenFinding| {
            let fix_first_seen = one.fix_seen.then_some(at.as_microsecond());
            values![one.vulnerability.to_string(), one.package.to_string(), fix_first_seen]
        };
        let new: Vec<[Value<'_>; 3]> = findings.iter().filter(|finding| is_new(finding)).map(row).collect();
        if new.is_empty() {
            return Ok(to_times(times));
        }
        let values = values![place.registry.clone(), place.repository.clone(), at.as_microsecond()];
        self.database.write_each(INSERT_OBSERVATIONS, new, values).await?;
        Ok(to_times(self.load_times(&place, &findings).await?))
    }

    async fn expected_times(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error> {
        let findings = distinct(findings);
        let mut times = self.load_times(&Place::new(repository, environment), &findings).await?;
        for finding in &findings {
            let times = times.entry(key(finding)).or_default();
            times.first_observe_time = times.first_observe_time.or(Some(at));
            times.fix_first_observe_time = times.fix_first_observe_time.or(finding.fix_seen.then_some(at));
        }
        Ok(to_times(times))
    }

    async fn record_admission(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<(), Error> {
        let (place, findings) = (Place::new(repository, environment), distinct(findings));
        let times = self.load_times(&place, &findings).await?;
        let is_new =
            |finding: &SeenFinding| times.get(&key(finding)).is_none_or(|times| times.first_admit_time.is_none());
        let row = |one: &SeenFinding| values![one.vulnerability.to_string(), one.package.to_string()];
        let new: Vec<[Value<'_>; 2]> = findings.iter().filter(|finding| is_new(finding)).map(row).collect();
        if !new.is_empty() {
            let values = values![place.registry, place.repository, place.environment, at.as_microsecond()];
            self.database.write_each(INSERT_ADMISSIONS, new, values).await?;
        }
        Ok(())
    }

    async fn was_seen(&self, scope: &Scope) -> Result<bool, Error> {
        self.has_match(scope).await
    }

    async fn seen_names(&self) -> Result<SeenNames, Error> {
        Ok(self.database.read(|connection| Box::pin(related::load_names(connection))).await?)
    }
}

impl SqlObservations {
    /// Creates the observations of a database.
    pub fn new(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database) }
    }

    async fn load_times(&self, place: &Place, findings: &[SeenFinding]) -> Result<TimesByFinding, Error> {
        let place = place.clone();
        let vulnerabilities: BTreeSet<Arc<str>> = findings.iter().map(|one| Arc::clone(&one.vulnerability)).collect();
        let times = self.database.read(|connection| {
            Box::pin(async move {
                let Place { registry, repository, environment } = &place;
                let rows: Vec<[Value<'_>; 1]> = vulnerabilities.iter().map(|id| values![&**id]).collect();
                let values = values![registry, repository, environment];
                let mut times = Vec::new();
                for rows in rows.chunks(BATCH_SIZE) {
                    times.extend(connection.query_each::<TimesRow, 1>(SELECT_TIMES, rows, &values).await?);
                }
                Ok::<_, sql::Error>(times)
            })
        });
        let mut times: TimesByFinding = times.await?.into_iter().map(|TimesRow(key, times)| (key, times)).collect();
        let requested: BTreeSet<_> =
            findings.iter().map(|finding| (&finding.vulnerability, &finding.package)).collect();
        times.retain(|(vulnerability, package), _| requested.contains(&(vulnerability, package)));
        Ok(times)
    }
}

/// A vulnerability and a package.
type Key = (Arc<str>, Arc<str>);

type TimesByFinding = BTreeMap<Key, FirstSeen>;

fn key(finding: &SeenFinding) -> Key {
    (Arc::clone(&finding.vulnerability), Arc::clone(&finding.package))
}

/// Merges findings of the same vulnerability and package, and sorts them, so that two servers that write the same ones cannot
/// deadlock.
fn distinct(findings: &[SeenFinding]) -> Vec<SeenFinding> {
    /// The fix flag and the related ids.
    type Merged<'a> = (bool, BTreeSet<&'a Arc<str>>);
    let mut distinct: BTreeMap<(&Arc<str>, &Arc<str>), Merged<'_>> = BTreeMap::new();
    for finding in findings {
        let (fix_seen, related_ids) = distinct.entry((&finding.vulnerability, &finding.package)).or_default();
        *fix_seen |= finding.fix_seen;
        related_ids.extend(&finding.related_ids);
    }
    let findings = distinct.into_iter().map(|((vulnerability, package), (fix_seen, related_ids))| SeenFinding {
        vulnerability: Arc::clone(vulnerability),
        package: Arc::clone(package),
        fix_seen,
        related_ids: related_ids.into_iter().cloned().collect(),
    });
    findings.collect()
}

fn to_times(times_by_finding: TimesByFinding) -> FirstSeenTimes {
    let mut first_seen = FirstSeenTimes::default();
    for ((vulnerability, package), times) in times_by_finding {
        first_seen.set(vulnerability, package, times);
    }
    first_seen
}
