//! Checks that the history of policies and waivers is complete and readable.

use super::queries;
use crate::{policy_store::Error, sql::Connection};

/// Revisions that one query reads.
const BATCH_SIZE: i64 = 500;

/// The gaps and unreadable entries of the history, one sentence each. Every revision must have written something.
pub(super) async fn corrupt_revisions(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let current = queries::revision(connection).await?.unwrap_or_default();
    let mut damage = Vec::new();
    let mut seen = 0;
    for from in std::iter::successors(Some(0), |from| Some(from + BATCH_SIZE)).take_while(|from| *from < current) {
        for row in queries::load_between(connection, from, (from + BATCH_SIZE).min(current)).await? {
            if row.revision > seen + 1 {
                damage.push(format!("the entries of revisions {} to {} are missing", seen + 1, row.revision - 1));
            }
            seen = row.revision;
            if let Err(error) = row.into_entry() {
                damage.push(format!("revision {seen} cannot be read: {error}"));
            }
        }
    }
    if seen < current {
        damage.push(format!("the entries of revisions {} to {current} are missing", seen + 1));
    }
    Ok(damage)
}
