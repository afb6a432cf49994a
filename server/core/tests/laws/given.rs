//! What the laws are tried on: anything that a registry could answer and a policy could say.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use scangate_core::{
    Decision, decide,
    decide::Selection,
    decision::{ManifestInput, Start},
    expression::Expression,
    finding::{Exploit, Finding, Fix, Package, Score, Status as Life},
    first_seen::{FirstSeen, FirstSeenTimes},
    glob::Glob,
    image::{Digest, Image, ImageReference, Platform},
    name::{Environment, PolicyId, RuleId, WaiverId},
    policy::{Action, Match, Mode, Policy, PolicySet, Revision, ScanRequirements},
    rule::{Effect, Filter, FixFilter, Grace, GraceClock, Rule, SeverityChoice},
    scan::{Content, Counts, Coverage, Enrichment, Flaw, Frequency, Manifest, Report, Scan, ScanType, Status},
    severity::{Rating, Severity},
    unknown::WhenUnknown,
    waiver::{self, Conditions, Revocation, Scope, Waiver},
};

/// A scan before its counts are made and its findings folded, so that a law can change what came.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) scan: Scan,
    pub(crate) report: Option<Report>,
    pub(crate) findings: Option<Vec<Finding>>,
    pub(crate) counting: Counting,
}

#[derive(Clone, Debug)]
pub(crate) enum Counting {
    AsListed,
    Missing,
    These(Counts),
}

#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) manifest: Manifest,
    pub(crate) draft: Draft,
    pub(crate) start: Option<Start>,
    pub(crate) clocks: FirstSeenTimes,
}

#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) waivers: Vec<Waiver>,
    pub(crate) environment: Option<Environment>,
    pub(crate) now: Timestamp,
}

impl Draft {
    pub(crate) fn listed(&self) -> Counts {
        let mut counts = Counts::new();
        for finding in self.findings.iter().flatten() {
            *counts.entry(Arc::from(finding.severity.label())).or_default() += 1;
        }
        counts
    }

    pub(crate) fn scan(&self) -> Scan {
        let report = self.report.clone().map(|report| {
            let enumerated = self.listed();
            let counts = match &self.counting {
                Counting::AsListed => Some(enumerated.clone()),
                Counting::Missing => None,
                Counting::These(counts) => Some(counts.clone()),
            };
            let report = Report { counts, enumerated, ..report };
            match &self.findings {
                Some(findings) => report.with_findings(findings.clone()),
                None => report,
            }
        });
        Scan { report, ..self.scan.clone() }
    }
}

impl Question {
    pub(crate) fn set(&self) -> PolicySet {
        let default = Policy::built_in_default().unwrap();
        let policies = std::iter::once(&default).chain(&self.policies);
        PolicySet {
            revision: 1,
            policies: policies.map(|policy| (policy.id.clone(), revised(policy))).collect(),
            waivers: self.waivers.iter().map(revised_waiver).collect(),
        }
    }

    pub(crate) fn examined(&self) -> Vec<ManifestInput> {
        let examine = |subject: &Subject| ManifestInput {
            manifest: subject.manifest.clone(),
            scan: Arc::new(subject.draft.scan()),
            start: subject.start.clone(),
            first_seen: Arc::new(subject.clocks.clone()),
        };
        self.subjects.iter().map(examine).collect()
    }

    pub(crate) fn decide(&self) -> Decision {
        let set = self.set();
        decide(&image(), self.environment.as_ref(), Selection::Governing(&set), &self.examined(), self.now)
    }

    /// The same question at another instant.
    pub(crate) fn at(&self, now: Timestamp) -> Decision {
        Self { now, ..self.clone() }.decide()
    }

    /// Whether the answer does not rest on the default alone, so that another policy can only add to it.
    pub(crate) fn is_governed_by_its_own(&self) -> bool {
        let governing = self.set();
        let image = image();
        let governing = governing.governing(&image.registry, &image.repository, self.environment.as_ref(), self.now);
        !governing.iter().any(|revised| revised.policy.id.is_default())
    }

    pub(crate) fn subject(&mut self, at: Index) -> &mut Subject {
        let at = at.index(self.subjects.len());
        &mut self.subjects[at]
    }

    pub(crate) fn policy(&mut self, at: Index) -> &mut Policy {
        let at = at.index(self.policies.len());
        &mut self.policies[at]
    }
}

