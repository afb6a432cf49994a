//! A finding of enhanced scanning, as Amazon Inspector makes it and ECR shows it.

use serde_json::{Value, json};

/// A finding of enhanced scanning. What identifies the image (`resources`, `awsAccountId`, `findingArn`) is filled in
/// when the image is read, unless it was set here.
#[derive(Clone, Debug, PartialEq)]
pub struct EnhancedFinding {
    body: Value,
    epss: Option<f64>,
    last_known_exploit_at: Option<i64>,
    os: Option<String>,
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
        Self { body, epss: None, last_known_exploit_at: None, os: None }.usual_score(severity)
    }

    /// Takes a finding in ECR's wire form as it is.
    pub fn from_wire(body: Value) -> Self {
        Self { body, epss: None, last_known_exploit_at: None, os: None }
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

    /// The EPSS probability. ECR does not show it; Inspector's `ListFindings` does.
    #[must_use]
    pub fn epss(mut self, probability: f64) -> Self {
        self.epss = Some(probability);
        self
    }

    /// An exploit is known (`exploitAvailable` YES).
    #[must_use]
    pub fn exploit_available(self) -> Self {
        self.field("/exploitAvailable", "YES")
    }

    /// When an exploit was last seen, in epoch seconds. Only `ListFindings` shows it.
    #[must_use]
    pub fn last_known_exploit_at(mut self, epoch_seconds: i64) -> Self {
        self.last_known_exploit_at = Some(epoch_seconds);
        self.exploit_available()
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

    pub(crate) fn epss_score(&self) -> Option<f64> {
        self.epss
    }

    pub(crate) fn exploit_seen_at(&self) -> Option<i64> {
        self.last_known_exploit_at
    }

    pub(crate) fn os_name(&self) -> &str {
        self.os.as_deref().unwrap_or("DEBIAN_12")
    }
}
