//! Fixtures: images with different findings, and policies for them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    decision::ManifestInput,
    finding::{Exploit, Finding, Fix, Package, Score, Status as Life},
    first_seen::FirstSeenTimes,
    image::{Digest, Image, ImageReference},
    name::{PolicyId, RuleId},
    policy::{Match, Mode, Policy, PolicySet, Revision, ScanRequirements},
    rule::{Effect, Filter, FixFilter, Rule},
    scan::{Content, Counts, Enrichment, Frequency, Manifest, Report, Scan, ScanType, Status},
    severity::{Rating, Severity},
};

/// The evaluation time of all decisions.
pub(crate) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

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
    Finding {
        id: format!("CVE-20{}-{:05}", 10 + random.below(16), random.below(60_000)).into(),
        package,
        severity: Rating::parse(severity),
        fix: if random.below(2) == 0 { Fix::Available } else { Fix::None },
        cvss: score(random.below(101), 10.0),
        epss: score(random.below(1001), 1000.0),
        exploit: if random.below(50) == 0 { Exploit::Known } else { Exploit::NotKnown },
        status: Life::Active,
        title: Some("A flaw in a library".into()),
        description: Some("A flaw in a library allows an attacker to bypass the permission checks.".into()),
        uri: Some("https://example.com/advisory".into()),
        first_observed_at: None,
        published_at: now()
            .checked_sub(SignedDuration::from_hours(i64::from(u32::try_from(random.below(10_000)).unwrap())))
            .ok(),
        arn: None,
    }
}

fn package(number: u64) -> Package {
    Package {
        name: format!("library-{number}").into(),
        version: format!("{}.{}.{}", number % 9, number % 7, number % 5).into(),
        manager: Some("OS".into()),
        path: None,
        fixed_in: None,
    }
}

/// A manifest with a completed scan of `findings` findings. Another seed yields other findings.
pub(crate) fn scanned_manifest(seed: u64, findings: usize) -> ManifestInput {
    let mut random = XorShift::new(seed + 1);
    let scan = completed_scan((0..findings).map(|_| finding(&mut random)).collect());
    let manifest = Manifest {
        digest: digest(seed),
        platform: None,
        pushed_at: Some(Timestamp::UNIX_EPOCH),
        content: Content::Image,
        archived: false,
    };
    ManifestInput { manifest, scan: Arc::new(scan), start: None, first_seen: Arc::new(FirstSeenTimes::default()) }
}

fn completed_scan(findings: Vec<Finding>) -> Scan {
    let mut counts = Counts::new();
    for finding in &findings {
        *counts.entry(Arc::from(finding.severity.label())).or_default() += 1;
    }
    let completed_at = now().checked_sub(SignedDuration::from_hours(1)).unwrap();
    let report = Report {
        completed_at: Some(completed_at),
        source_updated_at: Some(completed_at),
        counts: Some(counts.clone()),
        enumerated: counts,
        findings: None,
    };
    Scan {
        read_at: now(),
        unchanged_since: now(),
        status: Status::Complete,
        description: None,
        scan_type: ScanType::Basic,
        frequency: Frequency::ScanOnPush,
        report: Some(report.with_findings(findings)),
        coverage: None,
        enrichment: Enrichment::NotAsked,
        flaws: Vec::new(),
    }
}

fn digest(seed: u64) -> Digest {
    Digest::parse(&format!("sha256:{seed:064x}")).unwrap()
}

pub(crate) fn image(seed: u64) -> Image {
    let reference = ImageReference::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1").unwrap();
    let (host, registry) = reference.registry.unwrap();
    Image {
        registry,
        host,
        repository: reference.repository,
        tag: reference.tag,
        digest: digest(seed),
        pushed_at: None,
    }
}

/// A rule with six conditions that a real image rarely violates.
pub(crate) fn rule(index: usize) -> Rule {
    Rule {
        id: RuleId::parse(&format!("rule-{index}")).unwrap(),
        description: String::new(),
        when: Filter {
            min_severity: Some(Severity::Low),
            fix: FixFilter::Available,
            min_cvss: Some(Score::new(9.9).unwrap()),
            min_epss: Some(Score::new(0.999).unwrap()),
            exploit_known: true,
            package_managers: vec!["OS".to_owned()],
            ..Filter::default()
        },
        allow: 1000,
        grace: None,
        effect: Effect::Deny,
        waivable: true,
    }
}

pub(crate) fn policy(id: &str, rules: Vec<Rule>) -> Policy {
    Policy {
        id: PolicyId::parse(id).unwrap(),
        description: String::new(),
        matches: Match::default(),
        mode: Mode::Enforce,
        effective_time: None,
        scan: ScanRequirements::default(),
        rules,
        unrated_as: Severity::High,
        honour_suppression: false,
    }
}

/// The policies with the built-in default, as a store returns them.
pub(crate) fn policy_set(policies: Vec<Policy>) -> PolicySet {
    let revised = |policy: Policy| {
        let (create_time, update_time) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let id = policy.id.clone();
        (id, Arc::new(Revision { policy, revision: 1, content_digest: String::new(), create_time, update_time }))
    };
    let default = Policy::built_in_default().unwrap();
    let policies = policies.into_iter().chain([default]).map(revised).collect();
    PolicySet { revision: 1, policies, ..PolicySet::default() }
}