pub(crate) fn image() -> Image {
    let reference = ImageReference::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1").unwrap();
    let (host, registry) = reference.registry.unwrap();
    Image { registry, host, repository: reference.repository, tag: reference.tag, digest: digest(0), pushed_at: None }
}

fn digest(index: usize) -> Digest {
    Digest::parse(&format!("sha256:{index:064x}")).unwrap()
}

pub(crate) fn revised(policy: &Policy) -> Arc<Revision> {
    Arc::new(Revision {
        policy: policy.clone(),
        revision: 1,
        content_digest: String::new(),
        create_time: Timestamp::UNIX_EPOCH,
        update_time: Timestamp::UNIX_EPOCH,
    })
}

pub(crate) fn revised_waiver(waiver: &Waiver) -> Arc<waiver::Revision> {
    Arc::new(waiver::Revision {
        waiver: waiver.clone(),
        revision: 1,
        create_time: Timestamp::UNIX_EPOCH,
        update_time: Timestamp::UNIX_EPOCH,
    })
}

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// Instants around noon, on either side of every window, and at the ends of time.
fn instant() -> impl Strategy<Value = Timestamp> {
    let around = |seconds: std::ops::Range<i64>| {
        seconds.prop_map(|seconds| noon().checked_add(SignedDuration::from_secs(seconds)).unwrap())
    };
    prop_oneof![
        6 => around(-1200..400),
        4 => around(-8_000_000..0),
        1 => around(-90_000_000..90_000_000),
        1 => select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]),
    ]
}

fn span() -> impl Strategy<Value = SignedDuration> {
    prop_oneof![
        8 => (0_i64..200_000_000).prop_map(SignedDuration::from_secs),
        1 => select(vec![SignedDuration::MIN, SignedDuration::MAX, SignedDuration::ZERO]),
    ]
}

fn text(words: &'static [&'static str]) -> impl Strategy<Value = Arc<str>> {
    select(words).prop_map(Arc::from)
}

fn rating() -> impl Strategy<Value = Rating> {
    let labels = ["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL", "UNDEFINED", "UNTRIAGED", "", "high"];
    select(labels.to_vec()).prop_map(Rating::parse)
}

fn severity() -> impl Strategy<Value = Severity> {
    select(Severity::WORST_FIRST.to_vec())
}

fn score() -> impl Strategy<Value = Score> {
    (0_u32..=20).prop_map(|halves| Score::new(f64::from(halves) / 2.0).unwrap())
}

fn package() -> impl Strategy<Value = Package> {
    let managers = option::of(text(&["NPM", "OS", "npm"]));
    (text(&["openssl", "zlib", "a"]), text(&["1", "2"]), managers, option::of(text(&["/a"])))
        .prop_map(|(name, version, manager, path)| Package { name, version, manager, path, fixed_in: None })
}

prop_compose! {
    pub(crate) fn finding()(
        id in text(&["CVE-1", "CVE-2", "GHSA-3"]),
        package in package(),
        severity in rating(),
        fix in select(vec![Fix::Unknown, Fix::Available, Fix::Partial, Fix::None]),
        (cvss, epss) in (option::of(score()), option::of(score())),
        exploit in select(vec![Exploit::Unknown, Exploit::Known, Exploit::NotKnown]),
        status in select(vec![Life::Active, Life::Active, Life::Suppressed, Life::Closed, Life::Unrecognised]),
        (title, published_at) in (option::of(text(&["one", "two"])), option::of(instant())),
    ) -> Finding {
        Finding {
            id, package, severity, fix, cvss, epss, exploit, status, title, published_at,
            description: None, uri: None, first_observed_at: None, arn: None,
        }
    }
}

fn status() -> impl Strategy<Value = Status> {
    let rare = vec![
        Status::NotFound,
        Status::InProgress,
        Status::Pending,
        Status::Failed,
        Status::UnsupportedImage,
        Status::ScanEligibilityExpired,
        Status::FindingsUnavailable,
        Status::LimitExceeded,
        Status::ImageArchived,
        Status::ImageSizeExceeded,
        Status::Unrecognised(String::new()),
        Status::Unrecognised("NEW".to_owned()),
    ];
    prop_oneof![3 => Just(Status::Complete), 2 => Just(Status::Active), 2 => select(rare)]
}

