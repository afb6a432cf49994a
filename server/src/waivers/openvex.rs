//! Parses OpenVEX 0.2.0 documents into scopes of waivers.
//!
//! Documents are untrusted. Statements that a waiver cannot express exactly are skipped and reported. A waiver therefore never
//! covers more than its statement.

use std::collections::BTreeMap;

use scangate_core::{glob::Glob, image::Digest};
use serde::Deserialize;

use super::purl::{image_digest, package_name};

/// The largest document, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most statements of one document, and the most products of all its statements.
pub const MAX_STATEMENTS: usize = 1000;
/// The most names of one vulnerability: its name and ten aliases.
const MAX_NAMES: usize = 11;
/// The longest quotation of a name, in characters.
const MAX_NAME_QUOTED: usize = 100;
/// The longest reason, in characters.
const MAX_REASON: usize = 900;
/// The longest quotation of a parser error, in characters: it may contain untrusted text.
const MAX_QUOTED: usize = 200;

/// The reason why a contradicted statement becomes no waiver.
const CONTRADICTED: &str =
    "another statement of the document marks it affected or under investigation, under one of its names";

/// A reason why a document cannot be parsed. Texts follow the name of the field.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is too large.
    #[error("must be at most {MAX_BYTES} bytes long")]
    TooLarge,
    /// The document is not OpenVEX.
    #[error("must be an OpenVEX document: {0}")]
    Malformed(String),
    /// The version of the document is not supported.
    #[error("must have the @context https://openvex.dev/ns/v0.2.0, but has {0:?}")]
    Version(String),
    /// The document has too many statements or products.
    #[error("must have at most {MAX_STATEMENTS} statements, and at most {MAX_STATEMENTS} products in all of them")]
    TooMany,
    /// The document has too many names of vulnerabilities.
    #[error("must have at most 10 aliases per vulnerability, and at most 2,000 vulnerability names and aliases in all")]
    TooManyNames,
}

/// The content of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedDocument {
    /// The id of the document.
    pub id: String,
    /// The author of the document.
    author: String,
    /// The statements that justify a waiver.
    pub statements: Vec<Statement>,
    /// The statements that justify none, and the parts of statements that are not used, one sentence each.
    pub skipped: Vec<String>,
    /// The statements that contradict a waiver.
    contradictions: Vec<RawStatement>,
    /// The names of the vulnerabilities.
    names: VulnerabilityNames,
}

