//! OpenVEX 0.2.0: what a document says of vulnerabilities and products, as scopes of waivers.
//!
//! The document is somebody else's. What cannot be expressed exactly is skipped and said so: a statement never becomes a waiver that
//! covers more than it speaks of.

use std::collections::BTreeMap;

use scangate_core::{glob::Glob, image::Digest};
use serde::Deserialize;

/// The largest document, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most statements of one document, and the most waivers that come of it.
pub const MAX_STATEMENTS: usize = 1000;
/// The most names of one vulnerability.
const MAX_NAMES: usize = 11;
/// The longest text that is taken over into a reason.
const MAX_REASON: usize = 900;
/// The longest text of an error that is told.
const MAX_QUOTED: usize = 200;
/// Kinds of packages whose names scanners write as their purls do. Types are written in lower case.
const PACKAGES: [&str; 14] = [
    "alpm", "apk", "cargo", "composer", "conan", "deb", "gem", "golang", "hex", "maven", "npm", "nuget", "pypi", "rpm",
];

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is too large.
    #[error("must be at most {MAX_BYTES} bytes long")]
    TooLarge,
    /// It is no OpenVEX.
    #[error("is no OpenVEX document: {0}")]
    Malformed(String),
    /// It is of a version that is not known.
    #[error("must have a @context of https://openvex.dev/ns/v0.2.0, and has {0:?}")]
    Version(String),
    /// It says too much.
    #[error("must have at most {MAX_STATEMENTS} statements, and have them be about at most as many products")]
    TooMany,
    /// It has too many names for what it speaks of.
    #[error("must give a vulnerability at most 10 aliases, and have at most 2,000 names of vulnerabilities in all")]
    TooManyNames,
}

/// What a document has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The document's id.
    pub id: String,
    /// Its author.
    pub author: String,
    /// What can be waived.
    pub exceptions: Vec<Exception>,
    /// What cannot be waived, one sentence each.
    pub skipped: Vec<String>,
    /// What it says that speaks against waiving.
    doubts: Vec<Statement>,
}

