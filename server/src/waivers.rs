//! Waivers as their owners handle them: made, changed, ended, read out of OpenVEX documents.

use jiff::Timestamp;
use rand::RngExt as _;
use scangate_core::{
    name::WaiverId,
    waiver::{Revocation, Waiver},
};
use sha2::{Digest as _, Sha256};

use crate::openvex::{Exception, Reading};

/// An id that no waiver has: fifty bits of chance.
pub fn random_id() -> Option<WaiverId> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = rand::rng();
    let letter = |_| LETTERS.get(random.random_range(0..LETTERS.len())).map_or('0', |letter| char::from(*letter));
    WaiverId::parse(&format!("w-{}", (0..10).map(letter).collect::<String>())).ok()
}

/// The waiver ended at an instant.
pub fn revoked(waiver: &Waiver, at: Timestamp, reason: &str) -> Waiver {
    Waiver { revocation: Some(Revocation { at, reason: reason.to_owned() }), ..waiver.clone() }
}

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
        waiver.id = import_id(reading, exception, common)?;
        waiver.scope.vulnerability = exception.vulnerability.clone();
        waiver.scope.package.clone_from(&exception.package);
        waiver.scope.digest.clone_from(&exception.digest);
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

/// The waivers that an earlier version of the document may have made, of what it has doubts about now.
pub fn doubted(reading: &Reading, common: &Waiver) -> Vec<WaiverId> {
    reading.doubts.iter().filter_map(|doubt| import_id(reading, doubt, common)).collect()
}

fn import_id(reading: &Reading, exception: &Exception, common: &Waiver) -> Option<WaiverId> {
    let Exception { vulnerability, package, digest, reason: _ } = exception;
    let meaning = (
        &reading.id,
        vulnerability,
        package,
        digest,
        &common.scope.repository,
        &common.scope.environment,
        &common.scope.platform,
    );
    let hash = Sha256::digest(serde_json::to_vec(&meaning).ok()?);
    let id = hash.iter().take(10).fold("vex-".to_owned(), |id, byte| id + &format!("{byte:02x}"));
    WaiverId::parse(&id).ok()
}
