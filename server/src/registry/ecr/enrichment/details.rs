//! Details of findings: whether CISA lists the vulnerability as exploited, and whether Inspector has seen it exploited.

use std::{collections::HashSet, sync::Arc};

use aws_sdk_inspector2::{
    operation::batch_get_finding_details::BatchGetFindingDetailsOutput,
    types::{CisaData, ExploitObserved, FindingDetail, FindingDetailsErrorCode},
};

use super::{Asking, Record, Records, probability};
use crate::registry::{
    Error,
    ecr::{error::malformed, retry::Operation},
};

const GET_DETAILS: Operation = Operation::inspector("BatchGetFindingDetails");

/// The most findings that Inspector takes at once.
const BATCH: usize = 10;
/// Calls for one image: beyond them the details cost more time than they are worth.
const MOST_CALLS: usize = 20;

/// Reads the details of findings, worst first, into the records, and counts those left out by this server's bound.
pub(super) async fn read(asking: Asking<'_>, arns: &[Arc<str>], records: &mut Records) -> Result<usize, Error> {
    let (asked, left_out) = arns.split_at(arns.len().min(BATCH * MOST_CALLS));
    for batch in asked.chunks(BATCH) {
        let answer = asking.details(batch).await?;
        take(batch, &answer, records)?;
    }
    Ok(left_out.len())
}

impl Asking<'_> {
    async fn details(self, arns: &[Arc<str>]) -> Result<BatchGetFindingDetailsOutput, Error> {
        let arns = arns.iter().map(ToString::to_string).collect();
        let request = self.served.inspector.batch_get_finding_details().set_finding_arns(Some(arns));
        let answer = self.served.caller.call(GET_DETAILS, self.deadline, || request.clone().send()).await;
        answer.map_err(|failure| failure.into_error(GET_DETAILS))
    }
}

/// Takes an answer, which must speak of every finding asked about. That there are no details is an answer, too.
fn take(asked: &[Arc<str>], answer: &BatchGetFindingDetailsOutput, records: &mut Records) -> Result<(), Error> {
    let mut told: HashSet<&str> = HashSet::new();
    for details in answer.finding_details() {
        let Some(arn) = details.finding_arn().filter(|arn| asked.iter().any(|asked| **asked == **arn)) else {
            continue;
        };
        told.insert(arn);
        if let Some(record) = records.get_mut(arn) {
            record.learn(&Record::detailed(details));
        }
    }
    for error in answer.errors() {
        if *error.error_code() == FindingDetailsErrorCode::FindingDetailsNotFound {
            let arn = error.finding_arn();
            told.insert(arn);
            if let Some(record) = records.get_mut(arn).filter(|_| asked.iter().any(|asked| **asked == *arn)) {
                record.exploit_heard = true;
            }
        } else {
            let (code, arn) = (error.error_code().as_str(), error.finding_arn());
            return Err(malformed(GET_DETAILS, format!("{code} for {arn}: {}", error.error_message())));
        }
    }
    match asked.iter().find(|arn| !told.contains(&***arn)) {
        Some(arn) => Err(malformed(GET_DETAILS, format!("the answer leaves out {arn}"))),
        None => Ok(()),
    }
}

impl Record {
    fn detailed(details: &FindingDetail) -> Self {
        let exploited = details.cisa_data().is_some_and(is_listed) || details.exploit_observed().is_some_and(is_seen);
        Self {
            epss: details.epss_score().and_then(probability),
            exploit_known: exploited,
            exploit_heard: true,
            ..Self::default()
        }
    }
}

/// An empty structure lists nothing.
fn is_listed(cisa: &CisaData) -> bool {
    cisa.date_added().is_some() || cisa.date_due().is_some() || cisa.action().is_some_and(|action| !action.is_empty())
}

fn is_seen(observed: &ExploitObserved) -> bool {
    observed.first_seen().is_some() || observed.last_seen().is_some()
}
