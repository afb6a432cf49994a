//! Verifies the decision log and the policies that its decisions rest on.

use super::Error;
use crate::{
    decision_log::{DecisionLog, Report},
    policies,
    policy_store::PolicyStore,
};

/// Verifies the decision log, the history of policies and waivers, and that every policy that decided is unchanged.
pub async fn verify(log: &dyn DecisionLog, store: &dyn PolicyStore) -> Result<Report, Error> {
    let mut report = log.verify().await?;
    // The log comes first: a policy is written before a decision can rest on it.
    for damage in store.corrupt_revisions().await.map_err(policies::Error::from)? {
        report.add_damage(damage);
    }
    for ((id, revision, content_digest), outcome) in std::mem::take(&mut report.policies) {
        let stored = store.content_digest(&id, revision).await.map_err(policies::Error::from)?;
        if stored.as_ref() != Some(&content_digest) {
            report.add_damage(format!(
                "policy {id} at revision {revision} is missing or changed; outcome {outcome} rests on it"
            ));
        }
    }
    Ok(report)
}
