//! What deciding costs, by finding and rule.

use std::hint::black_box;

use scangate_core::{
    decide,
    decide::Selection,
    decision::Examined,
    finding::{Exploit, Finding, Fix},
    policy::PolicySet,
    severity::{Rating, Severity},
};

use crate::{given, table};

/// Findings that differ, so that no branch is remembered.
const IMAGES: u64 = 200;
const FINDINGS: usize = 1000;

pub(crate) fn run() {
    let images: Vec<Examined> = (0..IMAGES).map(|seed| given::examined(seed, FINDINGS)).collect();
    let all = images.len() * FINDINGS;

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
                    .filter(|finding| rule.when.matches(finding, Severity::High, given::now()))
                    .count(),
            );
        }
    });
    table::row(&["a rule of six terms", &format!("{filter:.1}")]);

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
fn decisions(images: &[Examined], set: &PolicySet) -> f64 {
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