fn flaw() -> impl Strategy<Value = Flaw> {
    let what = select(vec!["this", "that"]).prop_map(str::to_owned);
    (0_u8..3, what).prop_map(|(kind, what)| match kind {
        0 => Flaw::Mismatch(what),
        1 => Flaw::Malformed(what),
        _ => Flaw::Incomplete(what),
    })
}

fn coverage() -> impl Strategy<Value = Coverage> {
    let reason = select(vec!["SUCCESSFUL", "SCAN_FREQUENCY_SCAN_ON_PUSH", "PENDING_INITIAL_SCAN", ""]);
    (any::<bool>(), reason, option::of(instant())).prop_map(|(active, reason, last_scanned_at)| Coverage {
        active,
        reason: reason.to_owned(),
        last_scanned_at,
    })
}

fn counting() -> impl Strategy<Value = Counting> {
    let count = prop_oneof![3 => 0_u32..4, 1 => Just(u32::MAX)];
    let counts = proptest::collection::btree_map(text(&["LOW", "HIGH", "CRITICAL", "UNTRIAGED"]), count, 0..4);
    prop_oneof![6 => Just(Counting::AsListed), 1 => Just(Counting::Missing), 1 => counts.prop_map(Counting::These)]
}

prop_compose! {
    /// Anything that a registry could answer.
    pub(crate) fn any_draft()(
        (read_at, unchanged_since, status) in (instant(), instant(), status()),
        scan_type in select(vec![ScanType::Basic, ScanType::Enhanced]),
        frequency in select(vec![
            Frequency::ScanOnPush, Frequency::ContinuousScan, Frequency::Manual, Frequency::Unrecognised,
        ]),
        (completed_at, source_updated_at) in (option::of(instant()), option::of(instant())),
        (has_report, findings) in (prop::bool::weighted(0.9), option::weighted(0.9, vec(finding(), 0..6))),
        (counting, coverage) in (counting(), option::of(coverage())),
        flaws in prop_oneof![3 => Just(Vec::new()), 1 => vec(flaw(), 0..3)],
    ) -> Draft {
        let report = Report { completed_at, source_updated_at, ..Report::default() };
        let scan = Scan {
            read_at, unchanged_since, status, description: None, scan_type, frequency, report: None, coverage, flaws,
            enrichment: Enrichment::NotAsked,
        };
        Draft { scan, report: has_report.then_some(report), findings, counting }
    }
}

prop_compose! {
    /// Scans that prove something unless their counts say otherwise: completed hours ago, seen to be unchanged.
    fn sound_draft()(
        findings in vec(finding(), 0..5),
        (scan_type, active) in (select(vec![ScanType::Basic, ScanType::Enhanced]), any::<bool>()),
        hours in 1_i64..1000,
        covered in any::<bool>(),
    ) -> Draft {
        let completed_at = noon().checked_sub(SignedDuration::from_hours(hours)).unwrap();
        let reason = "SUCCESSFUL".to_owned();
        let coverage = Coverage { active: true, reason, last_scanned_at: Some(completed_at) };
        let scan = Scan {
            read_at: noon(),
            unchanged_since: noon(),
            status: if active { Status::Active } else { Status::Complete },
            description: None,
            scan_type,
            frequency: Frequency::ContinuousScan,
            report: None,
            coverage: covered.then_some(coverage),
            enrichment: Enrichment::NotAsked,
            flaws: Vec::new(),
        };
        let report =
            Report { completed_at: Some(completed_at), source_updated_at: Some(completed_at), ..Report::default() };
        Draft { scan, report: Some(report), findings: Some(findings), counting: Counting::AsListed }
    }
}

prop_compose! {
    pub(crate) fn any_subject(draft: impl Strategy<Value = Draft>, long_ago: bool)(
        draft in draft,
        pushed_at in option::weighted(0.9, instant()),
        artifact in prop::bool::weighted(0.05),
        archived in prop::bool::weighted(0.05),
        start in option::weighted(0.2, select(vec![Start::Running, Start::Refused("quota".to_owned())])),
        platform in option::of(select(vec!["linux/amd64", "linux/arm64", "linux/arm64/v8"])),
        clocks in clocks(),
    ) -> Subject {
        let pushed_at = if long_ago { Some(Timestamp::UNIX_EPOCH) } else { pushed_at };
        let manifest = Manifest {
            digest: digest(0),
            platform: platform.map(|platform| Platform::parse(platform).unwrap()),
            pushed_at,
            content: if artifact { Content::Artifact } else { Content::Image },
            archived,
        };
        Subject { manifest, draft, start, clocks }
    }
}

