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
use crate::sql::{self, Connection, Database, JsonRows, commit_error, discard_if_broken, query_error};

/// Maximum number of findings in one statement.
const BATCH_SIZE: usize = 2_000;

#[derive(Debug, sqlx::FromRow)]
struct Row {
    vulnerability: String,
    package: String,
    first_observed: i64,
    fix_first_seen: Option<i64>,
    first_admitted: Option<i64>,
}

impl Row {
    fn into_times(self) -> (Key, FirstSeen) {
        let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
        let times = FirstSeen {
            first_observed_at: at(self.first_observed),
            fix_first_seen_at: self.fix_first_seen.and_then(at),
            first_admitted_at: self.first_admitted.and_then(at),
        };
        ((self.vulnerability.into(), self.package.into()), times)
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

#[async_trait::async_trait]
impl Observations for SqlObservations {
    async fn observe(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error> {
        self.database.with_timeout(self.observe_distinct(repository, environment, distinct(findings), at)).await
    }

    async fn expected_times(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error> {
        let findings = distinct(findings);
        let mut times = self.database.with_timeout(self.load_times(repository, environment, &findings)).await?;
        for finding in &findings {
            let times = times.entry(key(finding)).or_default();
            times.first_observed_at = times.first_observed_at.or(Some(at));
            times.fix_first_seen_at = times.fix_first_seen_at.or(finding.fix_seen.then_some(at));
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
        self.database.with_timeout(self.admit_distinct(repository, environment, distinct(findings), at)).await
    }

    async fn was_seen(&self, scope: &Scope) -> Result<bool, Error> {
        self.database.with_timeout(self.has_match(scope)).await
    }

    async fn seen_names(&self) -> Result<SeenNames, Error> {
        self.database.with_timeout(self.load_names()).await
    }
}

impl SqlObservations {
    /// Creates the observations of a database.
    pub fn new(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database) }
    }

    async fn observe_distinct(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: Vec<SeenFinding>,
        at: Timestamp,
    ) -> Result<FirstSeenTimes, Error> {
        self.observe_related(repository, &findings).await?;
        let times = self.load_times(repository, environment, &findings).await?;
        let is_new = |finding: &&SeenFinding| match times.get(&key(finding)) {
            None => true,
            Some(times) => finding.fix_seen && times.fix_first_seen_at.is_none(),
        };
        let new: Vec<&SeenFinding> = findings.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(to_times(times));
        }
        let insert = "insert into observations
                (registry, repository, vulnerability, package, first_observed, fix_first_seen)
            select $2, $3, value ->> 0, value ->> 1, $4, case when cast(value ->> 2 as bigint) = 1 then $4 end
            from {rows} where true
            on conflict (registry, repository, vulnerability, package) do update set
                fix_first_seen = coalesce(observations.fix_first_seen, excluded.fix_first_seen)";
        self.insert(insert, &new, &[repository.registry.to_string(), repository.name.to_string()], at).await?;
        self.load_times(repository, environment, &findings).await.map(to_times)
    }

    async fn admit_distinct(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: Vec<SeenFinding>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let times = self.load_times(repository, environment, &findings).await?;
        let is_new =
            |finding: &&SeenFinding| times.get(&key(finding)).is_none_or(|times| times.first_admitted_at.is_none());
        let new: Vec<&SeenFinding> = findings.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let insert = "insert into admissions
                (registry, repository, environment, vulnerability, package, first_admitted)
            select $2, $3, $4, value ->> 0, value ->> 1, $5 from {rows} where true
            on conflict (registry, repository, environment, vulnerability, package) do nothing";
        let target = [repository.registry.to_string(), repository.name.to_string(), environment_name(environment)];
        self.insert(insert, &new, &target, at).await
    }

    async fn load_times(
        &self,
        repository: &Repository,
        environment: Option<&Environment>,
        findings: &[SeenFinding],
    ) -> Result<TimesByFinding, Error> {
        let mut connection = self.database.reader().await?;
        select_times(&mut connection, repository, environment, findings).await
    }

    /// Inserts findings by a statement whose rows are vulnerability, package and fix flag. The parameters after the rows are
    /// `texts` and the time.
    async fn insert(
        &self,
        insert: &str,
        findings: &[&SeenFinding],
        texts: &[String],
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut connection = self.database.writer().await?;
        let outcome = async {
            let mut transaction = self.database.begin_write(&mut connection).await?;
            let rows = findings.iter().map(|finding| json_row(finding));
            let mut insert = JsonRows::new(&transaction, insert, rows)?.query();
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

async fn select_times(
    connection: &mut Connection,
    repository: &Repository,
    environment: Option<&Environment>,
    findings: &[SeenFinding],
) -> Result<TimesByFinding, Error> {
    let mut times = TimesByFinding::new();
    let select =
        "select o.vulnerability, o.package, o.first_observed, o.fix_first_seen, a.first_admitted from observations o
         left join admissions a on a.registry = o.registry and a.repository = o.repository and a.environment = $4
             and a.vulnerability = o.vulnerability and a.package = o.package
         where o.registry = $2 and o.repository = $3 and o.vulnerability in (select value ->> 0 from {rows})";
    for chunk in findings.chunks(BATCH_SIZE) {
        let rows: Vec<Row> = JsonRows::new(connection, select, chunk.iter().map(json_row))?
            .query_as()
            .bind(repository.registry.to_string())
            .bind(repository.name.to_string())
            .bind(environment_name(environment))
            .fetch_all(&mut *connection)
            .await
            .map_err(query_error)?;
        times.extend(rows.into_iter().map(Row::into_times));
    }
    let requested: BTreeSet<_> = findings.iter().map(|finding| (&finding.vulnerability, &finding.package)).collect();
    times.retain(|(vulnerability, package), _| requested.contains(&(vulnerability, package)));
    Ok(times)
}

/// Returns the vulnerability, the package, and 1 if a fix was seen.
fn json_row(finding: &SeenFinding) -> (&str, &str, u8) {
    (&finding.vulnerability, &finding.package, finding.fix_seen.into())
}

fn environment_name(environment: Option<&Environment>) -> String {
    environment.map(ToString::to_string).unwrap_or_default()
}
