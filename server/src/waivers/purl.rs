//! Reads images and packages out of package URLs (purls), if a waiver can name them exactly.

use scangate_core::{glob::Glob, image::Digest};

/// The package types whose names scanners report as purls write them; types are lower case.
const PACKAGE_TYPES: [&str; 14] = [
    "alpm", "apk", "cargo", "composer", "conan", "deb", "gem", "golang", "hex", "maven", "npm", "nuget", "pypi", "rpm",
];

/// The digest of `name@sha256%3A…?…`, or its hash if the purl has no digest. A purl of one architecture or of a part of the image is
/// refused: the digest would cover all of it.
pub(super) fn image_digest(image: &str, hash: Option<Digest>) -> Option<Digest> {
    let (path, qualifiers) = image.split_once('?').unwrap_or((image, ""));
    if image.contains('#') || qualifiers.contains("arch=") {
        return None;
    }
    let Some((_, version)) = path.split_once('@') else { return hash };
    let digest = Digest::parse(&percent_decode(version)?).ok()?;
    hash.is_none_or(|hash| hash == digest).then_some(digest)
}

/// The package name of a purl as scanners report it: with the namespace for npm, Go and Composer, joined by a colon for Maven.
///
/// A waiver can name neither a version nor an architecture nor a distribution release, so that a purl with one is refused. The
/// distribution itself is dropped, since basic scans do not report it; the import then requires a repository.
pub(super) fn package_name(purl: &str) -> Option<Glob> {
    let path = purl.strip_prefix("pkg:")?;
    let (package_type, rest) = path.split_once('/')?;
    if !PACKAGE_TYPES.contains(&package_type) || rest.contains(['?', '#']) {
        return None;
    }
    let rest = percent_decode(rest)?;
    // A leading `@` belongs to an npm scope; any other begins a version.
    if rest.chars().skip(1).any(|c| c == '@') {
        return None;
    }
    let name = match (package_type, rest.rsplit_once('/')) {
        ("npm" | "golang" | "composer", _) | (_, None) => rest.clone(),
        ("maven", Some((group, name))) => format!("{group}:{name}"),
        (_, Some((_, name))) => name.to_owned(),
    };
    Glob::parse(&name).ok().filter(|glob| glob.exact().is_some())
}

/// Decodes percent-encoding; `None` if it is malformed.
fn percent_decode(text: &str) -> Option<String> {
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
