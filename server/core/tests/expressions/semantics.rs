//! The semantics of accepted expressions.

use scangate_core::{
    expression::Expression,
    finding::{Exploit, Finding, Fix, Status},
    rule::Condition,
    scan::Usage,
    severity::Severity,
    unknown::WhenUnknown,
};
use scangate_test_fixtures::noon;

use crate::fixtures::{
    Answer::{self, DoesNot, Matches, Unknown},
    answer, answer_at, bare, full, in_use,
};

fn parsed(source: &str) -> Expression {
    Expression::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

pub(crate) fn assert_table(finding: &Finding, table: &[(&str, Answer)]) {
    for (source, expected) in table {
        assert_eq!(answer(&parsed(source), finding), *expected, "{source}");
    }
}

#[test]
fn fields_have_values_of_scan() {
    assert_table(
        &full(),
        &[
            ("finding.id == 'CVE-2026-1001'", Matches),
            ("finding.severity == 'CRITICAL'", Matches),
            ("finding.severity_label == 'CRITICAL'", Matches),
            ("finding.rated", Matches),
            ("finding.fix == 'AVAILABLE'", Matches),
            ("finding.cvss == 9.8", Matches),
            ("finding.epss == 0.5", Matches),
            ("finding.exploit == 'KNOWN'", Matches),
            ("finding.status == 'ACTIVE'", Matches),
            ("finding.title == 'Überlauf im Handshake'", Matches),
            ("finding.description == 'A heap overflow.'", Matches),
            ("finding.uri == 'https://example.org/1'", Matches),
            ("finding.package.name == 'openssl'", Matches),
            ("finding.package.version == '3.0.11'", Matches),
            ("finding.package.manager == 'OS'", Matches),
            ("finding.package.path == 'usr/lib'", Matches),
            ("finding.package.fixed_version == '3.0.13'", Matches),
            ("finding.publish_time == timestamp('2026-02-20T12:00:00Z')", Matches),
            ("finding.first_observe_time == timestamp('2026-02-21T13:00:00+01:00')", Matches),
            ("finding.package.source_layer == 'sha256:1a'", Matches),
            ("finding.kev.due_time == timestamp('2026-03-10T12:00:00Z')", Matches),
            ("now == timestamp('2026-03-01T12:00:00Z')", Matches),
        ],
    );
}

#[test]
fn related_ids_are_a_list() {
    let advisory = Finding { related_ids: Box::new(["CVE-1".into(), "CVE-2".into(), "GHSA-3".into()]), ..full() };
    assert_table(
        &advisory,
        &[
            ("'CVE-2' in finding.related_ids", Matches),
            ("'cve-2' in finding.related_ids", DoesNot),
            ("finding.id in finding.related_ids", DoesNot),
            ("size(finding.related_ids) == 3 && finding.related_ids.size() > 2", Matches),
            ("has(finding.related_ids)", Matches),
            ("finding.related_ids.exists(id, id.startsWith('GHSA-'))", Matches),
            ("finding.related_ids.all(id, id.startsWith('CVE-'))", DoesNot),
            ("finding.related_ids.exists(id, id in ['CVE-1', 'CVE-9'])", Matches),
            ("['CVE-', 'GHSA-'].exists(kind, finding.related_ids.all(id, id.startsWith(kind)))", DoesNot),
            ("finding.related_ids.all(id, ['CVE-', 'GHSA-'].exists(kind, id.startsWith(kind)))", Matches),
            ("finding.related_ids.exists(id, id.matches('^CVE') && now > timestamp('2026-01-01T00:00:00Z'))", Matches),
        ],
    );
    // The list of a finding without related ids is empty, not missing.
    assert_table(
        &bare(),
        &[
            ("'CVE-2' in finding.related_ids", DoesNot),
            ("size(finding.related_ids) == 0", Matches),
            ("has(finding.related_ids)", DoesNot),
            ("finding.related_ids.exists(id, id != '')", DoesNot),
            ("finding.related_ids.all(id, id == '')", Matches),
            ("finding.cvss > 7.0 || 'CVE-2' in finding.related_ids", Unknown),
        ],
    );
}

fn assert_table_of_use(usage: &Usage, table: &[(&str, Answer)]) {
    for (source, expected) in table {
        assert_eq!(answer_at(&parsed(source), &bare(), usage, noon()), *expected, "{source}");
    }
}

#[test]
fn manifest_has_use_that_scan_reports() {
    assert_table_of_use(
        &in_use(),
        &[
            ("manifest.in_use_count == 3", Matches),
            ("manifest.in_use_count > 3", DoesNot),
            ("manifest.in_use_count in [2, 3]", Matches),
            ("manifest.in_use_count * 2 - 1 == 5", Matches),
            ("manifest.last_in_use_time == timestamp('2026-03-01T10:00:00Z')", Matches),
            ("now - manifest.last_in_use_time == duration('2h')", Matches),
            ("(manifest.in_use_count > 0 ? manifest.last_in_use_time : now) < now", Matches),
            ("has(manifest.in_use_count) && has(manifest.last_in_use_time)", Matches),
            ("manifest.in_use_count > 0 && finding.severity >= 'HIGH'", Matches),
        ],
    );
    let unused = Usage { in_use_count: Some(0), last_in_use_time: None };
    assert_table_of_use(
        &unused,
        &[
            ("manifest.in_use_count > 0", DoesNot),
            ("has(manifest.in_use_count)", Matches),
            ("has(manifest.last_in_use_time)", DoesNot),
            ("manifest.in_use_count > 0 && manifest.last_in_use_time < now", DoesNot),
            ("1 / manifest.in_use_count > 1", Matches),
        ],
    );
    // A count beyond 64 bits is the greatest int.
    let excessive = Usage { in_use_count: Some(u64::MAX), last_in_use_time: None };
    assert_table_of_use(&excessive, &[("manifest.in_use_count == 9223372036854775807", Matches)]);
}

#[test]
fn unknown_use_is_missing() {
    assert_table_of_use(
        &Usage::default(),
        &[
            ("has(manifest.in_use_count) || has(manifest.last_in_use_time)", DoesNot),
            ("manifest.in_use_count > 0", Unknown),
            ("!(manifest.in_use_count > 0)", Unknown),
            ("manifest.in_use_count == 0", Unknown),
            ("now - manifest.last_in_use_time < duration('1h')", Unknown),
            ("manifest.in_use_count > 0 && finding.severity == 'LOW'", DoesNot),
            ("manifest.in_use_count > 0 || finding.severity == 'HIGH'", Matches),
            ("has(manifest.in_use_count) && manifest.in_use_count > 0", DoesNot),
        ],
    );
}

#[test]
fn known_exploited_entry_may_lack_its_times() {
    assert_table(
        &full(),
        &[
            ("has(finding.kev)", Matches),
            ("has(finding.kev.add_time)", DoesNot),
            ("finding.kev.add_time < now", Unknown),
            ("finding.kev.due_time - now < duration('240h')", Matches),
        ],
    );
}

#[test]
fn missing_entry_is_certain_only_without_exploit() {
    let entry = ["has(finding.kev)", "has(finding.kev.add_time)", "has(finding.kev.due_time)"];
    let cases = [(Exploit::Unknown, Unknown), (Exploit::Known, Unknown), (Exploit::NotKnown, DoesNot)];
    for (exploit, expected) in cases {
        let finding = Finding { exploit, kev: None, ..full() };
        assert_table(&finding, &entry.map(|source| (source, expected)));
        assert_table(
            &finding,
            &[
                ("has(finding.kev) && finding.kev.due_time < now", expected),
                ("!has(finding.kev)", if expected == DoesNot { Matches } else { Unknown }),
                ("has(finding.kev) || finding.rated", Matches),
                ("finding.kev.due_time < now", Unknown),
            ],
        );
    }
}

#[test]
fn has_is_true_for_reported_fields() {
    let optional = [
        "severity",
        "fix",
        "cvss",
        "epss",
        "exploit",
        "title",
        "description",
        "uri",
        "package.version",
        "package.manager",
        "package.path",
        "package.fixed_version",
        "publish_time",
        "first_observe_time",
    ];
    for field in optional {
        let expression = parsed(&format!("has(finding.{field})"));
        assert_eq!(answer(&expression, &full()), Matches, "{field}");
        assert_eq!(answer(&expression, &bare()), DoesNot, "{field}");
    }
    for field in ["id", "severity_label", "rated", "status", "package.name"] {
        assert_eq!(answer(&parsed(&format!("has(finding.{field})")), &bare()), Matches, "{field}");
    }
}

#[test]
fn missing_value_is_unknown_unless_rest_decides() {
    assert_table(
        &bare(),
        &[
            ("finding.cvss >= 0.0", Unknown),
            ("!(finding.cvss >= 0.0)", Unknown),
            ("finding.cvss == finding.cvss", Unknown),
            ("finding.exploit == 'KNOWN'", Unknown),
            ("finding.exploit in ['KNOWN', 'NOT_KNOWN']", Unknown),
            ("finding.title.contains('')", Unknown),
            ("finding.title.matches('')", Unknown),
            ("size(finding.title) >= 0", Unknown),
            ("finding.package.path in ['a']", Unknown),
            ("finding.publish_time <= now", Unknown),
            ("finding.publish_time == finding.publish_time", Unknown),
            ("now - finding.publish_time + (finding.publish_time - now) == duration('0s')", Unknown),
            ("finding.cvss > 1.0 && false", DoesNot),
            ("finding.cvss > 1.0 && true", Unknown),
            ("true || finding.cvss > 1.0", Matches),
            ("false || finding.cvss > 1.0", Unknown),
            ("finding.cvss > 1.0 && finding.id == 'other'", DoesNot),
            ("(finding.cvss > 1.0) == (finding.epss > 1.0)", Unknown),
            ("finding.cvss > 1.0 ? true : true", Matches),
            ("finding.cvss > 1.0 ? false : false", DoesNot),
            ("finding.cvss > 1.0 ? true : false", Unknown),
            ("finding.rated ? finding.cvss > 1.0 : true", Matches),
            ("['a', 'b'].exists(x, finding.title == x)", Unknown),
            ("['a', 'b'].all(x, finding.title == x)", Unknown),
            ("['CVE', 'b'].exists(x, finding.id.startsWith(x) || finding.title == x)", Matches),
        ],
    );
}

#[test]
fn undefined_value_matches_unless_rest_decides() {
    for finding in [full(), bare()] {
        assert_table(
            &finding,
            &[
                ("1 / (size(finding.id) - 13) > 0", Matches),
                ("!(1 / (size(finding.id) - 13) > 0)", Matches),
                ("1 % (size(finding.id) - 13) == 0", Matches),
                ("1 / (size(finding.id) - 13) > 0 && false", DoesNot),
                (
                    "1 / (size(finding.id) - 13) > 0 && finding.cvss < 0.0",
                    if finding.cvss.is_some() { DoesNot } else { Matches },
                ),
            ],
        );
    }
    assert_table(
        &full(),
        &[
            ("finding.cvss / (finding.cvss - finding.cvss) > 1.0", Matches),
            ("1e308 * finding.cvss - 1e308 * finding.cvss == 0.0", Matches),
            ("1e308 * finding.cvss > 1e308", Matches),
            ("9223372036854775807 + size(finding.id) == 9223372036854775807", Matches),
            ("-9223372036854775807 - size(finding.id) < -9223372036854775807", Matches),
            ("9223372036854775807 * -size(finding.id) < 0", Matches),
        ],
    );
}

#[test]
fn doubtful_labels_fail_closed() {
    let partial = Finding { fix: Fix::Partial, ..full() };
    let unrecognised = Finding { status: Status::Unrecognised, exploit: Exploit::NotKnown, ..full() };
    assert_table(&partial, &[("finding.fix == 'AVAILABLE'", Matches), ("has(finding.fix)", Matches)]);
    assert_table(&bare(), &[("finding.fix != 'NONE'", Matches), ("finding.severity == 'HIGH'", Matches)]);
    assert_table(
        &unrecognised,
        &[
            ("finding.status == 'ACTIVE'", Matches),
            ("has(finding.status)", DoesNot),
            ("finding.exploit == 'NOT_KNOWN'", Matches),
        ],
    );
    let expression = parsed("finding.severity <= 'LOW'");
    assert!(expression.matches(&bare(), &Usage::default(), Severity::Low, noon(), WhenUnknown::NoMatch));
    assert!(!expression.matches(&bare(), &Usage::default(), Severity::Medium, noon(), WhenUnknown::Match));
}

#[test]
fn severities_compare_by_rank_from_either_side() {
    let high = Finding { severity: scangate_core::severity::Rating::Rated(Severity::High), ..full() };
    assert_table(
        &high,
        &[
            ("finding.severity > 'MEDIUM'", Matches),
            ("finding.severity > 'HIGH'", DoesNot),
            ("finding.severity >= 'HIGH'", Matches),
            ("'HIGH' <= finding.severity", Matches),
            ("'CRITICAL' > finding.severity", Matches),
            ("finding.severity != 'HIGH'", DoesNot),
            ("finding.severity in ['LOW', 'HIGH']", Matches),
        ],
    );
}

#[test]
fn text_compares_by_characters() {
    assert_table(
        &full(),
        &[
            ("finding.package.name < 'opentls'", Matches),
            ("finding.package.name.startsWith('open')", Matches),
            ("finding.package.name.endsWith('ssl')", Matches),
            ("finding.package.name.contains('ens')", Matches),
            ("finding.package.name.contains('ENS')", DoesNot),
            ("size('Über') == 4 && 'Über'.size() == 4", Matches),
            ("finding.title.startsWith('\\u00dcber')", Matches),
            (r"finding.id.matches(r'^CVE-\d{4}-\d+$')", Matches),
            ("matches(finding.id, '2026')", Matches),
            ("finding.id.matches('^2026')", DoesNot),
            ("(finding.rated ? finding.title : finding.uri) in ['Überlauf im Handshake', 'x']", Matches),
        ],
    );
}

#[test]
fn numbers_compute_as_in_cel() {
    assert_table(
        &full(),
        &[
            ("finding.cvss >= 9", Matches),
            ("1 + 2 * 3 == 7", Matches),
            ("7 / 2 == 3 && -7 / 2 == -3", Matches),
            ("7 % 3 == 1 && -7 % 3 == -1", Matches),
            ("7.0 / 2 == 3.5", Matches),
            ("(1 - 2) - 3 == -4", Matches),
            ("-finding.cvss < 0.0", Matches),
            ("0x10 == 16", Matches),
            ("size(finding.id) in [13, 14]", Matches),
            ("finding.cvss in [9.8, 7]", Matches),
            ("[1, 2, 3].all(x, x * x < 10)", Matches),
            ("[1, 2, 3].exists(x, [4, 9].exists(y, x * x == y && x > 2))", Matches),
            ("[1].exists(x, ['a'].exists(x, x == 'a'))", Matches),
        ],
    );
}

#[test]
fn times_compute_exactly() {
    assert_table(
        &full(),
        &[
            ("now - finding.publish_time == duration('216h')", Matches),
            ("now - finding.publish_time > duration('216h')", DoesNot),
            ("now - finding.publish_time > duration('215h59m59.999999999s')", Matches),
            ("finding.publish_time + duration('24h') == finding.first_observe_time", Matches),
            ("duration('24h') + finding.publish_time == finding.first_observe_time", Matches),
            ("now - duration('1ns') < now", Matches),
            ("duration('1h') - duration('90m') == duration('-30m')", Matches),
            ("duration('1.5h') == duration('1h30m') && duration('1us') == duration('1000ns')", Matches),
            ("now in [timestamp('2026-03-01T12:00:00Z')]", Matches),
            ("(finding.rated ? finding.publish_time : now) < timestamp('2026-02-21T00:00:00Z')", Matches),
        ],
    );
}

#[test]
fn expression_equals_and_serialises_as_source() {
    let expression = parsed("finding.cvss >= 7.0");
    let json = serde_json::to_string(&expression).unwrap();

    assert_eq!(json, r#""finding.cvss >= 7.0""#);
    assert_eq!(serde_json::from_str::<Expression>(&json).unwrap(), expression);
    assert_ne!(parsed("finding.cvss >= 7.00"), expression);
    assert_eq!((expression.to_string().as_str(), expression.source()), ("finding.cvss >= 7.0", "finding.cvss >= 7.0"));
    let error = serde_json::from_str::<Expression>(r#""finding.cvs >= 7.0""#).unwrap_err().to_string();
    assert!(error.contains("did you mean `finding.cvss`?"), "{error}");
}

#[test]
fn expression_joins_other_filter_fields() {
    let filter = |text: &str| serde_json::from_str::<Condition>(text).unwrap();
    let both = filter(r#"{"min_cvss": 9.0, "expression": "finding.package.name == 'openssl'"}"#);
    let apart = filter(r#"{"min_cvss": 9.9, "expression": "finding.package.name == 'openssl'"}"#);
    let lenient = filter(r#"{"expression": "finding.cvss > 1.0", "when_unknown": "NO_MATCH"}"#);

    let running = filter(r#"{"min_cvss": 9.0, "expression": "manifest.in_use_count > 0", "when_unknown": "NO_MATCH"}"#);
    let matches =
        |filter: &Condition, finding: &Finding, usage: &Usage| filter.matches(finding, usage, Severity::High, noon());

    assert!(matches(&both, &full(), &Usage::default()) && !both.is_empty());
    assert!(!matches(&apart, &full(), &Usage::default()));
    assert!(!matches(&lenient, &bare(), &Usage::default()));
    assert!(matches(&running, &full(), &in_use()));
    assert!(!matches(&running, &full(), &Usage::default()));
    assert_eq!(filter("{}").expression, None);
}
