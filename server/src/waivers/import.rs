//! Imports waivers from OpenVEX documents.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    name::WaiverId,
    policy::PolicySet,
    waiver::{Scope, Waiver},
};
use sha2::{Digest as _, Sha256};

use super::{
    Error, StoredWaiver, Waivers,
    openvex::{ParsedDocument, Statement},
};
use crate::{
    policies::{self, WriteOptions},
    policy_store::{self, Change, Resource, WriteResult},
};

/// The prefix of the ids of imported waivers.
const ID_PREFIX: &str = "vex-";
/// The longest ticket taken from a document, in characters.
const MAX_TEXT: usize = 256;

/// The reason why a statement without a sufficient scope becomes no waiver.
const MISSING_SCOPE: &str = "the statement names a package but no image, and scans do not report which distribution a package \
     belongs to; import it with template.scope.repository or template.scope.environment set to the place that it applies to, or \
     with template.scope.everywhere if it applies to every image";

/// A document to import.
#[derive(Clone, Debug)]
pub struct Import {
    /// The document.
    pub document: Arc<ParsedDocument>,
    /// The fields that all imported waivers share.
    pub template: Waiver,
}

/// A write of imported waivers.
#[derive(Clone, Debug)]
pub struct ImportWrite {
    /// The created waivers, in the order of their ids.
    pub waivers: Vec<StoredWaiver>,
    /// The parts of the document that created no waiver, and earlier waivers that it contradicts, one sentence each.
    pub skipped: Vec<String>,
    /// Notes on patterns that match nothing, and on the approval that the waivers need, one sentence each.
    pub notes: Vec<String>,
}

impl Waivers {
    /// Creates the waivers of a document that do not exist yet; existing ones are not changed.
    pub async fn import(&self, import: &Import, options: WriteOptions) -> Result<WriteResult, Error> {
        let set = self.policies.snapshot_at_least(None).await?;
        let waivers = to_waivers(&import.document, &import.template).into_iter();
        let missing = waivers.filter(|waiver| set.waivers.get(&waiver.id).is_none());
        let missing = missing.map(|waiver| Resource::Waiver(self.requested(waiver, &options.caller)));
        self.create_imported(missing.collect(), options, set.revision).await
    }

    /// Describes the result of an import, with the parts of the document that did not become waivers.
    pub async fn describe_import(&self, import: &Import, written: &WriteResult) -> Result<ImportWrite, Error> {
        let Import { document, template } = import;
        let set = self.policies.snapshot_at_least(None).await?;
        let now = Timestamp::now();
        let mut skipped = document.skipped.clone();
        let unscoped = document.statements.iter().filter(|statement| !has_scope(statement, template));
        skipped.extend(unscoped.map(|statement| format!("{}: {MISSING_SCOPE}", statement.vulnerability)));
        let created: BTreeSet<&WaiverId> = written.waivers().map(|revision| &revision.waiver.id).collect();
        skipped.extend(contradicted_waivers(document, &set, now).await?);
        for waiver in to_waivers(document, template).iter().filter(|waiver| !created.contains(&waiver.id)) {
            if let Some(existing) = set.waivers.get(&waiver.id) {
                let state = format!("{:?}", existing.waiver.state(now)).to_lowercase();
                let name = waiver.id.resource_name();
                skipped.push(format!(
                    "{name} already exists ({state}) and was not changed; use UpdateWaiver to change it"
                ));
            }
        }
        let mut waivers = Vec::with_capacity(written.resources.len());
        let mut notes = Vec::new();
        for revision in written.waivers() {
            let stored = self.with_match_state(Arc::clone(revision)).await?;
            let name = revision.waiver.id.resource_name();
            notes.extend(stored.notes().into_iter().map(|note| format!("{name}: {note}")));
            waivers.push(stored);
        }
        if written.waivers().any(|revision| revision.waiver.awaits_approval()) {
            notes.push(
                "the created waivers cover nothing until another caller approves each with ApproveWaiver".to_owned(),
            );
        }
        Ok(ImportWrite { waivers, skipped, notes })
    }

