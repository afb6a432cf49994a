//! A finding of enhanced scanning, which Amazon Inspector creates and ECR returns.

use serde_json::{Value, json};

/// A finding of enhanced scanning. Members that identify the image (`resources`, `awsAccountId`, `findingArn`) are
/// added when the image is read, unless they were set here.
#[derive(Clone, Debug, PartialEq)]
pub struct EnhancedFinding {
    body: Value,
    os: Option<String>,
    /// Members of `ListFindings` only, by JSON pointer.
    listed: Vec<(String, Value)>,
    /// Members of `BatchGetFindingDetails`, by JSON pointer; `None` if Inspector has no details.
    details: Option<Vec<(String, Value)>>,
}

impl EnhancedFinding {
    /// A finding with a vulnerability id and a severity (`CRITICAL` … `INFORMATIONAL`, `UNTRIAGED`, or any other
    /// string). It is ACTIVE, without a fix or a known exploit, and has a score typical of the severity. Like a real
    /// one, an UNTRIAGED finding has score 0.0 and no CVSS.
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
        Self::from_wire(body).typical_score(severity)
    }

    /// A finding in ECR's wire form, unchanged.
    pub fn from_wire(body: Value) -> Self {
        Self { body, os: None, listed: Vec::new(), details: Some(Vec::new()) }
    }

    fn typical_score(self, severity: &str) -> Self {
        match severity {
            "CRITICAL" => self.score(9.8),
            "HIGH" => self.score(7.5),
            "MEDIUM" => self.score(5.3),
            "LOW" => self.score(2.5),
            _ => self.field("/score", 0.0),
        }
    }

    /// Adds a vulnerable package with its installed version.
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

    /// Sets the manager of the last package, e.g. `PYTHONPKG`.
    #[must_use]
    pub fn manager(mut self, manager: &str) -> Self {
        if let Some(Value::Array(packages)) = self.body.pointer_mut("/packageVulnerabilityDetails/vulnerablePackages")
            && let Some(package) = packages.last_mut()
        {
            super::set_pointer(package, "/packageManager", manager.into());
        }
        self
    }

    /// Sets the ids of related vulnerabilities.
    #[must_use]
    pub fn related(self, ids: &[&str]) -> Self {
        self.field("/packageVulnerabilityDetails/relatedVulnerabilities", json!(ids))
    }

    /// Sets the fixed version of the last package, and marks the fix as available.
    #[must_use]
    pub fn fixed_version(mut self, version: &str) -> Self {
        if let Some(Value::Array(packages)) = self.body.pointer_mut("/packageVulnerabilityDetails/vulnerablePackages")
            && let Some(package) = packages.last_mut()
        {
            super::set_pointer(package, "/fixedInVersion", version.into());
        }
        self.field("/fixAvailable", "YES")
    }

    /// Sets the Inspector score and matching CVSS details.
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

    /// Sets the EPSS probability. ECR does not return it; Inspector's `ListFindings` and `BatchGetFindingDetails` do.
    #[must_use]
    pub fn epss(self, probability: f64) -> Self {
        self.listed("/epss/score", probability).detail("/epssScore", probability)
    }

    /// Sets `exploitAvailable` to YES: an exploit is known.
    #[must_use]
    pub fn exploit_available(self) -> Self {
        self.field("/exploitAvailable", "YES")
    }

    /// Sets the time when an exploit was last seen, in epoch seconds. Only `ListFindings` returns it.
    #[must_use]
    pub fn last_known_exploit_at(self, epoch_seconds: i64) -> Self {
        self.listed("/exploitabilityDetails/lastKnownExploitAt", epoch_seconds).exploit_available()
    }

    /// Adds an entry in CISA's catalogue of known exploited vulnerabilities: the date of the entry and the due date of
    /// the fix, in epoch seconds. Only `BatchGetFindingDetails` returns it.
    #[must_use]
    pub fn known_exploited(self, added: i64, due: i64) -> Self {
        let action = "Apply updates per vendor instructions.";
        self.detail("/cisaData", json!({"dateAdded": added, "dateDue": due, "action": action}))
    }

    /// Sets the times of the first and the last observed exploitation, in epoch seconds. Only `BatchGetFindingDetails`
    /// returns them.
    #[must_use]
    pub fn exploit_observed(self, first_seen: i64, last_seen: i64) -> Self {
        self.detail("/exploitObserved", json!({"firstSeen": first_seen, "lastSeen": last_seen}))
    }

    /// Sets any member by its JSON pointer, in `ListFindings` only: facts that Inspector returns and ECR does not.
    #[must_use]
    pub fn listed(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.listed.push((pointer.to_owned(), value.into()));
        self
    }

    /// Sets any member by its JSON pointer, in `BatchGetFindingDetails` only.
    #[must_use]
    pub fn detail(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_default().push((pointer.to_owned(), value.into()));
        self
    }

    /// Removes the details: `BatchGetFindingDetails` returns `FINDING_DETAILS_NOT_FOUND`.
    #[must_use]
    pub fn without_details(mut self) -> Self {
        self.details = None;
        self
    }

    /// Sets the operating system that Inspector recognised, e.g. `DEBIAN_12`.
    #[must_use]
    pub fn os(mut self, name: &str) -> Self {
        self.os = Some(name.to_owned());
        self
    }

    /// Sets the status to SUPPRESSED: a suppression rule hides the finding.
    #[must_use]
    pub fn suppressed(self) -> Self {
        self.field("/status", "SUPPRESSED")
    }

    /// Sets the status to CLOSED: the finding is remediated, or its image is no longer eligible for scans.
    #[must_use]
    pub fn closed(self) -> Self {
        self.field("/status", "CLOSED")
    }

    /// Sets any member by its JSON pointer.
    #[must_use]
    pub fn field(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        super::set_pointer(&mut self.body, pointer, value.into());
        self
    }

    /// The members of ECR's wire form that do not depend on the image.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The vulnerability's id.
    pub fn id(&self) -> &str {
        self.body.pointer("/packageVulnerabilityDetails/vulnerabilityId").and_then(Value::as_str).unwrap_or_default()
    }

    /// Adds the members that only `ListFindings` returns.
    pub(crate) fn add_listed(&self, body: &mut Value) {
        for (pointer, value) in &self.listed {
            super::set_pointer(body, pointer, value.clone());
        }
    }

    /// The details that `BatchGetFindingDetails` returns, if there are any.
    pub(crate) fn to_details(&self, arn: &str) -> Option<Value> {
        let details = self.details.as_ref()?;
        let urls =
            self.body.pointer("/packageVulnerabilityDetails/referenceUrls").cloned().unwrap_or_else(|| json!([]));
        let mut body = json!({
            "findingArn": arn, "cwes": [], "evidences": [], "referenceUrls": urls, "tools": [], "ttps": [],
        });
        for (pointer, value) in details {
            super::set_pointer(&mut body, pointer, value.clone());
        }
        Some(body)
    }

    pub(crate) fn os_name(&self) -> &str {
        self.os.as_deref().unwrap_or("DEBIAN_12")
    }
}
