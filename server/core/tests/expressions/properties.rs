//! Properties of all expressions: every text is handled in time, and results change only at the listed instants.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::select};
use scangate_core::{
    expression::Expression,
    finding::{Exploit, Finding, Fix, Kev, Package, ReportedTime, Score, Status},
    scan::Usage,
    severity::{Rating, Severity},
    unknown::WhenUnknown,
};
use scangate_test_fixtures::noon;

use crate::fixtures::{answer, answer_at, bare, full, in_use};

const TIMEOUT: Duration = Duration::from_secs(10);

const TOKENS: [&str; 66] = [
    "finding",
    "manifest",
    "in_use_count",
    "now",
    ".",
    "id",
    "cvss",
    "severity",
    "package",
    "name",
    "publish_time",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    "?",
    ":",
    " in ",
    "true",
    "false",
    "null",
    "1",
    "0",
    "7.5",
    "1e9",
    "0x1f",
    "3u",
    "'a'",
    "\"HIGH\"",
    "r'\\d'",
    "'''x'''",
    "b'x'",
    "has",
    "size",
    "matches",
    "exists",
    "all",
    "map",
    "timestamp",
    "duration",
    "'1h'",
    "'2026-01-01T00:00:00Z'",
    "finding.cvss",
    "finding.epss",
    "now - now",
    "finding.title",
    "x",
    "// c\n",
    "\n",
    "_",
    "`a`",
];

/// Parses a text, evaluates a valid expression, and returns the elapsed time.
fn try_parse(source: &str) -> Duration {
    let start = Instant::now();
    match Expression::parse(source) {
        Ok(expression) => {
            answer_at(&expression, &full(), &in_use(), noon());
            answer(&expression, &bare());
            assert_eq!(expression.source(), source);
        }
        Err(error) => {
            let line = source.split('\n').nth(error.position.line - 1);
            // The parser also counts other line breaks; a position is never before the text.
            assert!(error.position.column >= 1 && line.is_some(), "{error}");
            assert!(!error.message.is_empty() && !error.hint.is_empty() && error.to_string().len() < 4_000);
        }
    }
    start.elapsed()
}

fn number() -> impl Strategy<Value = String> {
    let leaf = select(vec!["finding.cvss", "finding.epss", "0.5", "7.0", "1e300", "3"]).prop_map(str::to_owned);
    // With at least one field, so that literal ints become doubles.
    let leaf =
        prop_oneof![leaf.clone().prop_map(|leaf| format!("(finding.cvss + {leaf})")), Just("finding.epss".to_owned())];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-", "*", "/"]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("(-{a})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("(finding.rated ? {a} : {b})")),
        ]
    })
}

fn span() -> impl Strategy<Value = String> {
    let literal = (-500_i64..500).prop_map(|minutes| format!("duration('{minutes}m')"));
    let literal = prop_oneof![
        literal,
        select(vec!["duration('1ns')", "duration('0')", "duration('0.5s')"]).prop_map(str::to_owned)
    ];
    literal.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-"]), inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (instant_of(inner.clone()), instant_of(inner)).prop_map(|(a, b)| format!("({a} - {b})")),
        ]
    })
}

fn instant_of(span: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "now",
        "now",
        "finding.publish_time",
        "finding.first_observe_time",
        "finding.kev.add_time",
        "finding.kev.due_time",
        "manifest.last_in_use_time",
        "timestamp('2026-03-01T12:00:00Z')",
        "timestamp('0001-01-01T00:00:00Z')",
        "timestamp('9999-12-30T00:00:00Z')",
    ]);
    (leaf, option::of((select(vec!["+", "-"]), span))).prop_map(|(leaf, moved)| match moved {
        Some((op, span)) => format!("({leaf} {op} {span})"),
        None => leaf.to_owned(),
    })
}

