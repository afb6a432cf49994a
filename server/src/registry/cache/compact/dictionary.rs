//! Converts findings to interned ids and back. Each use of a value is counted.

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{
    finding::{Exploit, Finding, Fix, Kev, Package, Score, Status},
    severity::{Rating, Severity},
};

use super::{
    encoding::{Arn, EncodedFinding},
    interner::Interner,
};

/// The hexadecimal digits that Inspector ends a finding's ARN with.
const ARN_DIGITS: usize = 32;

/// The interned values of findings.
#[derive(Default)]
pub(super) struct Dictionary {
    texts: Interner<str>,
    fixed_fields: Interner<FixedFields>,
}

/// The fields of a finding without texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FixedFields {
    /// `None`: the finding is unrated, and a text has the label.
    severity: Option<Severity>,
    fix: Fix,
    cvss: Option<Score>,
    epss: Option<Score>,
    exploit: Exploit,
    kev: Option<Kev>,
    status: Status,
    published_at: Option<Timestamp>,
}

impl FixedFields {
    fn from_finding(finding: &Finding) -> Self {
        let severity = match &finding.severity {
            Rating::Rated(severity) => Some(*severity),
            Rating::Unrated(_) => None,
        };
        let Finding { fix, cvss, epss, exploit, status, published_at, .. } = *finding;
        let kev = finding.kev.as_deref().copied();
        Self { severity, fix, cvss, epss, exploit, kev, status, published_at }
    }
}

impl Dictionary {
    /// Interns a finding's values; `None` if no ids are left.
    pub(super) fn encode<'a>(
        &mut self,
        finding: &'a Finding,
        last_arn: Option<&Arc<str>>,
    ) -> Option<EncodedFinding<'a>> {
        let (id, package) = (&*finding.id, &finding.package);
        let label = match &finding.severity {
            Rating::Rated(_) => None,
            Rating::Unrated(label) => Some(&**label),
        };
        let (uri, title) = (finding.uri.as_deref(), finding.title.as_deref());
        let uri_start = uri.and_then(|uri| uri.strip_suffix(id));
        let title_end = title.and_then(|title| title.strip_prefix(id));
        let related_ids = encode_list(&finding.related_ids);
        let optional = [
            finding.description.as_deref(),
            uri_start.or(uri),
            package.fixed_in.as_deref(),
            package.manager.as_deref(),
            package.path.as_deref(),
            title_end.or(title),
            label,
            related_ids.as_deref(),
            package.source_layer.as_deref(),
        ];
        let mut encoded = EncodedFinding {
            fixed_fields: self.fixed_fields.intern(&FixedFields::from_finding(finding), |fields| Arc::new(*fields))?,
            uri_ends_with_id: uri_start.is_some(),
            title_begins_with_id: title_end.is_some(),
            first_observed_at: finding.first_observed_at,
            ..EncodedFinding::default()
        };
        for (id, text) in encoded.required.iter_mut().zip([id, &*package.name, &*package.version]) {
            *id = self.intern_text(text)?;
        }
        for (id, text) in encoded.optional.iter_mut().zip(optional) {
            if let Some(text) = text {
                *id = Some(self.intern_text(text)?);
            }
        }
        encoded.arn = match &finding.arn {
            None => None,
            Some(arn) if Some(arn) == last_arn => Some(Arn::Same),
            Some(arn) => Some(self.encode_arn(arn)?),
        };
        Some(encoded)
    }

    fn encode_arn<'a>(&mut self, arn: &'a str) -> Option<Arn<'a>> {
        let name = arn.rfind('/').map_or(0, |slash| slash + 1);
        let (prefix, name) = arn.split_at_checked(name)?;
        let prefix = self.intern_text(prefix)?;
        let is_digits = name.len() == ARN_DIGITS && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let digits = u128::from_str_radix(name, 16).ok().filter(|_| is_digits);
        Some(digits.map_or(Arn::Text(prefix, name), |digits| Arn::Digits(prefix, digits)))
    }

    fn intern_text(&mut self, text: &str) -> Option<u32> {
        self.texts.intern(text, |text| Arc::from(text))
    }

    /// Restores the finding of these ids; `None` if an id is unknown.
    pub(super) fn decode(&self, encoded: &EncodedFinding<'_>, last: Option<&Finding>) -> Option<Finding> {
        // A lost text must not look like an absent one.
        if encoded.texts().any(|id| self.texts.get(id).is_none()) {
            return None;
        }
        let text = |id: u32| self.texts.get(id).map(Arc::clone);
        let fields = self.fixed_fields.get(encoded.fixed_fields)?;
        let [id, name, version] = encoded.required.map(text);
        let optional = encoded.optional.map(|id| id.and_then(text));
        let [description, uri, fixed_in, manager, path, title, label, related_ids, source_layer] = optional;
        let id = id?;
        let severity = match (fields.severity, label) {
            (Some(severity), _) => Rating::Rated(severity),
            (None, label) => Rating::Unrated(label?),
        };
        Some(Finding {
            package: Package { name: name?, version: version?, manager, path, fixed_in, source_layer },
            related_ids: decode_list(related_ids.as_deref())?,
            severity,
            fix: fields.fix,
            cvss: fields.cvss,
            epss: fields.epss,
            exploit: fields.exploit,
            kev: fields.kev.map(Box::new),
            status: fields.status,
            title: if encoded.title_begins_with_id { Some(concat(&[&id, &title?])) } else { title },
            description,
            uri: if encoded.uri_ends_with_id { Some(concat(&[&uri?, &id])) } else { uri },
            first_observed_at: encoded.first_observed_at,
            published_at: fields.published_at,
            arn: match encoded.arn {
                None => None,
                Some(Arn::Same) => Some(last?.arn.clone()?),
                Some(Arn::Digits(prefix, digits)) => {
                    Some(concat(&[&text(prefix)?, &format!("{digits:0ARN_DIGITS$x}")]))
                }
                Some(Arn::Text(prefix, name)) => Some(concat(&[&text(prefix)?, name])),
            },
            id,
        })
    }

    /// Releases one use of a finding's values.
    pub(super) fn release(&mut self, encoded: &EncodedFinding<'_>) {
        self.fixed_fields.release(encoded.fixed_fields);
        encoded.texts().for_each(|text| self.texts.release(text));
    }

    /// Returns the memory of all values, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.texts.bytes() + self.fixed_fields.bytes()
    }
}

/// Encodes a list as one text, so that scans share it; `None` if it is empty.
fn encode_list(list: &[Arc<str>]) -> Option<String> {
    if list.is_empty() { None } else { serde_json::to_string(list).ok() }
}

/// Decodes a list; `None` if the text is none.
fn decode_list(text: Option<&str>) -> Option<Vec<Arc<str>>> {
    text.map_or_else(|| Some(Vec::new()), |text| serde_json::from_str(text).ok())
}

fn concat(parts: &[&str]) -> Arc<str> {
    parts.concat().into()
}
