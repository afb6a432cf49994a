//! Decisions as data: every file in `decisions/` says what is given and what must follow, in the words of a policy author.
//!
//! What a file leaves out is harmless: one image pushed a day ago, with a basic scan that found nothing 20 hours ago, and the
//! built-in default policy. Times are instants, or `1h ago` and `3m ahead` as seen from `now`. What `then` leaves out of
//! `violations` and `warnings` must not be there.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read must fail")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use jiff::{Span, SpanRelativeTo, Timestamp};
use scangate_core::{
    Decision, Verdict, decide,
    decide::Selection,
    decision::{Breach, ManifestInput, Start, Upgrade, Violation, Waived},
    evidence::Evidence,
    finding::{Exploit, Finding, Fix, Package, Score, Status as Life},
    first_seen::{FirstSeen, FirstSeenTimes},
    image::{Digest, Image, ImageReference, Platform},
    name::{Environment, PolicyId, WaiverId},
    policy::{Policy, PolicySet, Revision},
    scan::{Content, Counts, Coverage, Enrichment, Flaw, Frequency, Manifest, Report, Scan, ScanType, Status},
    severity::Rating,
    waiver::{self, Conditions, Revocation, Scope, Waiver},
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "//")]
    _why: Option<String>,
    given: Given,
    #[serde(default)]
    when: When,
    then: Then,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Given {
    image: String,
    environment: Option<Environment>,
    now: Timestamp,
    policies: Vec<Policy>,
    waivers: Vec<GivenWaiver>,
    manifests: Vec<GivenManifest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenWaiver {
    id: WaiverId,
    scope: Scope,
    #[serde(default)]
    conditions: Conditions,
    #[serde(default = "yesterday")]
    start: String,
    expire: String,
    revoked: Option<String>,
}

fn yesterday() -> String {
    "1d ago".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenClock {
    id: Arc<str>,
    #[serde(default)]
    package: Arc<str>,
    first_observed: Option<String>,
    fix_first_seen: Option<String>,
    first_admitted: Option<String>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1".to_owned(),
            environment: None,
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            policies: Vec::new(),
            waivers: Vec::new(),
            manifests: vec![GivenManifest::default()],
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GivenManifest {
    platform: Option<Platform>,
    pushed: Option<String>,
    content: Content,
    archived: bool,
    scan: serde_json::Map<String, Value>,
    start: Option<GivenStart>,
    clocks: Vec<GivenClock>,
}

impl Default for GivenManifest {
    fn default() -> Self {
        Self {
            platform: None,
            pushed: Some("1d ago".to_owned()),
            content: Content::Image,
            archived: false,
            scan: serde_json::Map::new(),
            start: None,
            clocks: Vec::new(),
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum GivenStart {
    Running,
    Refused(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenScan {
    #[serde(rename = "type")]
    scan_type: ScanType,
    frequency: Frequency,
    status: String,
    description: Option<String>,
    read: String,
    unchanged_since: String,
    completed: Option<String>,
    source_updated: Option<String>,
    findings: Option<Vec<GivenFinding>>,
    counts: Option<GivenCounts>,
    coverage: Option<GivenCoverage>,
    flaws: Vec<Flaw>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GivenCounts {
    AsListed(AsListed),
    These(Counts),
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum AsListed {
    AsListed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenCoverage {
    active: bool,
    reason: String,
    last_scanned: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenFinding {
    severity: Rating,
    id: Option<Arc<str>>,
    #[serde(default)]
    package: Arc<str>,
    #[serde(default)]
    version: Arc<str>,
    manager: Option<Arc<str>>,
    path: Option<Arc<str>>,
    #[serde(default)]
    fix: Fix,
    cvss: Option<Score>,
    epss: Option<Score>,
    #[serde(default)]
    exploit: Exploit,
    #[serde(default)]
    status: Life,
    fixed_in: Option<Arc<str>>,
    published: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    policy: Option<PolicyId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Then {
    verdict: Verdict,
    evidence: Option<Evidence>,
    manifests: Option<Value>,
    #[serde(default)]
    reasons_contain: Vec<String>,
    #[serde(default)]
    reasons_lack: Vec<String>,
    #[serde(default)]
    violations: Vec<Value>,
    #[serde(default)]
    warnings: Vec<Value>,
    #[serde(default)]
    waived: Vec<Value>,
    next_change: Option<Value>,
    remediation: Option<Value>,
    policies: Option<Vec<PolicyId>>,
    retry_after_seconds: Option<i64>,
    #[serde(default)]
    wants_scan: bool,
    #[serde(default = "yes")]
    authoritative: bool,
}

fn yes() -> bool {
    true
}

impl Given {
    fn at(&self, moment: &str) -> Timestamp {
        moment.parse().unwrap_or_else(|_| {
            let span: Span = moment.strip_suffix(" ahead").unwrap_or(moment).parse().unwrap();
            self.now + span.to_duration(SpanRelativeTo::days_are_24_hours()).unwrap()
        })
    }

    fn image(&self) -> Image {
        let reference = ImageReference::parse(&self.image).unwrap();
        let (host, registry) = reference.registry.unwrap();
        let (repository, tag) = (reference.repository, reference.tag);
        Image { registry, host, repository, tag, digest: digest(0), pushed_at: None }
    }

    fn policies(&self) -> PolicySet {
        let default = Policy::built_in_default().unwrap();
        let policies = std::iter::once(&default).chain(&self.policies);
        PolicySet {
            revision: 7,
            policies: policies.map(|policy| (policy.id.clone(), revised(policy))).collect(),
            waivers: self.waivers.iter().map(|given| self.waiver(given)).collect(),
        }
    }

    fn waiver(&self, given: &GivenWaiver) -> Arc<waiver::Revision> {
        let waiver = Waiver {
            id: given.id.clone(),
            scope: given.scope.clone(),
            conditions: given.conditions.clone(),
            reason: "not reachable".to_owned(),
            ticket: String::new(),
            author: String::new(),
            approver: String::new(),
            start_time: self.at(&given.start),
            expire_time: self.at(&given.expire),
            revocation: given.revoked.as_deref().map(|at| Revocation { at: self.at(at), reason: "fixed".to_owned() }),
        };
        let (create_time, update_time) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        Arc::new(waiver::Revision { waiver, revision: 7, create_time, update_time })
    }

    fn clocks(&self, given: &[GivenClock]) -> FirstSeenTimes {
        let mut clocks = FirstSeenTimes::default();
        for given in given {
            let at = |moment: &Option<String>| moment.as_deref().map(|moment| self.at(moment));
            let clock = FirstSeen {
                first_observed_at: at(&given.first_observed),
                fix_first_seen_at: at(&given.fix_first_seen),
                first_admitted_at: at(&given.first_admitted),
            };
            clocks.set(Arc::clone(&given.id), Arc::clone(&given.package), clock);
        }
        clocks
    }

    fn examined(&self, index: usize, given: &GivenManifest) -> ManifestInput {
        let manifest = Manifest {
            digest: digest(index),
            platform: given.platform.clone(),
            pushed_at: given.pushed.as_deref().map(|pushed| self.at(pushed)),
            content: given.content,
            archived: given.archived,
        };
        let start = given.start.clone().map(|start| match start {
            GivenStart::Running => Start::Running,
            GivenStart::Refused(why) => Start::Refused(why),
        });
        ManifestInput {
            manifest,
            scan: Arc::new(self.scan(&given.scan)),
            start,
            first_seen: Arc::new(self.clocks(&given.clocks)),
        }
    }

    fn scan(&self, given: &serde_json::Map<String, Value>) -> Scan {
        let scan: GivenScan = serde_json::from_value(Value::Object(with_defaults(given))).unwrap();
        Scan {
            read_at: self.at(&scan.read),
            unchanged_since: self.at(&scan.unchanged_since),
            status: status(&scan.status),
            scan_type: scan.scan_type,
            frequency: scan.frequency,
            report: self.report(&scan),
            coverage: scan.coverage.as_ref().map(|coverage| Coverage {
                active: coverage.active,
                reason: coverage.reason.clone(),
                last_scanned_at: coverage.last_scanned.as_deref().map(|at| self.at(at)),
            }),
            description: scan.description,
            enrichment: Enrichment::NotAsked,
            flaws: scan.flaws,
        }
    }

    fn report(&self, scan: &GivenScan) -> Option<Report> {
        let findings = scan.findings.as_ref().map(|findings| {
            findings.iter().enumerate().map(|(index, given)| Finding {
                published_at: given.published.as_deref().map(|at| self.at(at)),
                ..finding((index, given))
            })
        });
        let enumerated = findings.clone().into_iter().flatten().fold(Counts::new(), |mut counts, finding| {
            *counts.entry(Arc::from(finding.severity.label())).or_default() += 1;
            counts
        });
        let report = Report {
            completed_at: scan.completed.as_deref().map(|at| self.at(at)),
            source_updated_at: scan.source_updated.as_deref().map(|at| self.at(at)),
            counts: scan.counts.as_ref().map(|counts| match counts {
                GivenCounts::AsListed(AsListed::AsListed) => enumerated.clone(),
                GivenCounts::These(counts) => counts.clone(),
            }),
            enumerated,
            findings: None,
        };
        let report = match findings {
            Some(findings) => report.with_findings(findings.collect()),
            None => report,
        };
        (report != Report::default()).then_some(report)
    }
}

/// A scan that ended well is complete, consistent, settled and clean; any other has no result.
fn with_defaults(given: &serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    let ended_well = given.get("status").is_none_or(|status| status == "COMPLETE" || status == "ACTIVE");
    let result = |value: Value| if ended_well { value } else { Value::Null };
    let Value::Object(mut scan) = json!({
        "type": "BASIC", "frequency": "SCAN_ON_PUSH", "status": "COMPLETE", "description": null,
        "read": "0s ago", "unchanged_since": "0s ago",
        "completed": result(json!("20h ago")), "source_updated": result(json!("21h ago")),
        "findings": result(json!([])), "counts": result(json!("AS_LISTED")),
        "coverage": null, "flaws": [],
    }) else {
        unreachable!("an object literal")
    };
    scan.extend(given.clone());
    scan
}

fn status(label: &str) -> Status {
    if label == "NOT_FOUND" { Status::NotFound } else { Status::parse(label) }
}

fn finding((index, given): (usize, &GivenFinding)) -> Finding {
    let package = Package {
        name: Arc::clone(&given.package),
        version: Arc::clone(&given.version),
        manager: given.manager.clone(),
        path: given.path.clone(),
        fixed_in: given.fixed_in.clone(),
    };
    Finding {
        id: given.id.clone().unwrap_or_else(|| format!("CVE-2026-{index:04}").into()),
        package,
        severity: given.severity.clone(),
        fix: given.fix,
        cvss: given.cvss,
        epss: given.epss,
        exploit: given.exploit,
        status: given.status,
        title: None,
        description: None,
        uri: None,
        first_observed_at: None,
        published_at: None,
        arn: None,
    }
}

fn digest(index: usize) -> Digest {
    Digest::parse(&format!("sha256:{index:064x}")).unwrap()
}

fn revised(policy: &Policy) -> Arc<Revision> {
    Arc::new(Revision {
        policy: policy.clone(),
        revision: 7,
        content_digest: String::new(),
        create_time: Timestamp::UNIX_EPOCH,
        update_time: Timestamp::UNIX_EPOCH,
    })
}

impl Case {
    fn decide(&self) -> Decision {
        let set = self.given.policies();
        let selection = match &self.when.policy {
            Some(id) => {
                Selection::Only { policy: set.policies.get(id).unwrap(), waivers: &set.waivers, revision: set.revision }
            }
            None => Selection::Governing(&set),
        };
        let manifests: Vec<ManifestInput> =
            self.given.manifests.iter().enumerate().map(|(index, given)| self.given.examined(index, given)).collect();
        decide(&self.given.image(), self.given.environment.as_ref(), selection, &manifests, self.given.now)
    }
}

impl Then {
    /// What of the decision is not as promised, one line each.
    fn complaints(&self, decision: &Decision) -> Vec<String> {
        let mut differences = Differences::default();
        let evidence: Vec<Evidence> = decision.manifests.iter().map(|manifest| manifest.assessment.evidence).collect();
        let wants_scan = decision.manifests.iter().any(|manifest| manifest.wants_scan);
        let policies: Vec<PolicyId> = decision.policies.iter().map(|applied| applied.id.clone()).collect();
        differences.between("verdict", &json!(self.verdict), &json!(decision.verdict));
        differences.between("violations", &json!(self.violations), &json!(told(&decision.violations)));
        differences.between("warnings", &json!(self.warnings), &json!(told(&decision.warnings)));
        differences.between("wants_scan", &json!(self.wants_scan), &json!(wants_scan));
        differences.between("authoritative", &json!(self.authoritative), &json!(decision.authoritative));
        differences.between("waived", &json!(self.waived), &waived(decision));
        if let Some(expected) = &self.next_change {
            let change = decision.next_change.as_ref();
            let told =
                change.map(|change| json!({ "time": change.time, "verdict": change.verdict, "reason": change.reason }));
            differences.between("next_change", expected, &told.unwrap_or(json!("NEVER")));
        }
        if let Some(expected) = &self.remediation {
            differences.between("remediation", expected, &remediation(decision));
        }
        let retry_after = decision.retry_after.map(|after| after.as_secs());
        differences.between("retry_after_seconds", &json!(self.retry_after_seconds), &json!(retry_after));
        if let Some(expected) = self.evidence {
            differences.between("evidence", &json!([expected]), &json!(evidence));
        }
        if let Some(expected) = &self.manifests {
            differences.between("manifests", expected, &manifests(decision));
        }
        if let Some(expected) = &self.policies {
            differences.between("policies", &json!(expected), &json!(policies));
        }
        let says = |text: &String| decision.reasons.iter().any(|reason| reason.contains(text.as_str()));
        for missing in self.reasons_contain.iter().filter(|text| !says(text)) {
            differences.0.push(format!("reasons lack {missing:?}: {:#?}", decision.reasons));
        }
        for surplus in self.reasons_lack.iter().filter(|text| says(text)) {
            differences.0.push(format!("reasons say {surplus:?}: {:#?}", decision.reasons));
        }
        differences.0
    }
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn between(&mut self, what: &str, expected: &Value, actual: &Value) {
        if expected != actual {
            self.0.push(format!("{what}: expected {expected}, got {actual}"));
        }
    }
}

fn told(violations: &[Violation]) -> Vec<Value> {
    let tell = |violation: &Violation| {
        let mut told = match &violation.breach {
            Breach::Rule { rule, matched, allowed, findings: _ } => {
                json!({ "policy": violation.policy, "rule": rule, "matched": matched, "allowed": allowed })
            }
            Breach::Scan(evidence) => json!({ "policy": violation.policy, "evidence": evidence }),
        };
        if let (Some(platform), Value::Object(told)) = (&violation.platform, &mut told) {
            told.insert("platform".to_owned(), json!(platform));
        }
        if let (Some(from), Value::Object(told)) = (&violation.denies_from, &mut told) {
            told.insert("denies_from".to_owned(), json!(from));
        }
        told
    };
    violations.iter().map(tell).collect()
}

fn waived(decision: &Decision) -> Value {
    let tell = |waived: &Waived| json!({ "id": waived.finding.id, "waiver": waived.waiver, "until": waived.until });
    decision.waived.iter().map(tell).collect()
}

fn remediation(decision: &Decision) -> Value {
    let Some(remediation) = &decision.remediation else { return json!("NONE") };
    let tell = |upgrade: &Upgrade| {
        let package = &upgrade.package;
        json!({ "package": package.name, "from": package.version, "to": upgrade.to_version, "fixes": upgrade.fixes })
    };
    let upgrades: Vec<Value> = remediation.upgrades.iter().map(tell).collect();
    json!({ "upgrades": upgrades, "unfixable": remediation.unfixable })
}

fn manifests(decision: &Decision) -> Value {
    let tell = |manifest: &scangate_core::decision::ManifestDecision| {
        let evidence = manifest.assessment.evidence;
        json!({ "platform": manifest.platform, "verdict": manifest.verdict, "evidence": evidence })
    };
    decision.manifests.iter().map(tell).collect()
}

/// Every case by its name.
fn cases() -> BTreeMap<String, Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions");
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let case = serde_json::from_str(&fs::read_to_string(entry.path()).unwrap());
        let case = case.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, case)
    };
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}

#[test]
fn every_case_is_decided_as_its_file_says() {
    let cases = cases();
    assert!(cases.len() > 35, "the cases have gone: {} left", cases.len());

    let complaints: Vec<String> = cases
        .iter()
        .flat_map(|(name, case)| {
            let complaints = case.then.complaints(&case.decide());
            complaints.into_iter().map(move |complaint| format!("{name}: {complaint}"))
        })
        .collect();

    assert!(complaints.is_empty(), "{} differences:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn a_case_that_promises_something_unheard_of_is_refused() {
    let case = r#"{ "given": {}, "then": { "verdict": "ALLOW", "violation": [] } }"#;

    let read = serde_json::from_str::<Case>(case);

    assert!(read.is_err());
}
