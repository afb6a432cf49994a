//! What deciding costs, by finding and rule.

use std::hint::black_box;

use scangate_core::{
    decide,
    decide::Selection,
    decision::ManifestInput,
    expression::Expression,
    finding::{Exploit, Finding, Fix},
    policy::PolicySet,
    rule::Filter,
    severity::{Rating, Severity},
};

use crate::{given, table};

/// Findings that differ, so that no branch is remembered.
const IMAGES: u64 = 200;
const FINDINGS: usize = 1000;

/// The six terms of the rule, and six that read text and times.
const EXPRESSIONS: [(&str, &str); 2] = [
    (
        "the same six terms as an expression",
        r#"finding.severity >= "LOW" && finding.fix == "AVAILABLE" && finding.cvss >= 9.9 && finding.epss >= 0.999
           && finding.exploit == "KNOWN" && finding.package.manager == "OS""#,
    ),
    (
        "six terms over text and times, of which only the one written last decides",
        r#"finding.severity >= "INFORMATIONAL" && !finding.id.startsWith("GHSA-") && finding.package.name != "zlib"
           && finding.package.version.contains(".") && now - finding.published_at >= duration("-1h")
           && finding.title == "none""#,
    ),
];

pub(crate) fn run() {
    let images: Vec<ManifestInput> = (0..IMAGES).map(|seed| given::examined(seed, FINDINGS)).collect();
    let (all, now) = (images.len() * FINDINGS, given::now());

    table::head("Deciding, per distinct finding and rule", &["what", "ns"]);
    let by_hand = table::nanoseconds(all, || {
        for examined in &images {
            black_box(examined.scan.findings().iter().filter(|finding| by_hand(finding)).count());
        }
    });
    table::row(&["the same rule written by hand over the same findings (peer)", &format!("{by_hand:.1}")]);
    let rule = given::rule(0);
    let filter = table::nanoseconds(all, || {
        for examined in &images {
            black_box(
                examined
                    .scan
                    .findings()
                    .iter()
                    .filter(|finding| rule.when.matches(finding, Severity::High, now))
                    .count(),
            );
        }
    });
    table::row(&["a rule of six terms", &format!("{filter:.1}")]);
    for (what, source) in EXPRESSIONS {
        let when = Filter { expression: Some(Expression::parse(source).unwrap()), ..Filter::default() };
        let each = table::nanoseconds(all, || {
            for examined in &images {
                let findings = examined.scan.findings().iter();
                black_box(findings.filter(|finding| when.matches(finding, Severity::High, now)).count());
            }
        });
        table::row(&[what, &format!("{each:.1}")]);
    }

    table::head("Reading an expression, when its policy is written", &["what", "µs"]);
    let longest = format!("finding.rated{}", " || finding.cvss > 9.0".repeat(60));
    for (what, source) in EXPRESSIONS.into_iter().chain([("sixty terms", longest.as_str())]) {
        let each = table::nanoseconds(1, || drop(black_box(Expression::parse(source).unwrap())));
        table::row(&[what, &format!("{:.0}", each / 1e3)]);
    }

    table::head("A whole decision on an image of 1,000 findings", &["rules", "µs", "ns per finding and rule"]);
    for rules in [1, 20, 100] {
        let set = given::set(vec![given::policy("own", (0..rules).map(given::rule).collect())]);
        let each = decisions(&images, &set);
        table::row(&[
            rules.to_string(),
            format!("{:.1}", each / 1e3),
            format!("{:.2}", each / (FINDINGS * rules) as f64),
        ]);
    }
}

/// Nanoseconds for one decision.
fn decisions(images: &[ManifestInput], set: &PolicySet) -> f64 {
    table::nanoseconds(images.len(), || {
        for (seed, examined) in images.iter().enumerate() {
            let image = given::image(seed as u64);
            let examined = std::slice::from_ref(examined);
            black_box(decide(&image, None, Selection::Governing(set), examined, given::now()));
        }
    })
}

fn by_hand(finding: &Finding) -> bool {
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