/// A statement that one vulnerability does not affect one product, or is fixed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The vulnerability.
    pub vulnerability: Glob,
    /// The package, if the product names one.
    pub package: Option<Glob>,
    /// The image, if the product is one.
    pub digest: Option<Digest>,
    /// The justification.
    pub reason: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@context")]
    context: String,
    #[serde(rename = "@id", default)]
    id: String,
    #[serde(default)]
    author: String,
    statements: Vec<RawStatement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct RawStatement {
    vulnerability: Vulnerability,
    #[serde(default)]
    products: Vec<Product>,
    status: String,
    #[serde(default)]
    justification: String,
    #[serde(rename = "impact_statement", default)]
    impact: String,
    #[serde(default)]
    status_notes: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Vulnerability {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Product {
    #[serde(flatten)]
    component: Component,
    #[serde(default)]
    subcomponents: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Component {
    #[serde(rename = "@id", default)]
    id: String,
    #[serde(default)]
    identifiers: BTreeMap<String, String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// The kind of a component that a scope can name.
#[derive(Clone)]
enum ComponentKind {
    Image(Digest),
    Package(Glob),
}

/// Parses a document.
pub fn parse(document: &[u8]) -> Result<ParsedDocument, Error> {
    if document.len() > MAX_BYTES {
        return Err(Error::TooLarge);
    }
    let document: Document = serde_json::from_slice(document)
        .map_err(|error| Error::Malformed(error.to_string().chars().take(MAX_QUOTED).collect()))?;
    document.check()?;
    let contradictions = document.statements.iter().filter(|statement| statement.refusal_reason().is_some());
    let mut parsed = ParsedDocument {
        contradictions: contradictions.cloned().collect(),
        names: document.statements.iter().map(|statement| &statement.vulnerability).collect(),
        id: document.id,
        author: document.author,
        ..ParsedDocument::default()
    };
    for (index, statement) in document.statements.iter().enumerate() {
        statement.parse_into(index + 1, &mut parsed);
    }
    Ok(parsed)
}

impl Document {
    /// Checks the version and the limits.
    fn check(&self) -> Result<(), Error> {
        if self.context != "https://openvex.dev/ns/v0.2.0" {
            return Err(Error::Version(self.context.chars().take(MAX_NAME_QUOTED).collect()));
        }
        let products = |statement: &RawStatement| -> usize {
            statement.products.iter().map(|product| product.subcomponents.len().max(1)).sum()
        };
        if self.statements.len() > MAX_STATEMENTS
            || self.statements.iter().map(products).sum::<usize>() > MAX_STATEMENTS
        {
            return Err(Error::TooMany);
        }
        // Each name is compared with every other, and once per product.
        let names = |statement: &RawStatement| statement.vulnerability.names().count();
        if self.statements.iter().any(|statement| names(statement) > MAX_NAMES)
            || self.statements.iter().map(names).sum::<usize>() > 2 * MAX_STATEMENTS
        {
            return Err(Error::TooManyNames);
        }
        Ok(())
    }
}

impl ParsedDocument {
    /// True if a statement whose status rules out a waiver may apply to this vulnerability and product.
    pub fn contradicts(&self, vulnerability: &str, package: Option<&Glob>, digest: Option<&Digest>) -> bool {
        let is_same = |statement: &RawStatement| self.names.may_be_same(&statement.vulnerability.name, vulnerability);
        let mut contradictions = self.contradictions.iter().filter(|statement| is_same(statement));
        contradictions.any(|statement| statement.may_apply_to(package, digest))
    }
}

impl RawStatement {
    /// Adds the statement to the document: what can be waived, and the reasons why the rest cannot.
    fn parse_into(&self, number: usize, parsed: &mut ParsedDocument) {
        let mut skipped = Vec::new();
        match self.waivable_vulnerability() {
            Ok(vulnerability) => {
                for product in &self.products {
                    for (package, digest) in product.products_to_waive(&mut |why| skipped.push(why.to_owned())) {
                        // The order of statements does not matter: a contradiction always prevails.
                        if parsed.contradicts(&self.vulnerability.name, package.as_ref(), digest.as_ref()) {
                            skipped.push(CONTRADICTED.to_owned());
                            continue;
                        }
                        let (vulnerability, reason) = (vulnerability.clone(), self.reason(&parsed.author));
                        parsed.statements.push(Statement { vulnerability, package, digest, reason });
                    }
                }
            }
            Err(why) => skipped.push(why.to_owned()),
        }
        if self.refusal_reason().is_none() && !self.vulnerability.aliases.is_empty() {
            skipped.push(self.vulnerability.unused_aliases());
        }
        let name: String = self.vulnerability.name.chars().take(MAX_NAME_QUOTED).collect();
        parsed.skipped.extend(skipped.into_iter().map(|why| format!("statement {number}, {name}: {why}")));
    }

    /// Returns the vulnerability if the statement may justify a waiver, else the reason why not.
    fn waivable_vulnerability(&self) -> Result<Glob, &'static str> {
        if let Some(why) = self.refusal_reason() {
            return Err(why);
        }
        if self.status == "not_affected" && self.justification.is_empty() && self.impact.is_empty() {
            return Err("status not_affected needs a justification or an impact_statement");
        }
        // A name with an asterisk would be a pattern.
        let vulnerability = Glob::parse(&self.vulnerability.name).ok().filter(|glob| glob.exact().is_some());
        let vulnerability = vulnerability.ok_or("its vulnerability name is not valid in a waiver")?;
        if self.products.is_empty() {
            return Err("it names no product and would apply to every image");
        }
        Ok(vulnerability)
    }

    /// Returns the reason to refuse a waiver for this status, or `None` if a waiver is possible.
    fn refusal_reason(&self) -> Option<&'static str> {
        match self.status.as_str() {
            "not_affected" | "fixed" => None,
            "affected" => Some("status affected does not justify a waiver"),
            "under_investigation" => Some("status under_investigation does not justify a waiver yet"),
            _ => Some("its status is unknown"),
        }
    }

    /// True if the statement may apply to this product. A missing digest or package matches any.
    fn may_apply_to(&self, package: Option<&Glob>, digest: Option<&Digest>) -> bool {
        let may_apply = |product: &Product| {
            let mut is_incomplete = false;
            let products = product.products_to_waive(&mut |_| is_incomplete = true);
            let overlaps = |(other, image): &(Option<Glob>, Option<Digest>)| {
                (other
                    .as_ref()
                    .zip(package)
                    .is_none_or(|(other, package)| may_be_same_name(other.as_str(), package.as_str())))
                    && (image.is_none() || digest.is_none() || image.as_ref() == digest)
            };
            is_incomplete || products.iter().any(overlaps)
        };
        self.products.is_empty() || self.products.iter().any(may_apply)
    }

    /// Returns the reason of its waivers, with the author of the document.
    fn reason(&self, author: &str) -> String {
        let texts = [&self.justification, &self.impact, &self.status_notes];
        let texts: Vec<&str> = texts.into_iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        let reason =
            if texts.is_empty() { self.status.clone() } else { format!("{}: {}", self.status, texts.join("; ")) };
        let author: String = author.trim().chars().take(MAX_NAME_QUOTED).collect();
        let source = if author.is_empty() { author } else { format!("; stated by {author}") };
        let length = MAX_REASON.saturating_sub(source.chars().count());
        reason.chars().take(length).collect::<String>() + &source
    }
}

impl Vulnerability {
    fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.aliases)
    }

    /// Describes the aliases, which cover nothing by themselves: a waiver is for one id.
    fn unused_aliases(&self) -> String {
        let aliases: Vec<String> =
            self.aliases.iter().map(|alias| alias.chars().take(MAX_NAME_QUOTED).collect()).collect();
        format!(
            "its aliases are not used ({}): a waiver covers findings with the statement's own name, and those of which it is every \
             related CVE",
            aliases.join(", ")
        )
    }
}