fn test() -> impl Strategy<Value = String> {
    let order = || select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let span = || span().boxed();
    let leaf = prop_oneof![
        2 => (number(), order(), number()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        3 => (span(), order(), span()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        3 => (instant_of(span()), order(), instant_of(span())).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => (instant_of(span()), instant_of(span()), instant_of(span()))
            .prop_map(|(a, b, c)| format!("(finding.exploit == 'KNOWN' ? {a} : {b}) < {c}")),
        3 => select(vec![
            "true", "false", "finding.rated", "finding.severity >= 'HIGH'", "finding.fix == 'NONE'",
            "finding.exploit in ['KNOWN']", "has(finding.epss)", "has(finding.kev)", "!has(finding.kev.due_time)",
            "finding.related_ids.exists(id, id.startsWith('CVE') || finding.cvss > 5.0)",
            "finding.related_ids.exists(id, now - finding.publish_time > duration('1h') && id != 'CVE-1')",
            "finding.related_ids.all(id, id in ['CVE-1'])", "'GHSA-3' in finding.related_ids",
            "size(finding.related_ids) == 1", "finding.id.matches('^CVE')",
            "finding.title.contains('e')", "size(finding.title) > 3", "finding.package.name in ['openssl', 'zlib']",
            "['a', 'b'].exists(x, finding.title.startsWith(x))", "[1, 2].all(x, x < size(finding.id))",
            "1 / (size(finding.id) - 13) > 0", "manifest.in_use_count > 1", "1 / manifest.in_use_count == 1",
            "manifest.in_use_count + size(finding.title) == 8", "[0, 2].exists(x, x == manifest.in_use_count)",
        ]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["&&", "||", "==", "!="]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

fn instant() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        6 => (-40_000_i64..40_000).prop_map(|seconds| noon() + SignedDuration::from_secs(seconds)),
        2 => (-300_i64..300).prop_map(|nanoseconds| noon() + SignedDuration::from_nanos(nanoseconds)),
        1 => select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]),
    ]
}

fn reported() -> impl Strategy<Value = ReportedTime> {
    instant().prop_map(ReportedTime::from)
}

prop_compose! {
    fn finding()(
        severity in select(vec!["CRITICAL", "LOW", "UNTRIAGED"]),
        fix in select(vec![Fix::Unknown, Fix::Available, Fix::Partial, Fix::None]),
        (cvss, epss) in (option::of(0.0_f64..10.0), option::of(0.0_f64..1.0)),
        exploit in select(vec![Exploit::Unknown, Exploit::Known, Exploit::NotKnown]),
        status in select(vec![Status::Active, Status::Unrecognised]),
        title in option::of(select(vec!["", "a tale", "überlauf"])),
        (publish_time, first_observe_time) in (option::of(reported()), option::of(reported())),
        kev in option::of((option::of(reported()), option::of(reported()))),
        related_ids in vec(select(vec!["CVE-1", "GHSA-3"]), 0..3),
    ) -> Finding {
        let kev = kev.map(|(add_time, due_time)| Box::new(Kev { add_time, due_time }));
        let score = |value: Option<f64>| value.map(|value| Score::new(value).unwrap());
        Finding {
            id: "CVE-2026-1001".into(),
            package: Package { name: "zlib".into(), ..Package::default() },
            severity: Rating::parse(severity),
            fix, exploit, status, publish_time, first_observe_time,
            cvss: score(cvss),
            epss: score(epss),
            title: title.map(Into::into),
            description: None, uri: None, arn: None, kev, related_ids: related_ids.into_iter().map(Into::into).collect(),
        }
    }
}

prop_compose! {
    fn usage()(in_use_count in option::of(0_u64..4), last_in_use_time in option::of(instant())) -> Usage {
        Usage { in_use_count, last_in_use_time }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics_or_hangs(text in any::<String>()) {
        prop_assert!(try_parse(&text) < TIMEOUT);
    }

    #[test]
    fn expression_like_text_never_panics_or_hangs(text in r#"[a-z0-9.'"\\()\[\]{}<>=!&|?:+*/%, \n-]{0,200}"#) {
        prop_assert!(try_parse(&text) < TIMEOUT);
    }

    #[test]
    fn token_soup_never_panics_or_hangs(tokens in vec(select(TOKENS.to_vec()), 0..300), space in select(vec!["", " "])) {
        prop_assert!(try_parse(&tokens.join(space)) < TIMEOUT);
    }

    #[test]
    fn inserted_token_never_panics_or_hangs(
        test in test(), at in any::<prop::sample::Index>(), token in select(TOKENS.to_vec()),
    ) {
        let at = test.floor_char_boundary(at.index(test.len()));
        let broken = [&test[..at], token, &test[at..]].concat();
        prop_assert!(try_parse(&broken) < TIMEOUT);
    }

    #[test]
    fn well_typed_expressions_are_accepted(test in test()) {
        if let Err(error) = Expression::parse(&test) {
            let limits = ["more than", "bytes long", "both times depend"];
            prop_assert!(limits.iter().any(|limit| error.message.contains(limit)), "{}: {}", error, test);
        }
    }

    #[test]
    fn result_changes_only_at_listed_instants(
        test in test(), finding in finding(), usage in usage(), within in vec(0.0_f64..1.0, 3),
    ) {
        let Ok(expression) = Expression::parse(&test) else { return Ok(()) };
        let mut instants = vec![Timestamp::MIN];
        expression.instants(&finding, &usage, &mut |at| instants.push(at));
        instants.sort();
        instants.dedup();
        prop_assert!(expression.depends_on_now() || instants.len() == 1);
        let ends = instants.iter().skip(1).map(|at| at.as_nanosecond() - 1).chain([Timestamp::MAX.as_nanosecond()]);
        for (from, last) in instants.iter().zip(ends) {
            let expected = answer_at(&expression, &finding, &usage, *from);
            let from = from.as_nanosecond();
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any instant will do")]
            let between = within.iter().map(|part| from + ((last - from) as f64 * part) as i128);
            for at in between.chain([from + 1, last - 1, last]).filter(|at| (from..=last).contains(at)) {
                let at = Timestamp::from_nanosecond(at).unwrap();
                let answer = answer_at(&expression, &finding, &usage, at);
                prop_assert_eq!(answer, expected, "at {} of {:?}: {}", at, instants, test);
            }
        }
    }

    #[test]
    fn unknown_use_matches_wherever_known_one_does(
        test in test(), finding in finding(), usage in usage(), now in instant(),
    ) {
        let Ok(expression) = Expression::parse(&test) else { return Ok(()) };
        let matches = |usage| expression.matches(&finding, usage, Severity::High, now, WhenUnknown::Match);

        prop_assert!(!matches(&usage) || matches(&Usage::default()), "{}", test);
    }
}
