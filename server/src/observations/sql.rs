//! What the gate remembers of findings, in the store's database.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    first_seen::{FirstSeen, FirstSeenTimes},
    name::Environment,
    waiver::Scope,
};

use super::{Error, Observations, SeenFinding};
use crate::{
    registry::Repository,
    sql::{self, Connection, Database, JsonRows, commit_error, discard_if_broken, query_error},
};

/// Findings that one statement asks about.
const ROWS: usize = 2_000;
/// Rows that are looked through for what a pattern matches.
const LOOKED_THROUGH: i64 = 100_000;

#[derive(Debug, sqlx::FromRow)]
struct Row {
    vulnerability: String,
    package: String,
    first_observed: i64,
    fix_first_seen: Option<i64>,
    first_admitted: Option<i64>,
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

#[async_trait::async_trait]
impl Observations for SqlObservations {
    async fn observe(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        met: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error> {
        self.database.with_timeout(self.observed(repository, environment, distinct(met), at)).await
    }

    async fn admit(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        met: &[SeenFinding],
        at: Timestamp,
    ) -> Result<(), Error> {
        self.database.with_timeout(self.admitted(repository, environment, distinct(met), at)).await
    }

    async fn was_seen(&self, scope: &Scope) -> Result<bool, Error> {
        self.database.with_timeout(self.met(scope)).await
    }
}

impl SqlObservations {
    /// The observations of a database.
    pub fn new(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database) }
    }

    async fn observed(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        met: Vec<SeenFinding>,
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error> {
        let known = self.known(repository, environment, &met).await?;
        let is_new = |met: &&SeenFinding| match known.get(&(Arc::clone(&met.vulnerability), Arc::clone(&met.package))) {
            None => true,
            Some(clock) => met.fix_seen && clock.fix_first_seen_at.is_none(),
        };
        let new: Vec<&SeenFinding> = met.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(clocks(known));
        }
        let insert = "insert into observations
                (registry, repository, vulnerability, package, first_observed, fix_first_seen)
            select $2, $3, value ->> 0, value ->> 1, $4, case when cast(value ->> 2 as bigint) = 1 then $4 end
            from {rows} where true
            on conflict (registry, repository, vulnerability, package) do update set
                fix_first_seen = coalesce(observations.fix_first_seen, excluded.fix_first_seen)";
        self.note(insert, &new, &[repository.registry.to_string(), repository.name.to_string()], at).await?;
        self.known(repository, environment, &met).await.map(clocks)
    }

    async fn admitted(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        met: Vec<SeenFinding>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let known = self.known(repository, environment, &met).await?;
        let is_new = |met: &&SeenFinding| {
            let known = known.get(&(Arc::clone(&met.vulnerability), Arc::clone(&met.package)));
            known.is_none_or(|clock| clock.first_admitted_at.is_none())
        };
        let new: Vec<&SeenFinding> = met.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let insert = "insert into admissions
                (registry, repository, environment, vulnerability, package, first_admitted)
            select $2, $3, $4, value ->> 0, value ->> 1, $5 from {rows} where true
            on conflict (registry, repository, environment, vulnerability, package) do nothing";
        let place = [repository.registry.to_string(), repository.name.to_string(), name_of(environment)];
        self.note(insert, &new, &place, at).await
    }

    async fn known(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        met: &[SeenFinding],
    ) -> Result<Known, Error> {
        let mut connection = self.database.reader().await?;
        read(&mut connection, repository, environment, met).await
    }

    async fn met(&self, scope: &Scope) -> Result<bool, Error> {
        let mut connection = self.database.reader().await?;
        let pattern = scope.vulnerability.as_str();
        let prefix: String = pattern.chars().take_while(|c| *c != '*').collect();
        let rows: Vec<(String, String, String)> = match scope.vulnerability.exact() {
            Some(exact) => {
                sqlx::query_as(
                    "select distinct vulnerability, package, repository from observations where vulnerability = $1 limit $2",
                )
                .bind(exact)
                .bind(LOOKED_THROUGH)
                .fetch_all(&mut *connection)
                .await
            }
            None => {
                sqlx::query_as(
                    "select distinct vulnerability, package, repository from observations
                     where substr(vulnerability, 1, cast($1 as integer)) = $2 limit $3",
                )
                .bind(i64::try_from(prefix.chars().count()).unwrap_or_default())
                .bind(prefix)
                .bind(LOOKED_THROUGH)
                .fetch_all(&mut *connection)
                .await
            }
        }
        .map_err(query_error)?;
        // Where there are more than were looked through, any of them may be it.
        let is_cut_off = i64::try_from(rows.len()).is_ok_and(|rows| rows >= LOOKED_THROUGH);
        Ok(is_cut_off
            || rows.iter().any(|(vulnerability, package, repository)| {
                scope.vulnerability.matches(vulnerability)
                    && scope.package.as_ref().is_none_or(|glob| glob.matches(package))
                    && scope.repository.as_ref().is_none_or(|glob| glob.matches(repository))
            }))
    }