/// One vulnerability in one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The vulnerability.
    pub vulnerability: Glob,
    /// The package, where the product names one.
    pub package: Option<Glob>,
    /// The image, where the product is one.
    pub digest: Option<Digest>,
    /// Why it does not count.
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
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Statement {
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

/// What a component is, as far as a waiver can say it.
#[derive(Clone)]
enum Subject {
    Image(Digest),
    Package(Glob),
}

/// Reads a document.
pub fn read(document: &[u8]) -> Result<Reading, Error> {
    if document.len() > MAX_BYTES {
        return Err(Error::TooLarge);
    }
    // What is wrong may quote the document, which is somebody else's.
    let document: Document = serde_json::from_slice(document)
        .map_err(|error| Error::Malformed(error.to_string().chars().take(MAX_QUOTED).collect()))?;
    if document.context != "https://openvex.dev/ns/v0.2.0" {
        return Err(Error::Version(document.context.chars().take(100).collect()));
    }
    if document.statements.len() > MAX_STATEMENTS {
        return Err(Error::TooMany);
    }
    let mut reading = Reading { id: document.id, author: document.author, ..Reading::default() };
    let products = |statement: &Statement| -> usize {
        statement.products.iter().map(|product| product.subcomponents.len().max(1)).sum()
    };
    if document.statements.iter().map(products).sum::<usize>() > MAX_STATEMENTS {
        return Err(Error::TooMany);
    }
    // Every name is compared with every other, and stands for every product.
    let names = |statement: &Statement| statement.vulnerability.names().count();
    if document.statements.iter().any(|statement| names(statement) > MAX_NAMES)
        || document.statements.iter().map(names).sum::<usize>() > 2 * MAX_STATEMENTS
    {
        return Err(Error::TooManyNames);
    }
    reading.doubts = document.statements.iter().filter(|statement| statement.doubt().is_some()).cloned().collect();
    for (index, statement) in document.statements.iter().enumerate() {
        statement.read(index + 1, &mut reading);
    }
    Ok(reading)
}

impl Reading {
    /// Whether the document says, of this or of what it may be, that it is affected or not known to be not.
    pub fn doubts(&self, vulnerability: &str, package: Option<&Glob>, digest: Option<&Digest>) -> bool {
        let vulnerability = Vulnerability { name: vulnerability.to_owned(), aliases: Vec::new() };
        self.doubts.iter().any(|doubt| doubt.is_about(&vulnerability, package, digest))
    }
}

impl Statement {
    fn read(&self, number: usize, reading: &mut Reading) {
        let name = &self.vulnerability.name;
        let mut skip = |why: &str| {
            let name: String = name.chars().take(100).collect();
            reading.skipped.push(format!("statement {number}, {name}: {why}"));
        };
        if let Some(doubt) = self.doubt() {
            return skip(doubt);
        }
        if self.status == "not_affected" && self.justification.is_empty() && self.impact.is_empty() {
            return skip("not_affected needs a justification or an impact_statement, and has neither");
        }
        // An asterisk would be a pattern.
        let Some(vulnerability) = Glob::parse(name).ok().filter(|glob| glob.exact().is_some()) else {
            return skip("its vulnerability has no name that can be waived");
        };
        if self.products.is_empty() {
            return skip("it names no product, and would cover every image there is");
        }
        for product in &self.products {
            for (package, digest) in product.subjects(&mut skip) {
                // Whichever was said later: somebody has doubts.
                let is_doubted = |doubt: &Self| doubt.is_about(&self.vulnerability, package.as_ref(), digest.as_ref());
                if reading.doubts.iter().any(is_doubted) {
                    skip("another statement of the document says that it is affected, or still looked into");
                    continue;
                }
                reading.exceptions.push(Exception {
                    vulnerability: vulnerability.clone(),
                    package,
                    digest,
                    reason: self.reason(),
                });
            }
        }
    }

    /// Why it is no reason to waive anything; `None`: it may be one.
    fn doubt(&self) -> Option<&'static str> {
        match self.status.as_str() {
            "not_affected" | "fixed" => None,
            "affected" => Some("it is affected: that is no reason to waive it"),
            "under_investigation" => Some("it is under investigation: that is no reason to waive it yet"),
            _ => Some("its status is none that is known"),
        }
    }

    /// Whether it speaks of this, or of what this may be.
    fn is_about(&self, vulnerability: &Vulnerability, package: Option<&Glob>, digest: Option<&Digest>) -> bool {
        if !self.vulnerability.is_like(vulnerability) {
            return false;
        }
        let is_about = |product: &Product| {
            let mut unreadable = false;
            let subjects = product.subjects(&mut |_| unreadable = true);
            // What names no digest, or no package, may be about this one.
            let overlaps = |(other, image): &(Option<Glob>, Option<Digest>)| {
                (other.as_ref().zip(package).is_none_or(|(other, package)| are_alike(other.as_str(), package.as_str())))
                    && (image.is_none() || digest.is_none() || image.as_ref() == digest)
            };
            unreadable || subjects.iter().any(overlaps)
        };
        self.products.is_empty() || self.products.iter().any(is_about)
    }

    fn reason(&self) -> String {
        let said = [&self.justification, &self.impact, &self.status_notes];
        let said: Vec<&str> = said.into_iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        let reason =
            if said.is_empty() { self.status.clone() } else { format!("{}: {}", self.status, said.join("; ")) };
        reason.chars().take(MAX_REASON).collect()
    }
}

impl Vulnerability {
    fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.aliases)
    }

    /// Whether any name of the one may mean the other.
    fn is_like(&self, other: &Self) -> bool {
        self.names().any(|name| other.names().any(|other| are_alike(name, other)))
    }
}

/// Whether two names may be the same one: package indexes read some letters alike.
fn are_alike(one: &str, other: &str) -> bool {
    let folded = |c: char| if matches!(c, '_' | '.') { '-' } else { c };
    let one = one.chars().flat_map(char::to_lowercase).map(folded);
    one.eq(other.chars().flat_map(char::to_lowercase).map(folded))
}

