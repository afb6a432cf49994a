//! Findings and the use of their image, and the result of an expression for them.

use jiff::Timestamp;
use scangate_core::{
    expression::Expression,
    finding::{Exploit, Finding, Fix, Kev, Package, ReportedTime, Score, Status},
    scan::Usage,
    severity::{Rating, Severity},
    unknown::WhenUnknown,
};
use scangate_test_fixtures::{finding, noon};

/// The result of an expression for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Matches,
    DoesNot,
    /// `when_unknown` decides.
    Unknown,
}

/// The result for a finding of an image whose use is unknown.
pub(crate) fn answer(expression: &Expression, finding: &Finding) -> Answer {
    answer_at(expression, finding, &Usage::default(), noon())
}

pub(crate) fn answer_at(expression: &Expression, finding: &Finding, usage: &Usage, now: Timestamp) -> Answer {
    let when = |unknown| expression.matches(finding, usage, Severity::High, now, unknown);
    match (when(WhenUnknown::Match), when(WhenUnknown::NoMatch)) {
        (true, true) => Answer::Matches,
        (false, false) => Answer::DoesNot,
        (true, false) => Answer::Unknown,
        (false, true) => panic!("{expression} inverts when_unknown"),
    }
}

/// The use of an image that three tasks run.
pub(crate) fn in_use() -> Usage {
    Usage { in_use_count: Some(3), last_in_use_time: Some("2026-03-01T10:00:00Z".parse().unwrap()) }
}

fn reported(time: &str) -> ReportedTime {
    time.parse::<Timestamp>().unwrap().into()
}

/// A finding whose scan reports every field.
pub(crate) fn full() -> Finding {
    Finding {
        id: "CVE-2026-1001".into(),
        related_ids: Box::new(["GHSA-2026-1001".into()]),
        package: Package {
            name: "openssl".into(),
            version: "3.0.11".into(),
            manager: Some("OS".into()),
            path: Some("usr/lib".into()),
            fixed_version: Some("3.0.13".into()),
            source_layer: Some("sha256:1a".into()),
        },
        severity: Rating::Rated(Severity::Critical),
        fix: Fix::Available,
        cvss: Some(Score::new(9.8).unwrap()),
        epss: Some(Score::new(0.5).unwrap()),
        exploit: Exploit::Known,
        kev: Some(Box::new(Kev { add_time: None, due_time: Some(reported("2026-03-10T12:00:00Z")) })),
        status: Status::Active,
        title: Some("Überlauf im Handshake".into()),
        description: Some("A heap overflow.".into()),
        uri: Some("https://example.org/1".into()),
        first_observe_time: Some(reported("2026-02-21T12:00:00Z")),
        publish_time: Some(reported("2026-02-20T12:00:00Z")),
        arn: None,
    }
}

/// A finding whose scan reports only the required fields.
pub(crate) fn bare() -> Finding {
    Finding {
        package: Package { name: "linux".into(), ..Package::default() },
        severity: Rating::parse("UNTRIAGED"),
        ..finding("CVE-2026-3003")
    }
}