    /// Creates the waivers in one write; without any, the result is empty at the revision read.
    async fn create_imported(
        &self,
        resources: Vec<Resource>,
        options: WriteOptions,
        revision: u64,
    ) -> Result<WriteResult, Error> {
        let nothing = WriteResult { revision, resources: Vec::new(), replaced: None };
        let is_empty = resources.is_empty();
        if is_empty && options.request_key.is_none() {
            return Ok(nothing);
        }
        // A retry finds the waivers of the first attempt, so it has nothing to create. The store recognises its idempotency key and
        // returns the first result. It refuses a new request without waivers for its size.
        match self.policies.write(Change::Create(resources), options).await {
            Err(policies::Error::Store(policy_store::Error::BatchSize)) if is_empty => Ok(nothing),
            written => Ok(written?),
        }
    }
}

/// Reports the unexpired waivers of earlier versions of the document that it contradicts now, one sentence each.
async fn contradicted_waivers(
    document: &Arc<ParsedDocument>,
    set: &Arc<PolicySet>,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    let (document, set) = (Arc::clone(document), Arc::clone(set));
    // On a blocking thread: there may be a million waivers.
    let comparing = tokio::task::spawn_blocking(move || {
        let unexpired = set.waivers.after(None).map(|revision| &revision.waiver).filter(|waiver| now < waiver.end());
        let contradicted = unexpired.filter(|waiver| is_contradicted(&document, waiver));
        contradicted
            .map(|waiver| {
                let name = waiver.id.resource_name();
                format!(
                    "{name}, from an earlier import, is contradicted by this document but still in force; revoke it"
                )
            })
            .collect()
    });
    comparing.await.map_err(Error::TaskFailed)
}

/// Returns the waivers of a document: the template with the scope and reason of each statement. The same document and template
/// always give the same ids.
///
/// A package without an image becomes a waiver only if the template names a place, or says that there is none: findings do not distinguish Debian's
/// package (`pkg:deb/debian/curl`) from Alpine's.
fn to_waivers(document: &ParsedDocument, template: &Waiver) -> Vec<Waiver> {
    let waiver = |statement: &Statement| {
        let mut waiver = template.clone();
        waiver.scope.vulnerability = statement.vulnerability.clone();
        waiver.scope.package.clone_from(&statement.package);
        waiver.scope.digest.clone_from(&statement.digest);
        waiver.scope.everywhere &= statement.digest.is_none();
        waiver.id = import_id(&document.id, &waiver.scope)?;
        waiver.reason.clone_from(&statement.reason);
        if waiver.ticket.is_empty() {
            waiver.ticket = document.id.chars().take(MAX_TEXT).collect();
        }
        Some(waiver)
    };
    let statements = document.statements.iter().filter(|statement| has_scope(statement, template));
    let mut waivers: Vec<Waiver> = statements.filter_map(waiver).collect();
    waivers.sort_by(|a, b| a.id.cmp(&b.id));
    waivers.dedup_by(|a, b| a.id == b.id);
    waivers
}

/// True if the statement or the template names the images that the waiver applies to.
fn has_scope(statement: &Statement, template: &Waiver) -> bool {
    statement.digest.is_some() || template.scope.everywhere || template.scope.has_place()
}

/// True if the waiver was imported from an earlier version of the document and the document contradicts it now. A waiver whose scope
/// was changed since no longer belongs to the document.
fn is_contradicted(document: &ParsedDocument, waiver: &Waiver) -> bool {
    let Scope { vulnerability, package, digest, .. } = &waiver.scope;
    // The cheapest test first: there may be a million waivers.
    waiver.id.as_str().starts_with(ID_PREFIX)
        && import_id(&document.id, &waiver.scope).as_ref() == Some(&waiver.id)
        && document.contradicts(vulnerability.as_str(), package.as_ref(), digest.as_ref())
}

/// The id of an imported waiver: a hash of the document's id and the waiver's scope.
fn import_id(document: &str, scope: &Scope) -> Option<WaiverId> {
    let Scope { vulnerability, package, repository, digest, environment, platform, everywhere } = scope;
    let id_input = (document, vulnerability, package, digest, repository, environment, platform, everywhere);
    let hash = Sha256::digest(serde_json::to_vec(&id_input).ok()?);
    WaiverId::parse(&format!("{ID_PREFIX}{}", hex::encode(hash.get(..10)?))).ok()
}