impl Product {
    /// What it is about: a package, an image, or packages within an image.
    fn subjects(&self, skip: &mut impl FnMut(&str)) -> Vec<(Option<Glob>, Option<Digest>)> {
        let Some(subject) = self.component.subject() else {
            skip("a product is neither an image by digest nor a package by purl");
            return Vec::new();
        };
        let digest = match subject {
            Subject::Package(package) if self.subcomponents.is_empty() => return vec![(Some(package), None)],
            Subject::Package(_) => {
                skip("a product is a package with subcomponents, which no scan tells apart");
                return Vec::new();
            }
            Subject::Image(digest) => digest,
        };
        if self.subcomponents.is_empty() {
            return vec![(None, Some(digest))];
        }
        let mut subjects = Vec::new();
        for component in &self.subcomponents {
            match component.subject() {
                Some(Subject::Package(package)) => subjects.push((Some(package), Some(digest.clone()))),
                Some(Subject::Image(_)) | None => skip("a subcomponent is no package by purl"),
            }
        }
        subjects
    }
}

impl Component {
    fn subject(&self) -> Option<Subject> {
        let purl = self.identifiers.get("purl").unwrap_or(&self.id);
        if self.id.starts_with("pkg:") && self.id != *purl {
            return None;
        }
        let hash = self.hashes.get("sha-256").and_then(|hash| Digest::parse(&format!("sha256:{hash}")).ok());
        match purl.strip_prefix("pkg:oci/") {
            Some(image) => image_digest(image, hash).map(Subject::Image),
            // A hash means one file of the package, a CPE with a version one version.
            None if purl.starts_with("pkg:") && (!self.hashes.is_empty() || self.names_a_version()) => None,
            None if purl.starts_with("pkg:") => package_name(purl).map(Subject::Package),
            None => hash.map(Subject::Image),
        }
    }

    /// Whether a CPE beside the purl narrows it, or what stands there is not known.
    fn names_a_version(&self) -> bool {
        self.identifiers.iter().any(|(kind, identifier)| match kind.as_str() {
            "purl" => false,
            "cpe23" => identifier.split(':').skip(5).any(|part| part != "*" && part != "-"),
            _ => true,
        })
    }
}

/// The digest of `name@sha256%3A…?…`, or that of its hash where it has none. One that speaks of one architecture of it, or of a part,
/// is refused: the digest covers all.
fn image_digest(image: &str, hash: Option<Digest>) -> Option<Digest> {
    let (path, qualifiers) = image.split_once('?').unwrap_or((image, ""));
    if image.contains('#') || qualifiers.contains("arch=") {
        return None;
    }
    let Some((_, version)) = path.split_once('@') else { return hash };
    let digest = Digest::parse(&decoded(version)?).ok()?;
    hash.is_none_or(|hash| hash == digest).then_some(digest)
}

/// The name of `pkg:type/namespace/name@version?…`, as scanners write it: npm and Go keep the namespace, Maven joins it by a colon.
/// A version, an architecture or a release of a distribution is nothing that a waiver could name, so that a package narrowed by one
/// is refused. Whose package it is, Debian's or Alpine's, no basic scan says: see [`crate::waivers::imported`].
fn package_name(purl: &str) -> Option<Glob> {
    let path = purl.strip_prefix("pkg:")?;
    let (kind, rest) = path.split_once('/')?;
    if !PACKAGES.contains(&kind) || rest.contains(['?', '#']) {
        return None;
    }
    let rest = decoded(rest)?;
    // The first may be that of a scope, any other begins a version.
    if rest.chars().skip(1).any(|c| c == '@') {
        return None;
    }
    let name = match (kind, rest.rsplit_once('/')) {
        ("npm" | "golang" | "composer", _) | (_, None) => rest.clone(),
        ("maven", Some((group, name))) => format!("{group}:{name}"),
        (_, Some((_, name))) => name.to_owned(),
    };
    Glob::parse(&name).ok().filter(|glob| glob.exact().is_some())
}

/// Percent-encoding undone; `None` where it is none.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        decoded.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? << 4 | digit(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}
