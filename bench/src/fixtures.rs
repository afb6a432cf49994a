//! Fixtures: images with different findings, and policies for them.

use std::sync::Arc;

use jiff::SignedDuration;
use scangate_core::{
    decision::ManifestInput,
    finding::{Exploit, Finding, Fix, Package, Score},
    first_seen::FirstSeenTimes,
    image::Image,
    policy::{Policy, PolicySet},
    rule::{Condition, FixFilter, Rule},
    scan::{Report, Scan},
    severity::{Rating, Severity},
};
use scangate_test_fixtures::{
    completed_report, completed_scan, digest, manifest, noon, policy_revision, severity_counts,
};

/// The xorshift64* generator. Its numbers are the same in every run.
struct XorShift(u64);

impl XorShift {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

/// A finding with realistic shares of severities: one in a hundred is CRITICAL.
fn finding(random: &mut XorShift) -> Finding {
    let severity = match random.below(100) {
        0 => "CRITICAL",
        1..12 => "HIGH",
        12..50 => "MEDIUM",
        50..90 => "LOW",
        _ => "UNTRIAGED",
    };
    let score =
        |number: u64, divisor: f64| Some(Score::new(f64::from(u32::try_from(number).unwrap()) / divisor).unwrap());
    let package = package(random.below(400));
    let id = format!("CVE-20{}-{:05}", 10 + random.below(16), random.below(60_000));
    Finding {
        package,
        severity: Rating::parse(severity),
        fix: if random.below(2) == 0 { Fix::Available } else { Fix::None },
        cvss: score(random.below(101), 10.0),
        epss: score(random.below(1001), 1000.0),
        exploit: if random.below(50) == 0 { Exploit::Known } else { Exploit::NotKnown },
        title: Some("A flaw in a library".into()),
        description: Some("A flaw in a library allows an attacker to bypass the permission checks.".into()),
        uri: Some("https://example.com/advisory".into()),
        publish_time: noon()
            .checked_sub(SignedDuration::from_hours(i64::from(u32::try_from(random.below(10_000)).unwrap())))
            .ok()
            .map(Into::into),
        ..scangate_test_fixtures::finding(&id)
    }
}

fn package(number: u64) -> Package {
    Package {
        name: format!("library-{number}").into(),
        version: format!("{}.{}.{}", number % 9, number % 7, number % 5).into(),
        manager: Some("OS".into()),
        path: None,
        fixed_version: None,
        source_layer: None,
    }
}

/// A manifest with a completed scan of `findings` findings. Another seed yields other findings.
pub(crate) fn scanned_manifest(seed: u64, findings: usize) -> ManifestInput {
    let mut random = XorShift::new(seed + 1);
    let findings: Vec<Finding> = (0..findings).map(|_| finding(&mut random)).collect();
    let counts = severity_counts(&findings);
    let report = Report { counts: Some(counts.clone()), enumerated: counts, ..completed_report() };
    let scan = Scan { report: Some(report.with_findings(findings)), ..completed_scan() };
    ManifestInput {
        manifest: manifest(digest(seed)),
        scan: Arc::new(scan),
        start: None,
        first_seen: Arc::new(FirstSeenTimes::default()),
    }
}

pub(crate) fn image(seed: u64) -> Image {
    scangate_test_fixtures::image(digest(seed))
}

/// A rule with six conditions that a real image rarely violates.
pub(crate) fn rule(index: usize) -> Rule {
    let when = Condition {
        min_severity: Some(Severity::Low),
        fix: FixFilter::Available,
        min_cvss: Some(Score::new(9.9).unwrap()),
        min_epss: Some(Score::new(0.999).unwrap()),
        exploit_known: true,
        package_managers: vec!["OS".to_owned()],
        ..Condition::default()
    };
    Rule { allowed_count: 1000, ..scangate_test_fixtures::rule(&format!("rule-{index}"), when) }
}

/// The policies with the built-in default, as a store returns them.
pub(crate) fn policy_set(policies: Vec<Policy>) -> PolicySet {
    let default = Policy::built_in_default().unwrap();
    let revision = |policy: Policy| (policy.id.clone(), policy_revision(&policy, 1));
    let policies = policies.into_iter().chain([default]).map(revision).collect();
    PolicySet { revision: 1, policies, ..PolicySet::default() }
}
