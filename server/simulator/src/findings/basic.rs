//! A finding of basic scanning.

use serde_json::{Value, json};

/// A finding as basic scanning reports it: a CVE, a severity, and attributes as pairs of strings.
#[derive(Clone, Debug, PartialEq)]
pub struct BasicFinding(Value);

impl BasicFinding {
    /// A finding with a name (usually a CVE number) and a severity. The severity is ECR's word (`CRITICAL` …
    /// `INFORMATIONAL`, `UNDEFINED`) or any other string, to see what a client makes of it.
    pub fn new(name: &str, severity: &str) -> Self {
        let uri = format!("https://security-tracker.debian.org/tracker/{name}");
        Self(json!({"name": name, "uri": uri, "severity": severity, "attributes": []}))
    }

    /// Takes a finding in ECR's wire form as it is.
    pub fn from_wire(body: Value) -> Self {
        Self(body)
    }

    /// The package and its installed version.
    #[must_use]
    pub fn package(self, name: &str, version: &str) -> Self {
        self.attribute("package_version", version).attribute("package_name", name)
    }

    /// The version that has the fix (native basic scanning reports it, as `fixed_in_versions`).
    #[must_use]
    pub fn fixed_in(self, version: &str) -> Self {
        self.attribute("fixed_in_versions", version)
    }

    /// The CVSS 3 base score, a string on the wire.
    #[must_use]
    pub fn score(self, score: &str) -> Self {
        self.attribute("CVSS3_SCORE", score)
    }

    /// The CVSS 3 vector.
    #[must_use]
    pub fn vector(self, vector: &str) -> Self {
        self.attribute("CVSS3_VECTOR", vector)
    }

    /// Any attribute.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        if let Some(Value::Array(attributes)) = self.0.get_mut("attributes") {
            attributes.push(json!({"key": key, "value": value}));
        }
        self
    }

    /// The description.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        self.field("/description", text)
    }

    /// Sets any member by its JSON pointer.
    #[must_use]
    pub fn field(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        super::set(&mut self.0, pointer, value.into());
        self
    }

    /// The finding in wire form.
    pub fn body(&self) -> &Value {
        &self.0
    }
}