    /// Writes what was met, with a statement over rows of vulnerability, package and whether a fix was seen. What it binds after
    /// them are texts and the time.
    async fn note(&self, insert: &str, met: &[&SeenFinding], texts: &[String], at: Timestamp) -> Result<(), Error> {
        let mut connection = self.database.writer().await?;
        let outcome = async {
            let mut transaction = self.database.begin_write(&mut connection).await?;
            let mut insert = JsonRows::new(&transaction, insert, met.iter().map(|met| row(met)))?.query();
            for text in texts {
                insert = insert.bind(text.clone());
            }
            insert.bind(at.as_microsecond()).execute(&mut *transaction).await.map_err(query_error)?;
            transaction.commit().await.map_err(commit_error)
        }
        .await;
        Ok(discard_if_broken(&mut connection, outcome)?)
    }
}

type Known = BTreeMap<(Arc<str>, Arc<str>), FirstSeen>;

/// Each vulnerability in each package once, in order, so that two servers that write the same ones do not wait for each other.
fn distinct(met: &[SeenFinding]) -> Vec<SeenFinding> {
    let mut distinct: BTreeMap<(&Arc<str>, &Arc<str>), bool> = BTreeMap::new();
    for met in met {
        *distinct.entry((&met.vulnerability, &met.package)).or_default() |= met.fix_seen;
    }
    let met = |((vulnerability, package), fix_seen): ((&Arc<str>, &Arc<str>), bool)| SeenFinding {
        vulnerability: Arc::clone(vulnerability),
        package: Arc::clone(package),
        fix_seen,
    };
    distinct.into_iter().map(met).collect()
}

fn clocks(known: Known) -> FirstSeenTimes {
    let mut clocks = FirstSeenTimes::default();
    for ((vulnerability, package), clock) in known {
        clocks.set(vulnerability, package, clock);
    }
    clocks
}

async fn read(
    connection: &mut Connection,
    repository: &Repository,
    environment: Option<&Environment>,
    met: &[SeenFinding],
) -> Result<Known, Error> {
    let mut known = Known::new();
    let select =
        "select o.vulnerability, o.package, o.first_observed, o.fix_first_seen, a.first_admitted from observations o
         left join admissions a on a.registry = o.registry and a.repository = o.repository and a.environment = $4
             and a.vulnerability = o.vulnerability and a.package = o.package
         where o.registry = $2 and o.repository = $3 and o.vulnerability in (select value ->> 0 from {rows})";
    for some in met.chunks(ROWS) {
        let found: Vec<Row> = JsonRows::new(connection, select, some.iter().map(row))?
            .query_as()
            .bind(repository.registry.to_string())
            .bind(repository.name.to_string())
            .bind(name_of(environment))
            .fetch_all(&mut *connection)
            .await
            .map_err(query_error)?;
        for row in found {
            let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
            let clock = FirstSeen {
                first_observed_at: at(row.first_observed),
                fix_first_seen_at: row.fix_first_seen.and_then(at),
                first_admitted_at: row.first_admitted.and_then(at),
            };
            known.insert((row.vulnerability.into(), row.package.into()), clock);
        }
    }
    let asked: std::collections::BTreeSet<_> = met.iter().map(|met| (&met.vulnerability, &met.package)).collect();
    known.retain(|(vulnerability, package), _| asked.contains(&(vulnerability, package)));
    Ok(known)
}

/// Vulnerability, package, and one where a fix was seen.
fn row(met: &SeenFinding) -> (&str, &str, u8) {
    (&met.vulnerability, &met.package, met.fix_seen.into())
}

fn name_of(environment: Option<&Environment>) -> String {
    environment.map(ToString::to_string).unwrap_or_default()
}
