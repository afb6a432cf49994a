//! A finding of basic scanning.

use serde_json::{Value, json};

/// A finding of basic scanning: a CVE, a severity, and attributes as pairs of strings.
#[derive(Clone, Debug, PartialEq)]
pub struct BasicFinding(Value);

impl BasicFinding {
    /// A finding with a name (usually a CVE number) and a severity. The severity is one of ECR's (`CRITICAL` …
    /// `INFORMATIONAL`, `UNDEFINED`), or any other string to test a client with.
    pub fn new(name: &str, severity: &str) -> Self {
        let uri = format!("https://security-tracker.debian.org/tracker/{name}");
        Self(json!({"name": name, "uri": uri, "severity": severity, "attributes": []}))
    }

    /// A finding in ECR's wire form, unchanged.
    pub fn from_wire(body: Value) -> Self {
        Self(body)
    }

    /// Sets the package and its installed version.
    #[must_use]
    pub fn package(self, name: &str, version: &str) -> Self {
        self.attribute("package_version", version).attribute("package_name", name)
    }

    /// Sets the version with the fix, as `fixed_in_versions` (reported by AWS native basic scanning).
    #[must_use]
    pub fn fixed_version(self, version: &str) -> Self {
        self.attribute("fixed_in_versions", version)
    }

    /// Sets the CVSS 3 base score, which is a string on the wire.
    #[must_use]
    pub fn score(self, score: &str) -> Self {
        self.attribute("CVSS3_SCORE", score)
    }

    /// Sets the CVSS 3 vector.
    #[must_use]
    pub fn vector(self, vector: &str) -> Self {
        self.attribute("CVSS3_VECTOR", vector)
    }

    /// Adds any attribute.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        if let Some(Value::Array(attributes)) = self.0.get_mut("attributes") {
            attributes.push(json!({"key": key, "value": value}));
        }
        self
    }

    /// Sets the description.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        self.field("/description", text)
    }

    /// Sets any member by its JSON pointer.
    #[must_use]
    pub fn field(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        super::set_pointer(&mut self.0, pointer, value.into());
        self
    }

    /// The finding in wire form.
    pub fn body(&self) -> &Value {
        &self.0
    }
}
