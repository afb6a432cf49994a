//! The selection of findings whose details are requested from Inspector, because each request takes time.

use std::{collections::HashSet, sync::Arc};

use scangate_core::{
    finding::{Exploit, Finding, Status},
    severity::{Rating, Severity},
};

use super::{InspectorRecord, Records, details, stricter};

/// The EPSS from which details are requested, whatever the severity.
const MIN_EPSS: f64 = 0.1;

/// The findings to request details of, by ARN, each list worst first.
#[derive(Debug, Default)]
pub(super) struct DetailSelection {
    /// Findings whose details could change a decision. CISA rarely lists a vulnerability that is neither severe nor
    /// probably exploited.
    pub(super) unchecked: Vec<Arc<str>>,
    /// Findings with a known exploit: the details only add the dates of CISA's entry.
    exploited: Vec<Arc<str>>,
}

impl DetailSelection {
    /// Selects among the findings that Inspector lists, without duplicates.
    pub(super) fn new(findings: &[Finding], records: &Records) -> Self {
        let mut sorted: Vec<&Finding> = findings.iter().collect();
        sorted.sort_by(|a, b| a.worst_first(b));
        let (mut selection, mut seen) = (Self::default(), HashSet::new());
        for finding in sorted {
            let Some((arn, record)) = finding.arn.as_ref().and_then(|arn| records.get_key_value(arn)) else { continue };
            if !record.listed || is_closed(finding, record) || !seen.insert(arn) {
                continue;
            }
            if finding.exploit == Exploit::Known || record.exploit_known {
                selection.exploited.push(Arc::clone(arn));
            } else if is_relevant(finding, record) {
                selection.unchecked.push(Arc::clone(arn));
            }
        }
        selection
    }

    /// Returns the findings to request: those that could change a decision first, within this server's limit.
    pub(super) fn requested(&self) -> Vec<Arc<str>> {
        self.unchecked.iter().chain(&self.exploited).take(details::MAX_FINDINGS).cloned().collect()
    }
}

fn is_closed(finding: &Finding, record: &InspectorRecord) -> bool {
    record.status.map_or(finding.status, |status| stricter(finding.status, status)) == Status::Closed
}

fn is_relevant(finding: &Finding, record: &InspectorRecord) -> bool {
    let severe = match &finding.severity {
        Rating::Rated(severity) => *severity >= Severity::High,
        Rating::Unrated(_) => true,
    };
    severe || record.epss.is_none_or(|epss| epss.value() >= MIN_EPSS)
}
