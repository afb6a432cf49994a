//! The names of seen findings: their own ids, their related ids, and the comparison with scopes and patterns.

use std::{collections::BTreeSet, sync::Arc};

use scangate_core::{finding::Package, image::Repository, package_name, vulnerability_id::is_cve, waiver::Scope};

use super::{BATCH_SIZE, Error, SeenFinding, SeenNames, SqlObservations};
use crate::sql::{self, Connection, JsonRows, commit_error, discard_if_broken, query_error};

/// Maximum number of rows that are compared with a pattern.
const MAX_SCANNED_ROWS: i64 = 100_000;
/// The package manager under whose rules names compare: none is recorded.
const MANAGER: &str = "PIP";

/// A related id, the finding's own id, and its package.
type Row<'a> = (&'a str, &'a str, &'a str);
/// A vulnerability, a package, a repository and, for a related id, the finding's own id.
type ScopeRow = (String, String, String, Option<String>);

impl SqlObservations {
    /// Records the related ids of findings that are new to the repository.
    pub(super) async fn observe_related(&self, repository: &Repository, findings: &[SeenFinding]) -> Result<(), Error> {
        let rows: Vec<Row<'_>> = findings
            .iter()
            .flat_map(|finding| {
                finding.related_ids.iter().map(move |id| (&**id, &*finding.vulnerability, &*finding.package))
            })
            .collect();
        for chunk in rows.chunks(BATCH_SIZE) {
            let recorded = self.load_related(repository, chunk).await?;
            let is_new = |(id, own, package): &&Row<'_>| {
                !recorded.contains(&((*id).to_owned(), (*own).to_owned(), (*package).to_owned()))
            };
            let new: Vec<&Row<'_>> = chunk.iter().filter(is_new).collect();
            if !new.is_empty() {
                self.insert_related(repository, &new).await?;
            }
        }
        Ok(())
    }

    async fn load_related(
        &self,
        repository: &Repository,
        rows: &[Row<'_>],
    ) -> Result<BTreeSet<(String, String, String)>, Error> {
        let mut connection = self.database.reader().await?;
        let select = "select related_id, vulnerability, package from related_observations
            where registry = $2 and repository = $3 and related_id in (select value ->> 0 from {rows})";
        let recorded: Vec<(String, String, String)> = JsonRows::new(&connection, select, rows)?
            .query_as()
            .bind(repository.registry.to_string())
            .bind(repository.name.to_string())
            .fetch_all(&mut *connection)
            .await
            .map_err(query_error)?;
        Ok(recorded.into_iter().collect())
    }

    async fn insert_related(&self, repository: &Repository, rows: &[&Row<'_>]) -> Result<(), Error> {
        let insert = "insert into related_observations (registry, repository, related_id, vulnerability, package)
            select $2, $3, value ->> 0, value ->> 1, value ->> 2 from {rows} where true
            on conflict (registry, repository, related_id, vulnerability, package) do nothing";
        let mut connection = self.database.writer().await?;
        let outcome = async {
            let mut transaction = self.database.begin_write(&mut connection).await?;
            JsonRows::new(&transaction, insert, rows)?
                .query()
                .bind(repository.registry.to_string())
                .bind(repository.name.to_string())
                .execute(&mut *transaction)
                .await
                .map_err(query_error)?;
            transaction.commit().await.map_err(commit_error)
        }
        .await;
        Ok(discard_if_broken(&mut connection, outcome)?)
    }

    pub(super) async fn has_match(&self, scope: &Scope) -> Result<bool, Error> {
        let mut connection = self.database.reader().await?;
        let rows = match scope.vulnerability.exact() {
            Some(exact) => select_exact(&mut connection, exact).await?,
            None => select_by_prefix(&mut connection, scope.vulnerability.as_str()).await?,
        };
        // Rows beyond the limit were not compared, and any of them may match.
        let is_truncated = i64::try_from(rows.len()).is_ok_and(|rows| rows >= MAX_SCANNED_ROWS);
        Ok(is_truncated || rows.iter().any(|row| may_cover(scope, row)))
    }

    pub(super) async fn load_names(&self) -> Result<SeenNames, Error> {
        let mut connection = self.database.reader().await?;
        let vulnerabilities = select_names(
            &mut connection,
            "select vulnerability from observations union select related_id from related_observations limit $1",
        );
        let vulnerabilities = vulnerabilities.await?;
        let packages = select_names(&mut connection, "select distinct package from observations limit $1").await?;
        Ok(SeenNames::new(vulnerabilities, packages, usize::try_from(MAX_SCANNED_ROWS).unwrap_or(usize::MAX)))
    }
}

/// True if the scope matches the row, whose related ids count only for findings that are no CVE themselves.
fn may_cover(scope: &Scope, (vulnerability, package, repository, own): &ScopeRow) -> bool {
    let package_of =
        || Package { name: package.as_str().into(), manager: Some(Arc::from(MANAGER)), ..Package::default() };
    scope.vulnerability.matches(vulnerability)
        && own.as_ref().is_none_or(|own| is_cve(vulnerability) && !is_cve(own))
        && scope.package.as_ref().is_none_or(|glob| package_name::matches(glob, &package_of()))
        && scope.repository.as_ref().is_none_or(|glob| glob.matches(repository))
}

async fn select_names(connection: &mut Connection, select: &'static str) -> Result<Vec<String>, sql::Error> {
    sqlx::query_scalar(select).bind(MAX_SCANNED_ROWS).fetch_all(connection).await.map_err(query_error)
}

async fn select_exact(connection: &mut Connection, vulnerability: &str) -> Result<Vec<ScopeRow>, sql::Error> {
    sqlx::query_as(
        "select vulnerability, package, repository, cast(null as text) from observations where vulnerability = $1
         union select related_id, package, repository, vulnerability from related_observations where related_id = $1
         limit $2",
    )
    .bind(vulnerability)
    .bind(MAX_SCANNED_ROWS)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

async fn select_by_prefix(connection: &mut Connection, pattern: &str) -> Result<Vec<ScopeRow>, sql::Error> {
    let prefix: String = pattern.chars().take_while(|c| *c != '*').collect();
    sqlx::query_as(
        "select vulnerability, package, repository, cast(null as text) from observations
         where substr(vulnerability, 1, cast($1 as integer)) = $2
         union select related_id, package, repository, vulnerability from related_observations
         where substr(related_id, 1, cast($1 as integer)) = $2 limit $3",
    )
    .bind(i64::try_from(prefix.chars().count()).unwrap_or_default())
    .bind(prefix)
    .bind(MAX_SCANNED_ROWS)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}