prop_compose! {
    fn clocks()(
        entries in vec((text(&["CVE-1", "CVE-2", "GHSA-3"]), text(&["openssl", "zlib", "a"]), clock()), 0..4),
    ) -> FirstSeenTimes {
        entries.into()
    }
}

fn clock() -> impl Strategy<Value = FirstSeen> {
    (option::of(instant()), option::of(instant()), option::of(instant())).prop_map(
        |(first_observed_at, fix_first_seen_at, first_admitted_at)| FirstSeen {
            first_observed_at,
            fix_first_seen_at,
            first_admitted_at,
        },
    )
}

fn grace() -> impl Strategy<Value = Grace> {
    let clock = select(vec![
        GraceClock::FindingPublished,
        GraceClock::FirstObserved,
        GraceClock::FixFirstSeen,
        GraceClock::FirstAdmitted,
    ]);
    let period = prop_oneof![4 => (1_i64..3_000).prop_map(SignedDuration::from_secs), 1 => span()];
    (period, clock).prop_map(|(period, clock)| Grace { period, clock })
}

fn one_glob(patterns: &'static [&'static str]) -> impl Strategy<Value = Glob> {
    select(patterns).prop_map(|pattern| Glob::parse(pattern).unwrap())
}

prop_compose! {
    fn scope()(
        vulnerability in one_glob(&["CVE-1", "CVE-2", "CVE-*", "*"]),
        package in option::weighted(0.3, one_glob(&["openssl", "z*"])),
        repository in option::weighted(0.3, one_glob(&["team/*", "other/*"])),
        of in option::weighted(0.2, 0_usize..3),
        environment in option::weighted(0.2, one_glob(&["prod", "*"])),
        platform in option::weighted(0.2, select(vec!["linux/amd64", "linux/arm64"])),
    ) -> Scope {
        let platform = platform.map(|platform| Platform::parse(platform).unwrap());
        Scope { vulnerability, package, repository, digest: of.map(digest), environment, platform }
    }
}

prop_compose! {
    fn conditions()(
        until_fixed in prop::bool::weighted(0.2),
        max_severity in option::weighted(0.2, severity()),
        max_epss in option::weighted(0.2, score()),
        while_not_exploited in prop::bool::weighted(0.2),
    ) -> Conditions {
        Conditions { until_fixed, max_severity, max_epss, while_not_exploited }
    }
}

prop_compose! {
    pub(crate) fn waiver()(
        id in select(vec!["w-1", "w-2", "w-3", "w-4"]),
        (scope, conditions) in (scope(), conditions()),
        (start_time, term) in (instant(), prop_oneof![(0_i64..3_000).prop_map(SignedDuration::from_secs), span()]),
        revoked_at in option::weighted(0.1, instant()),
    ) -> Waiver {
        Waiver {
            id: WaiverId::parse(id).unwrap(),
            scope,
            conditions,
            reason: "because".to_owned(),
            ticket: String::new(),
            author: String::new(),
            approver: String::new(),
            start_time,
            expire_time: start_time.saturating_add(term).unwrap(),
            revocation: revoked_at.map(|at| Revocation { at, reason: "over".to_owned() }),
        }
    }
}

fn waivers() -> impl Strategy<Value = Vec<Waiver>> {
    vec(waiver(), 0..5).prop_map(|waivers| {
        let by_id: BTreeMap<WaiverId, Waiver> = waivers.into_iter().map(|waiver| (waiver.id.clone(), waiver)).collect();
        by_id.into_values().collect()
    })
}

fn subjects() -> impl Strategy<Value = Vec<Subject>> {
    let subject = prop_oneof![any_subject(any_draft(), false), any_subject(sound_draft(), true)];
    let subjects = prop_oneof![vec(subject, 0..4), vec(any_subject(sound_draft(), true), 1..4)];
    subjects.prop_map(numbered)
}

/// Subjects whose counts are those of their findings or none: adding a finding to these never mends a thing.
pub(crate) fn consistent_subjects() -> impl Strategy<Value = Vec<Subject>> {
    subjects().prop_filter("there is a manifest", |subjects| !subjects.is_empty()).prop_map(|mut subjects| {
        for Subject { draft, .. } in &mut subjects {
            if let Counting::These(_) = draft.counting {
                draft.counting = Counting::AsListed;
            }
        }
        subjects
    })
}

