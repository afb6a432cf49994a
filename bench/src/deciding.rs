//! The cost of evaluation, by finding and rule.

use std::{hint::black_box, time::Instant};

use scangate_core::{
    decide,
    decide::Selection,
    decision::ManifestInput,
    expression::Expression,
    finding::{Exploit, Finding, Fix},
    policy::PolicySet,
    rule::Condition,
    scan::Usage,
    severity::{Rating, Severity},
};
use scangate_test_fixtures::noon;

use crate::{
    fixtures,
    markdown_table::{print_header, print_row},
};

/// The number of images. Their findings differ, so that the branch predictor cannot learn them.
const IMAGES: u64 = 200;
const FINDINGS: usize = 1000;

/// The number of runs of each measurement. The median counts, because the machines are shared.
const RUNS: usize = 7;

/// The six conditions of the rule, and six on texts and times.
const EXPRESSIONS: [(&str, &str); 2] = [
    (
        "the same six conditions as an expression",
        r#"finding.severity >= "LOW" && finding.fix == "AVAILABLE" && finding.cvss >= 9.9 && finding.epss >= 0.999
           && finding.exploit == "KNOWN" && finding.package.manager == "OS""#,
    ),
    (
        "an expression with six conditions on texts and times; only the last is selective",
        r#"finding.severity >= "INFORMATIONAL" && !finding.id.startsWith("GHSA-") && finding.package.name != "zlib"
           && finding.package.version.contains(".") && now - finding.publish_time >= duration("-1h")
           && finding.title == "none""#,
    ),
];

pub(crate) fn run() {
    let images: Vec<ManifestInput> = (0..IMAGES).map(|seed| fixtures::scanned_manifest(seed, FINDINGS)).collect();
    print_rules(&images);
    print_parsing();
    print_decisions(&images);
}

/// The cost of matching a rule against a finding.
fn print_rules(images: &[ManifestInput]) {
    print_header("Rule matching, per distinct finding and rule", &["rule", "ns"]);
    let print = |name: &str, nanoseconds: f64| print_row(&[name, &format!("{nanoseconds:.1}")]);
    print("the same rule, written by hand in Rust (peer)", nanoseconds_per_finding(images, matches_by_hand));
    let (usage, now) = (Usage::default(), noon());
    let rule = fixtures::rule(0);
    let nanoseconds =
        nanoseconds_per_finding(images, |finding| rule.when.matches(finding, &usage, Severity::High, now));
    print("a rule with six conditions", nanoseconds);
    for (name, source) in EXPRESSIONS {
        let when = Condition { expression: Some(Expression::parse(source).unwrap()), ..Condition::default() };
        let nanoseconds = nanoseconds_per_finding(images, |finding| when.matches(finding, &usage, Severity::High, now));
        print(name, nanoseconds);
    }
}

fn nanoseconds_per_finding(images: &[ManifestInput], matches: impl Fn(&Finding) -> bool) -> f64 {
    median_nanoseconds(images.len() * FINDINGS, || {
        for image in images {
            black_box(image.scan.findings().iter().filter(|finding| matches(finding)).count());
        }
    })
}

/// The cost of parsing an expression, when its policy is written.
fn print_parsing() {
    print_header("Parsing an expression, once for each policy write", &["expression", "µs"]);
    let longest = format!("finding.rated{}", " || finding.cvss > 9.0".repeat(60));
    for (name, source) in EXPRESSIONS.into_iter().chain([("sixty conditions", longest.as_str())]) {
        let nanoseconds = median_nanoseconds(1, || drop(black_box(Expression::parse(source).unwrap())));
        print_row(&[name, &format!("{:.0}", nanoseconds / 1e3)]);
    }
}

/// The cost of a whole decision.
fn print_decisions(images: &[ManifestInput]) {
    let columns = ["rules", "µs", "ns per finding and rule"];
    print_header("A whole decision on an image of 1,000 findings", &columns);
    for rules in [1, 20, 100] {
        let mut policy = scangate_test_fixtures::policy("own", (0..rules).map(fixtures::rule).collect());
        policy.replaces_default = true;
        let nanoseconds = nanoseconds_per_decision(images, &fixtures::policy_set(vec![policy]));
        print_row(&[
            rules.to_string(),
            format!("{:.1}", nanoseconds / 1e3),
            format!("{:.2}", nanoseconds / (FINDINGS * rules) as f64),
        ]);
    }
}

fn nanoseconds_per_decision(images: &[ManifestInput], policies: &PolicySet) -> f64 {
    median_nanoseconds(images.len(), || {
        for (seed, manifest) in images.iter().enumerate() {
            let image = fixtures::image(seed as u64);
            let manifests = std::slice::from_ref(manifest);
            black_box(decide(&image, None, Selection::Governing(policies), manifests, noon()));
        }
    })
}

/// The duration of one of `count` repetitions in nanoseconds, in the median run.
fn median_nanoseconds(count: usize, mut work: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e9 / count as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

fn matches_by_hand(finding: &Finding) -> bool {
    let rank = match finding.severity {
        Rating::Rated(severity) => severity,
        Rating::Unrated(_) => Severity::High,
    };
    rank >= Severity::Low
        && finding.fix != Fix::None
        && finding.cvss.is_none_or(|score| score.value() >= 9.9)
        && finding.epss.is_none_or(|score| score.value() >= 0.999)
        && finding.exploit != Exploit::NotKnown
        && finding.package.manager.as_deref().is_none_or(|manager| manager.eq_ignore_ascii_case("OS"))
}
