//! The names of seen findings: their own ids, their related ids, and the comparison with scopes and patterns.

use std::{collections::BTreeSet, sync::Arc};

use scangate_core::{finding::Package, package_name, vulnerability_id::is_cve, waiver::Scope};

use super::{BATCH_SIZE, Error, Place, SeenFinding, SeenNames, SqlObservations};
use crate::sql::{self, Connection, RowStatement, Value, row_statement, values};

/// Maximum number of rows that are compared with a pattern.
const MAX_SCANNED_ROWS: i64 = 100_000;
/// The package manager under whose rules names compare: none is recorded.
const MANAGER: &str = "PIP";

const SELECT_RELATED: RowStatement = row_statement!(
    "select r.related_id, r.vulnerability, r.package from",
    (1 related_id text),
    "join related_observations r on r.related_id = input.related_id where r.registry = $2 and r.repository = $3"
);
const INSERT_RELATED: RowStatement = row_statement!(
    "insert into related_observations (registry, repository, related_id, vulnerability, package)
     select $4, $5, related_id, vulnerability, package from",
    (1 related_id text, 2 vulnerability text, 3 package text),
    "where true on conflict (registry, repository, related_id, vulnerability, package) do nothing"
);

/// A related id, the finding's own id, and its package.
type RelatedRow = (String, String, String);
/// A vulnerability, a package, a repository and, for a related id, the finding's own id.
type ScopeRow = (String, String, String, Option<String>);

impl SqlObservations {
    /// Records the related ids of findings that are new to the repository.
    pub(super) async fn observe_related(&self, place: &Place, findings: &[SeenFinding]) -> Result<(), Error> {
        let related = |finding: &SeenFinding| -> Vec<RelatedRow> {
            let row = |id: &Arc<str>| (id.to_string(), finding.vulnerability.to_string(), finding.package.to_string());
            finding.related_ids.iter().map(row).collect()
        };
        let rows: Vec<RelatedRow> = findings.iter().flat_map(related).collect();
        for chunk in rows.chunks(BATCH_SIZE) {
            let recorded = self.load_related(place, chunk).await?;
            let new = chunk.iter().filter(|row| !recorded.contains(*row)).cloned();
            let new: Vec<[Value<'_>; 3]> = new.map(|(id, own, package)| values![id, own, package]).collect();
            if !new.is_empty() {
                let values = values![place.registry.clone(), place.repository.clone()];
                self.database.write_each(INSERT_RELATED, new, values).await?;
            }
        }
        Ok(())
    }

    async fn load_related(&self, place: &Place, rows: &[RelatedRow]) -> Result<BTreeSet<RelatedRow>, Error> {
        let place = place.clone();
        let ids: BTreeSet<String> = rows.iter().map(|(id, ..)| id.clone()).collect();
        let recorded = self.database.read(move |connection| {
            Box::pin(async move {
                let rows: Vec<[Value<'_>; 1]> = ids.iter().map(|id| values![id]).collect();
                connection.query_each(SELECT_RELATED, &rows, &values![&place.registry, &place.repository]).await
            })
        });
        let recorded: Vec<RelatedRow> = recorded.await?;
        Ok(recorded.into_iter().collect())
    }

    pub(super) async fn has_match(&self, scope: &Scope) -> Result<bool, Error> {
        let pattern = scope.vulnerability.clone();
        let rows = self.database.read(move |connection| {
            Box::pin(async move {
                match pattern.exact() {
                    Some(exact) => select_exact(connection, exact).await,
                    None => select_by_prefix(connection, pattern.as_str()).await,
                }
            })
        });
        let rows = rows.await?;
        // Rows beyond the limit were not compared, and any of them may match.
        let is_truncated = i64::try_from(rows.len()).is_ok_and(|rows| rows >= MAX_SCANNED_ROWS);
        Ok(is_truncated || rows.iter().any(|row| may_cover(scope, row)))
    }
}

/// Loads the names under which findings were seen.
pub(super) async fn load_names(connection: &mut Connection) -> Result<SeenNames, sql::Error> {
    let vulnerabilities = select_names(
        connection,
        "select vulnerability from observations union select related_id from related_observations limit $1",
    );
    let vulnerabilities = vulnerabilities.await?;
    let packages = select_names(connection, "select distinct package from observations limit $1").await?;
    Ok(SeenNames::new(vulnerabilities, packages, usize::try_from(MAX_SCANNED_ROWS).unwrap_or(usize::MAX)))
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
    let names: Vec<(String,)> = connection.query(select, &values![MAX_SCANNED_ROWS]).await?;
    Ok(names.into_iter().map(|(name,)| name).collect())
}

async fn select_exact(connection: &mut Connection, vulnerability: &str) -> Result<Vec<ScopeRow>, sql::Error> {
    let select =
        "select vulnerability, package, repository, cast(null as text) from observations where vulnerability = $1
         union select related_id, package, repository, vulnerability from related_observations where related_id = $1
         limit $2";
    connection.query(select, &values![vulnerability, MAX_SCANNED_ROWS]).await
}

async fn select_by_prefix(connection: &mut Connection, pattern: &str) -> Result<Vec<ScopeRow>, sql::Error> {
    let prefix: String = pattern.chars().take_while(|c| *c != '*').collect();
    let length = i64::try_from(prefix.chars().count()).unwrap_or_default();
    let select = "select vulnerability, package, repository, cast(null as text) from observations
         where substr(vulnerability, 1, cast($1 as integer)) = $2
         union select related_id, package, repository, vulnerability from related_observations
         where substr(related_id, 1, cast($1 as integer)) = $2 limit $3";
    connection.query(select, &values![length, &prefix, MAX_SCANNED_ROWS]).await
}
