//! Waivers as their owners handle them: made, changed, ended, read out of OpenVEX documents.

pub mod openvex;

use jiff::Timestamp;
use scangate_core::{
    name::WaiverId,
    waiver::{Revocation, Scope, Waiver},
};
use sha2::{Digest as _, Sha256};

use self::openvex::{Exception, Reading};
use crate::id;

/// An id that no waiver has.
pub fn random_id() -> Option<WaiverId> {
    WaiverId::parse(&format!("w-{}", id::random_id())).ok()
}

/// The waiver ended at an instant.
pub fn revoked(waiver: &Waiver, at: Timestamp, reason: &str) -> Waiver {
    Waiver { revocation: Some(Revocation { at, reason: reason.to_owned() }), ..waiver.clone() }
}

/// How the ids of imported waivers begin.
const IMPORTED: &str = "vex-";

/// Why an exception makes no waiver.
pub const NOWHERE: &str = "it names a package without an image, and whose package that is no scan says: \
     import it with template.scope.repository, for the repositories that it is about";

/// A document's waivers: what they have in common, and what each of them says. The same document gives the same ids.
///
/// A package without an image becomes one only where the template says in which repositories it is that package: `pkg:deb/debian/curl`
/// speaks of Debian's, and findings tell Debian's from Alpine's by nothing.
pub fn imported(reading: &Reading, common: &Waiver) -> Vec<Waiver> {
    let waiver = |exception: &Exception| {
        let mut waiver = common.clone();
        waiver.scope.vulnerability = exception.vulnerability.clone();
        waiver.scope.package.clone_from(&exception.package);
        waiver.scope.digest.clone_from(&exception.digest);
        waiver.id = import_id(&reading.id, &waiver.scope)?;
        waiver.reason.clone_from(&exception.reason);
        if waiver.author.is_empty() {
            waiver.author = reading.author.chars().take(256).collect();
        }
        if waiver.ticket.is_empty() {
            waiver.ticket = reading.id.chars().take(256).collect();
        }
        Some(waiver)
    };
    let exceptions = reading.exceptions.iter().filter(|exception| has_a_place(exception, common));
    let mut waivers: Vec<Waiver> = exceptions.filter_map(waiver).collect();
    waivers.sort_by(|a, b| a.id.cmp(&b.id));
    waivers.dedup_by(|a, b| a.id == b.id);
    waivers
}

/// Whether it is known of which images an exception speaks.
pub fn has_a_place(exception: &Exception, common: &Waiver) -> bool {
    exception.digest.is_some() || common.scope.repository.as_ref().is_some_and(|glob| !glob.matches_everything())
}

/// Whether this is a waiver of an earlier version of the document, which has doubts about it now. One that was given another scope
/// since is its owner's, and not the document's.
pub fn is_doubted(reading: &Reading, waiver: &Waiver) -> bool {
    let Scope { vulnerability, package, digest, .. } = &waiver.scope;
    // The cheapest first: there may be a million waivers.
    waiver.id.as_str().starts_with(IMPORTED)
        && import_id(&reading.id, &waiver.scope).as_ref() == Some(&waiver.id)
        && reading.doubts(vulnerability.as_str(), package.as_ref(), digest.as_ref())
}

fn import_id(document: &str, scope: &Scope) -> Option<WaiverId> {
    let Scope { vulnerability, package, repository, digest, environment, platform } = scope;
    let meaning = (document, vulnerability, package, digest, repository, environment, platform);
    let hash = Sha256::digest(serde_json::to_vec(&meaning).ok()?);
    let id = hash.iter().take(10).fold(IMPORTED.to_owned(), |id, byte| id + &format!("{byte:02x}"));
    WaiverId::parse(&id).ok()
}
