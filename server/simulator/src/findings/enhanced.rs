//! A finding of enhanced scanning, as Amazon Inspector makes it and ECR shows it.

use serde_json::{Value, json};

/// A finding of enhanced scanning. What identifies the image (`resources`, `awsAccountId`, `findingArn`) is filled in
/// when the image is read, unless it was set here.
#[derive(Clone, Debug, PartialEq)]
pub struct EnhancedFinding {
    body: Value,
    os: Option<String>,
    /// Members of Inspector's own form, by JSON pointer.
    listed: Vec<(String, Value)>,
    /// Members of Inspector's details, by JSON pointer; `None`: it has no details.
    details: Option<Vec<(String, Value)>>,
}

impl EnhancedFinding {
    /// A finding with a vulnerability id and a severity (`CRITICAL` … `INFORMATIONAL`, `UNTRIAGED`, or any other
    /// string). It is ACTIVE, has no fix and no known exploit, and the score that goes with the severity; an UNTRIAGED
    /// one has score 0.0 and no CVSS, as the real ones.
    pub fn new(id: &str, severity: &str) -> Self {
        let body = json!({
            "description": format!("{id}, a made-up vulnerability."),
            "type": "PACKAGE_VULNERABILITY", "status": "ACTIVE", "severity": severity, "title": id,
            "fixAvailable": "NO", "exploitAvailable": "NO",
            "remediation": {"recommendation": {"text": "None Provided"}},
            "packageVulnerabilityDetails": {
                "vulnerabilityId": id, "source": "NVD", "sourceUrl": format!("https://nvd.nist.gov/vuln/detail/{id}"),
                "vendorSeverity": severity, "relatedVulnerabilities": [], "referenceUrls": [],
                "cvss": [], "vulnerablePackages": [],
            },
        });
        Self::from_wire(body).usual_score(severity)
    }

    /// Takes a finding in ECR's wire form as it is.
    pub fn from_wire(body: Value) -> Self {
        Self { body, os: None, listed: Vec::new(), details: Some(Vec::new()) }
    }

    fn usual_score(self, severity: &str) -> Self {
        match severity {
            "CRITICAL" => self.score(9.8),
            "HIGH" => self.score(7.5),
            "MEDIUM" => self.score(5.3),
            "LOW" => self.score(2.5),
            _ => self.field("/score", 0.0),
        }
    }

    /// The vulnerable package and its installed version; may be given several times.
    #[must_use]
    pub fn package(mut self, name: &str, version: &str) -> Self {
        let title = format!("{} - {name}", self.id());
        if let Some(Value::Array(packages)) = self.body.pointer_mut("/packageVulnerabilityDetails/vulnerablePackages") {
            packages.push(json!({
                "name": name, "version": version, "epoch": 0, "arch": "AMD64", "packageManager": "OS",
                "fixedInVersion": "NotAvailable",
            }));
        }
        self.field("/title", title)
    }

    /// The version that fixes the package named last, which makes a fix available.
    #[must_use]
    pub fn fixed_in(mut self, version: &str) -> Self {
        if let Some(Value::Array(packages)) = self.body.pointer_mut("/packageVulnerabilityDetails/vulnerablePackages")
            && let Some(package) = packages.last_mut()
        {
            super::set(package, "/fixedInVersion", version.into());
        }
        self.field("/fixAvailable", "YES")
    }

    /// The Inspector score, with the CVSS details that go with it.
    #[must_use]
    pub fn score(self, score: f64) -> Self {
        let vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
        self.field("/score", score)
            .field(
                "/scoreDetails/cvss",
                json!({"adjustments": [], "score": score, "scoreSource": "NVD", "scoringVector": vector, "version": "3.1"}),
            )
            .field(
                "/packageVulnerabilityDetails/cvss",
                json!([{"baseScore": score, "scoringVector": vector, "source": "NVD", "version": "3.1"}]),
            )
    }