/// Subjects whose scans are proofs, with findings so that they stay proofs as long as one is left.
pub(crate) fn sound_subjects() -> impl Strategy<Value = Vec<Subject>> {
    vec(any_subject(sound_draft(), true), 1..4).prop_map(|mut subjects| {
        for subject in &mut subjects {
            subject.draft.scan.scan_type = ScanType::Basic;
        }
        numbered(subjects)
    })
}

pub(crate) fn numbered(mut subjects: Vec<Subject>) -> Vec<Subject> {
    for (index, subject) in subjects.iter_mut().enumerate() {
        subject.manifest.digest = digest(index);
    }
    subjects
}

/// Lists that hold every severity from some one upwards, which is what the law on raising a severity speaks of.
fn severities() -> impl Strategy<Value = Vec<SeverityChoice>> {
    let upwards = (0_usize..=5)
        .prop_map(|count| Severity::WORST_FIRST[..count].iter().copied().map(SeverityChoice::Rated).collect());
    prop_oneof![3 => Just(Vec::new()), 2 => upwards, 1 => Just(vec![SeverityChoice::Unrated])]
}

fn globs(patterns: &'static [&'static str]) -> impl Strategy<Value = Vec<Glob>> {
    let glob = select(patterns).prop_map(|pattern| Glob::parse(pattern).unwrap());
    prop_oneof![3 => Just(Vec::new()), 1 => vec(glob, 1..3)]
}

prop_compose! {
    fn filter()(
        min_severity in option::weighted(0.7, severity()),
        severities in severities(),
        fix in select(vec![FixFilter::Any, FixFilter::Any, FixFilter::Available, FixFilter::None]),
        (min_cvss, min_epss) in (option::weighted(0.2, score()), option::weighted(0.2, score())),
        exploit_known in prop::bool::weighted(0.2),
        vulnerability_ids in globs(&["CVE-*", "*-3", "CVE-1"]),
        packages in globs(&["z*", "*", "openssl"]),
        package_managers in prop_oneof![4 => Just(Vec::new()), 1 => Just(vec!["npm".to_owned()])],
        expression in option::weighted(0.3, expression()),
        when_unknown in select(vec![WhenUnknown::Match, WhenUnknown::NoMatch]),
    ) -> Filter {
        Filter {
            min_severity, severities, fix, min_cvss, min_epss, exploit_known, vulnerability_ids, packages,
            package_managers, expression, when_unknown,
        }
    }
}

fn expression() -> impl Strategy<Value = Expression> {
    let written = [
        "finding.epss >= 0.1 || finding.exploit == 'KNOWN'",
        "finding.title == 'one' || !has(finding.package.fixed_in)",
        "now - finding.published_at > duration('1h')",
        "now - finding.published_at < duration('30s')",
        "now >= timestamp('2026-03-01T12:03:00Z') && finding.cvss > 5.0",
        "finding.published_at + duration('10m') == now || finding.severity >= 'LOW'",
        "has(finding.published_at) && now - finding.published_at > (finding.fix == 'NONE' ? duration('2h') : duration('1s'))",
    ];
    select(written.map(|written| Expression::parse(written).unwrap()).to_vec())
}

prop_compose! {
    pub(crate) fn rule()(
        when in filter(),
        allow in prop_oneof![4 => 0_u32..4, 1 => Just(u32::MAX)],
        grace in option::weighted(0.4, grace()),
        effect in select(vec![Effect::Deny, Effect::Deny, Effect::Warn]),
        waivable in prop::bool::weighted(0.8),
    ) -> Rule {
        Rule { id: RuleId::parse("rule").unwrap(), description: String::new(), when, allow, grace, effect, waivable }
    }
}

fn action() -> impl Strategy<Value = Option<Action>> {
    let action = select(vec![Action::Deny, Action::Warn, Action::Warn, Action::StartScan]);
    option::weighted(0.5, action)
}

prop_compose! {
    fn requirements()(
        max_scan_age in option::weighted(0.3, span()),
        (never_scanned, scanning, failed, unsupported) in (action(), action(), action(), action()),
        (eligibility_expired, findings_unavailable, archived) in (action(), action(), action()),
        (too_old, unknown) in (action(), action()),
    ) -> ScanRequirements {
        ScanRequirements {
            max_scan_age, never_scanned, scanning, failed, unsupported, eligibility_expired, findings_unavailable,
            archived, too_old, unknown,
        }
    }
}