/// The names of the vulnerabilities of a document. Names that statements share join their vulnerabilities, at any distance: if A is
/// an alias of B, and B of C, all three are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct VulnerabilityNames {
    /// For each name, in lower case, the number of its vulnerability.
    numbers: BTreeMap<String, usize>,
}

impl<'a> FromIterator<&'a Vulnerability> for VulnerabilityNames {
    fn from_iter<T: IntoIterator<Item = &'a Vulnerability>>(vulnerabilities: T) -> Self {
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        // At most 2,000 names, so joining two vulnerabilities may visit all of them.
        for (number, vulnerability) in vulnerabilities.into_iter().enumerate() {
            let names: Vec<String> = vulnerability.names().map(|name| normal_form(name)).collect();
            let joined: Vec<usize> = names.iter().filter_map(|name| numbers.get(name).copied()).collect();
            numbers.values_mut().filter(|other| joined.contains(other)).for_each(|other| *other = number);
            numbers.extend(names.into_iter().map(|name| (name, number)));
        }
        Self { numbers }
    }
}

impl VulnerabilityNames {
    /// True if two names may name one vulnerability.
    fn may_be_same(&self, one: &str, other: &str) -> bool {
        let (one, other) = (normal_form(one), normal_form(other));
        one == other || self.numbers.get(&one).is_some_and(|number| self.numbers.get(&other) == Some(number))
    }
}

/// The form in which names of vulnerabilities compare.
fn normal_form(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', '.'], "-")
}

/// True if two names may be equal: package indexes ignore case and treat `_`, `.` and `-` alike.
fn may_be_same_name(one: &str, other: &str) -> bool {
    let fold = |c: char| if matches!(c, '_' | '.') { '-' } else { c };
    let one = one.chars().flat_map(char::to_lowercase).map(fold);
    one.eq(other.chars().flat_map(char::to_lowercase).map(fold))
}

impl Product {
    /// Returns its packages and images: one package, one image, or packages within an image.
    fn products_to_waive(&self, skip: &mut impl FnMut(&'static str)) -> Vec<(Option<Glob>, Option<Digest>)> {
        let Some(kind) = self.component.kind() else {
            skip("a product is neither an image with a digest nor a package with a purl that a waiver can name");
            return Vec::new();
        };
        let digest = match kind {
            ComponentKind::Package(package) if self.subcomponents.is_empty() => return vec![(Some(package), None)],
            ComponentKind::Package(_) => {
                skip("a product is a package with subcomponents, which scans do not distinguish");
                return Vec::new();
            }
            ComponentKind::Image(digest) => digest,
        };
        if self.subcomponents.is_empty() {
            return vec![(None, Some(digest))];
        }
        let mut products = Vec::new();
        for component in &self.subcomponents {
            match component.kind() {
                Some(ComponentKind::Package(package)) => products.push((Some(package), Some(digest.clone()))),
                Some(ComponentKind::Image(_)) | None => {
                    skip("a subcomponent is not a package with a purl that a waiver can name");
                }
            }
        }
        products
    }
}

impl Component {
    fn kind(&self) -> Option<ComponentKind> {
        let purl = self.identifiers.get("purl").unwrap_or(&self.id);
        if self.id.starts_with("pkg:") && self.id != *purl {
            return None;
        }
        let hash = self.hashes.get("sha-256").and_then(|hash| Digest::parse(&format!("sha256:{hash}")).ok());
        match purl.strip_prefix("pkg:oci/") {
            Some(image) => image_digest(image, hash).map(ComponentKind::Image),
            // A hash identifies one file and a versioned CPE one version. Waivers can express neither.
            None if purl.starts_with("pkg:") && (!self.hashes.is_empty() || self.names_a_version()) => None,
            None if purl.starts_with("pkg:") => package_name(purl).map(ComponentKind::Package),
            None => hash.map(ComponentKind::Image),
        }
    }

    /// True if a CPE limits the component to a version, or if an identifier is of an unknown kind.
    fn names_a_version(&self) -> bool {
        self.identifiers.iter().any(|(kind, identifier)| match kind.as_str() {
            "purl" => false,
            "cpe23" => identifier.split(':').skip(5).any(|part| part != "*" && part != "-"),
            _ => true,
        })
    }
}