    /// The EPSS probability. ECR does not show it; Inspector's `ListFindings` and `BatchGetFindingDetails` do.
    #[must_use]
    pub fn epss(self, probability: f64) -> Self {
        self.listed("/epss/score", probability).detail("/epssScore", probability)
    }

    /// An exploit is known (`exploitAvailable` YES).
    #[must_use]
    pub fn exploit_available(self) -> Self {
        self.field("/exploitAvailable", "YES")
    }

    /// When an exploit was last seen, in epoch seconds. Only `ListFindings` shows it.
    #[must_use]
    pub fn last_known_exploit_at(self, epoch_seconds: i64) -> Self {
        self.listed("/exploitabilityDetails/lastKnownExploitAt", epoch_seconds).exploit_available()
    }

    /// In CISA's catalogue of known exploited vulnerabilities since then, to be fixed by then, in epoch seconds. Only
    /// `BatchGetFindingDetails` shows it.
    #[must_use]
    pub fn known_exploited(self, added: i64, due: i64) -> Self {
        let action = "Apply updates per vendor instructions.";
        self.detail("/cisaData", json!({"dateAdded": added, "dateDue": due, "action": action}))
    }

    /// Exploitation was seen first and last then, in epoch seconds. Only `BatchGetFindingDetails` shows it.
    #[must_use]
    pub fn exploit_observed(self, first_seen: i64, last_seen: i64) -> Self {
        self.detail("/exploitObserved", json!({"firstSeen": first_seen, "lastSeen": last_seen}))
    }

    /// Sets any member by its JSON pointer in the answer of `ListFindings` alone: what Inspector says and ECR does not.
    #[must_use]
    pub fn listed(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.listed.push((pointer.to_owned(), value.into()));
        self
    }

    /// Sets any member by its JSON pointer in the answer of `BatchGetFindingDetails`.
    #[must_use]
    pub fn detail(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_default().push((pointer.to_owned(), value.into()));
        self
    }

    /// Inspector has no details of it: `BatchGetFindingDetails` answers `FINDING_DETAILS_NOT_FOUND`.
    #[must_use]
    pub fn without_details(mut self) -> Self {
        self.details = None;
        self
    }

    /// The operating system that Inspector recognised, e.g. `DEBIAN_12`.
    #[must_use]
    pub fn os(mut self, name: &str) -> Self {
        self.os = Some(name.to_owned());
        self
    }

    /// Hidden by a suppression rule.
    #[must_use]
    pub fn suppressed(self) -> Self {
        self.field("/status", "SUPPRESSED")
    }

    /// Closed: remediated, or its image is no longer eligible for scans.
    #[must_use]
    pub fn closed(self) -> Self {
        self.field("/status", "CLOSED")
    }

    /// Sets any member by its JSON pointer.
    #[must_use]
    pub fn field(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        super::set(&mut self.body, pointer, value.into());
        self
    }

    /// The finding in ECR's wire form, as far as it does not depend on the image.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The vulnerability's id.
    pub fn id(&self) -> &str {
        self.body.pointer("/packageVulnerabilityDetails/vulnerabilityId").and_then(Value::as_str).unwrap_or_default()
    }

    /// What `ListFindings` says beyond ECR.
    pub(crate) fn add_listed(&self, body: &mut Value) {
        for (pointer, value) in &self.listed {
            super::set(body, pointer, value.clone());
        }
    }

    /// What `BatchGetFindingDetails` says; `None`: nothing.
    pub(crate) fn to_details(&self, arn: &str) -> Option<Value> {
        let details = self.details.as_ref()?;
        let urls =
            self.body.pointer("/packageVulnerabilityDetails/referenceUrls").cloned().unwrap_or_else(|| json!([]));
        let mut body = json!({
            "findingArn": arn, "cwes": [], "evidences": [], "referenceUrls": urls, "tools": [], "ttps": [],
        });
        for (pointer, value) in details {
            super::set(&mut body, pointer, value.clone());
        }
        Some(body)
    }

    pub(crate) fn os_name(&self) -> &str {
        self.os.as_deref().unwrap_or("DEBIAN_12")
    }
}