prop_compose! {
    pub(crate) fn policy()(
        id in select(vec!["a", "b", "c", "zz", "default"]),
        environments in globs(&["prod", "dev*", "*", "p*d"]),
        repositories in prop_oneof![5 => Just(Vec::new()), 1 => globs(&["team/*", "other/*"])],
        mode in select(vec![Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Warn, Mode::Off]),
        scan in prop_oneof![Just(ScanRequirements::default()), requirements()],
        rules in vec(rule(), 0..4),
        unrated_as in severity(),
        honour_suppression in any::<bool>(),
        effective_time in option::weighted(0.3, instant()),
    ) -> Policy {
        let id = PolicyId::parse(id).unwrap();
        let matches = Match { registries: Vec::new(), repositories, environments };
        Policy {
            id, description: String::new(), matches, mode, effective_time, scan, rules, unrated_as, honour_suppression,
        }
    }
}

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    vec(policy(), 0..5).prop_map(|policies| {
        let by_id: BTreeMap<PolicyId, Policy> =
            policies.into_iter().map(|policy| (policy.id.clone(), policy)).collect();
        by_id.into_values().collect()
    })
}

fn environment() -> impl Strategy<Value = Option<Environment>> {
    option::of(select(vec!["prod", "dev", "staging"]).prop_map(|name| Environment::parse(name).unwrap()))
}

prop_compose! {
    pub(crate) fn question_over(subjects: impl Strategy<Value = Vec<Subject>>)(
        subjects in subjects,
        policies in policies(),
        waivers in waivers(),
        environment in environment(),
        now in prop_oneof![6 => Just(noon()), 1 => instant()],
    ) -> Question {
        Question { subjects, policies, waivers, environment, now }
    }
}

pub(crate) fn question() -> impl Strategy<Value = Question> {
    question_over(subjects())
}

/// An image with many findings under many rules that match them all, through globs that have to work for it.
pub(crate) fn crowd(count: usize) -> Question {
    let finding = |index: usize| Finding {
        id: format!("CVE-2026-{index:05}").into(),
        package: Package { name: "openssl".into(), ..Package::default() },
        severity: Rating::parse("HIGH"),
        fix: Fix::Available,
        cvss: None,
        epss: None,
        exploit: Exploit::Unknown,
        status: Life::Active,
        title: None,
        description: None,
        uri: None,
        first_observed_at: None,
        published_at: None,
        arn: None,
    };
    let completed_at = noon().checked_sub(SignedDuration::from_hours(1)).unwrap();
    let scan = Scan {
        read_at: noon(),
        unchanged_since: noon(),
        status: Status::Complete,
        description: None,
        scan_type: ScanType::Basic,
        frequency: Frequency::ScanOnPush,
        report: None,
        coverage: None,
        enrichment: Enrichment::NotAsked,
        flaws: Vec::new(),
    };
    let report =
        Report { completed_at: Some(completed_at), source_updated_at: Some(completed_at), ..Report::default() };
    let findings = Some((0..count).map(finding).collect());
    let draft = Draft { scan, report: Some(report), findings, counting: Counting::AsListed };
    let manifest = Manifest {
        digest: digest(0),
        platform: None,
        pushed_at: Some(Timestamp::UNIX_EPOCH),
        content: Content::Image,
        archived: false,
    };
    let globs = |prefix: &str| vec![Glob::parse(&format!("{prefix}{}", "*1".repeat(50))).unwrap(); 20];
    let rule = |index: usize| Rule {
        id: RuleId::parse(&format!("rule-{index}")).unwrap(),
        description: String::new(),
        when: Filter {
            vulnerability_ids: [globs("CVE"), vec![Glob::parse("*").unwrap()]].concat(),
            ..Filter::default()
        },
        allow: 0,
        grace: None,
        effect: Effect::Deny,
        waivable: true,
    };
    let mut policy = Policy::built_in_default().unwrap();
    policy.rules = (0..20).map(rule).collect();
    let subjects = vec![Subject { manifest, draft, start: None, clocks: FirstSeenTimes::default() }];
    Question { subjects, policies: vec![policy], waivers: Vec::new(), environment: None, now: noon() }
}
