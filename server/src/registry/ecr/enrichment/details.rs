//! Details of findings: exploitation listed by CISA or observed by Inspector.

use std::{collections::HashSet, sync::Arc};

use aws_sdk_inspector2::{
    operation::batch_get_finding_details::BatchGetFindingDetailsOutput,
    primitives::DateTime,
    types::{CisaData, ExploitObserved, FindingDetail, FindingDetailsErrorCode},
};

use scangate_core::finding::{Kev, ReportedTime};

use super::{Enricher, InspectorRecord, Records, probability};
use crate::registry::{
    Error,
    ecr::{diagnostics::timestamp, error::malformed, operation::Operation},
};

const GET_DETAILS: Operation = Operation::inspector("BatchGetFindingDetails");

/// The maximum of findings in one call of Inspector.
const BATCH_SIZE: usize = 10;
/// The maximum of findings of one image, 20 calls: more details are not worth their time.
pub(super) const MAX_FINDINGS: usize = 20 * BATCH_SIZE;

/// Merges the details of findings, in this order, into the records.
pub(super) async fn load(enricher: Enricher<'_>, arns: &[Arc<str>], records: &mut Records) -> Result<(), Error> {
    for batch in arns.chunks(BATCH_SIZE) {
        let response = enricher.fetch_details(batch).await?;
        apply_response(batch, &response, records)?;
    }
    Ok(())
}

impl Enricher<'_> {
    async fn fetch_details(self, arns: &[Arc<str>]) -> Result<BatchGetFindingDetailsOutput, Error> {
        let arns = arns.iter().map(ToString::to_string).collect();
        let request = self.client.inspector.batch_get_finding_details().set_finding_arns(Some(arns));
        let response = self.client.retry.call(GET_DETAILS, self.deadline, || request.clone().send()).await;
        response.map_err(|error| error.into_error(GET_DETAILS))
    }
}

/// Merges a response, which must mention every requested finding. A finding without details counts as mentioned.
fn apply_response(
    requested: &[Arc<str>],
    response: &BatchGetFindingDetailsOutput,
    records: &mut Records,
) -> Result<(), Error> {
    let mut mentioned: HashSet<&str> = HashSet::new();
    for details in response.finding_details() {
        let Some(arn) = details.finding_arn().filter(|arn| requested.iter().any(|requested| **requested == **arn))
        else {
            continue;
        };
        mentioned.insert(arn);
        if let Some(record) = records.get_mut(arn) {
            record.merge(&InspectorRecord::from_details(details));
        }
    }
    for error in response.errors() {
        if *error.error_code() == FindingDetailsErrorCode::FindingDetailsNotFound {
            let arn = error.finding_arn();
            mentioned.insert(arn);
            if let Some(record) = records.get_mut(arn).filter(|_| requested.iter().any(|requested| **requested == *arn))
            {
                record.exploit_checked = true;
            }
        } else {
            let (code, arn) = (error.error_code().as_str(), error.finding_arn());
            return Err(malformed(GET_DETAILS, format!("{code} for {arn}: {}", error.error_message())));
        }
    }
    match requested.iter().find(|arn| !mentioned.contains(&***arn)) {
        Some(arn) => Err(malformed(GET_DETAILS, format!("the response lacks {arn}"))),
        None => Ok(()),
    }
}

impl InspectorRecord {
    fn from_details(details: &FindingDetail) -> Self {
        let kev = details.cisa_data().and_then(parse_kev);
        Self {
            epss: details.epss_score().and_then(probability),
            exploit_known: kev.is_some() || details.exploit_observed().is_some_and(is_observed),
            exploit_checked: true,
            kev,
            ..Self::default()
        }
    }
}

/// Parses an entry of CISA's catalogue. An empty structure lists nothing; an impossible date is unknown.
fn parse_kev(cisa: &CisaData) -> Option<Kev> {
    let listed = cisa.date_added().is_some()
        || cisa.date_due().is_some()
        || cisa.action().is_some_and(|action| !action.is_empty());
    let time = |time: Option<&DateTime>| time.and_then(timestamp).map(ReportedTime::from);
    listed.then(|| Kev { add_time: time(cisa.date_added()), due_time: time(cisa.date_due()) })
}

fn is_observed(observed: &ExploitObserved) -> bool {
    observed.first_seen().is_some() || observed.last_seen().is_some()
}
