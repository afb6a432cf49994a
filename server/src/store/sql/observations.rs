//! What the gate remembers of findings, in the store's database.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    clocks::{Clock, Clocks},
    waiver::Scope,
};
use sqlx::AssertSqlSafe;

use super::{Connection, Sql, failed, log::statements::rows, outcome_unknown, part_with};
use crate::{
    observations::{Met, Observations},
    registry::Repository,
    store::Error,
};

/// Rows that one statement writes or asks for.
const ROWS: usize = 400;
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

#[async_trait::async_trait]
impl Observations for Sql {
    async fn observe(&self, repository: &Repository, met: &[Met], at: Timestamp) -> Result<Clocks, Error> {
        self.database().bounded(self.observed(repository, distinct(met), at)).await
    }

    async fn admit(&self, repository: &Repository, met: &[Met], at: Timestamp) -> Result<(), Error> {
        self.database().bounded(self.admitted(repository, distinct(met), at)).await
    }

    async fn has_met(&self, scope: &Scope) -> Result<bool, Error> {
        self.database().bounded(self.met(scope)).await
    }
}

impl Sql {
    async fn observed(&self, repository: &Repository, met: Vec<Met>, at: Timestamp) -> Result<Clocks, Error> {
        let known = {
            let mut connection = self.database().reader().await?;
            read(&mut connection, repository, &met).await?
        };
        let is_new = |met: &&Met| match known.get(&(Arc::clone(&met.vulnerability), Arc::clone(&met.package))) {
            None => true,
            Some(clock) => met.fix_seen && clock.fix_first_seen_at.is_none(),
        };
        let new: Vec<&Met> = met.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(clocks(known));
        }
        self.note(repository, &new, at, None).await?;
        let mut connection = self.database().reader().await?;
        Ok(clocks(read(&mut connection, repository, &met).await?))
    }

    async fn admitted(&self, repository: &Repository, met: Vec<Met>, at: Timestamp) -> Result<(), Error> {
        let known = {
            let mut connection = self.database().reader().await?;
            read(&mut connection, repository, &met).await?
        };
        let is_new = |met: &&Met| {
            let known = known.get(&(Arc::clone(&met.vulnerability), Arc::clone(&met.package)));
            known.is_none_or(|clock| clock.first_admitted_at.is_none())
        };
        let new: Vec<&Met> = met.iter().filter(is_new).collect();
        if new.is_empty() { Ok(()) } else { self.note(repository, &new, at, Some(at)).await }
    }

    async fn met(&self, scope: &Scope) -> Result<bool, Error> {
        let mut connection = self.database().reader().await?;
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
        .map_err(failed)?;
        Ok(rows.iter().any(|(vulnerability, package, repository)| {
            scope.vulnerability.matches(vulnerability)
                && scope.package.as_ref().is_none_or(|glob| glob.matches(package))
                && scope.repository.as_ref().is_none_or(|glob| glob.matches(repository))
        }))
    }

    async fn note(
        &self,
        repository: &Repository,
        met: &[&Met],
        at: Timestamp,
        admitted: Option<Timestamp>,
    ) -> Result<(), Error> {
        let mut connection = self.database().writer().await?;
        let outcome = async {
            let mut transaction = self.database().begin_write(&mut connection).await?;
            for some in met.chunks(ROWS) {
                write(&mut transaction, repository, some, at, admitted).await?;
            }
            transaction.commit().await.map_err(outcome_unknown)
        }
        .await;
        if let Err(error) = &outcome {
            part_with(&mut connection, error);
        }
        outcome
    }
}

type Known = BTreeMap<(Arc<str>, Arc<str>), Clock>;

/// Each vulnerability in each package once, in order, so that two servers that write the same ones do not wait for each other.
fn distinct(met: &[Met]) -> Vec<Met> {
    let mut distinct: BTreeMap<(&Arc<str>, &Arc<str>), bool> = BTreeMap::new();
    for met in met {
        *distinct.entry((&met.vulnerability, &met.package)).or_default() |= met.fix_seen;
    }
    let met = |((vulnerability, package), fix_seen): ((&Arc<str>, &Arc<str>), bool)| Met {
        vulnerability: Arc::clone(vulnerability),
        package: Arc::clone(package),
        fix_seen,
    };
    distinct.into_iter().map(met).collect()
}

fn clocks(known: Known) -> Clocks {
    let mut clocks = Clocks::default();
    for ((vulnerability, package), clock) in known {
        clocks.set(vulnerability, package, clock);
    }
    clocks
}

async fn read(connection: &mut Connection, repository: &Repository, met: &[Met]) -> Result<Known, Error> {
    let mut known = Known::new();
    for some in met.chunks(ROWS) {
        let listed: Vec<String> = (3..3 + some.len()).map(|index| format!("${index}")).collect();
        let select = format!(
            "select vulnerability, package, first_observed, fix_first_seen, first_admitted from observations
             where registry = $1 and repository = $2 and vulnerability in ({})",
            listed.join(", ")
        );
        let mut query = sqlx::query_as(AssertSqlSafe(select))
            .bind(repository.registry.to_string())
            .bind(repository.name.to_string());
        for met in some {
            query = query.bind(met.vulnerability.to_string());
        }
        let found: Vec<Row> = query.fetch_all(&mut *connection).await.map_err(failed)?;
        for row in found {
            let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
            let clock = Clock {
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

async fn write(
    connection: &mut Connection,
    repository: &Repository,
    met: &[&Met],
    at: Timestamp,
    admitted: Option<Timestamp>,
) -> Result<(), Error> {
    let insert = rows(
        "insert into observations (registry, repository, vulnerability, package, first_observed, fix_first_seen, first_admitted)
         values ",
        met.len(),
        7,
        " on conflict (registry, repository, vulnerability, package) do update set
            fix_first_seen = coalesce(observations.fix_first_seen, excluded.fix_first_seen),
            first_admitted = coalesce(observations.first_admitted, excluded.first_admitted)",
    );
    let mut query = sqlx::query(AssertSqlSafe(insert));
    for met in met {
        query = query
            .bind(repository.registry.to_string())
            .bind(repository.name.to_string())
            .bind(met.vulnerability.to_string())
            .bind(met.package.to_string())
            .bind(at.as_microsecond())
            .bind(met.fix_seen.then(|| at.as_microsecond()))
            .bind(admitted.map(Timestamp::as_microsecond));
    }
    query.execute(connection).await.map(|_| ()).map_err(failed)
}
