//! Approves waivers: by another caller than those who wrote the version that is approved.

use jiff::Timestamp;
use scangate_core::waiver::{Approval, Revision, State};

use super::{CurrentWaiver, Error, WaiverWrite, Waivers};
use crate::{
    policies::{self, WriteOptions},
    policy_store::{self, Change, Resource, ResourceName, WriteResult},
};

/// Entries of the history that one read returns.
const READ_BATCH_SIZE: usize = 100;

/// The note on a proposed waiver.
pub(super) const PROPOSED: &str = "the waiver covers nothing until another caller approves it with ApproveWaiver";

impl Waivers {
    /// Approves a waiver that was read by [`Waivers::current`], in that version. Approving an approved waiver again changes nothing.
    ///
    /// The caller is refused if it requested the waiver, or wrote any version since the last approval: with the author of the
    /// present version alone, a trivial change by another caller would let the author of a wider scope approve it.
    pub async fn approve(&self, current: CurrentWaiver, options: WriteOptions) -> Result<WriteResult, Error> {
        let CurrentWaiver { revision: old, expected } = current;
        let (id, now) = (old.waiver.id.clone(), Timestamp::now());
        match old.waiver.state(now) {
            State::Revoked => return Err(policies::Error::from(policy_store::Error::Revoked(id)).into()),
            State::Expired => return Err(Error::Expired(id)),
            State::Proposed | State::Scheduled | State::Active => {}
        }
        if old.waiver.requested_by == options.caller || self.has_written_unapproved(&old, &options.caller).await? {
            return Err(Error::SelfApproval(id));
        }
        let is_approved = old.waiver.approver().is_some();
        // With an idempotency key the store must see the request, since it records the key.
        if is_approved && options.request_key.is_none() {
            let (revision, waiver) = (old.revision, policy_store::Revision::Waiver(old));
            return Ok(WriteResult { revision, resources: vec![waiver.clone()], replaced: Some(waiver) });
        }
        let mut waiver = old.waiver.clone();
        if !is_approved {
            waiver.approval = Some(Approval::Given { by: options.caller.clone(), at: now });
        }
        Ok(self.policies.write(Change::Update { resource: Resource::Waiver(waiver), expected }, options).await?)
    }

    /// Describes the result of an approval.
    pub async fn describe_approval(&self, written: &WriteResult) -> Result<WaiverWrite, Error> {
        let mut described = self.describe(written).await?;
        let approver = written.replaced_waiver().and_then(|old| old.waiver.approver());
        described
            .notes
            .extend(approver.map(|by| format!("the waiver was already approved; it keeps the approval of {by}")));
        Ok(described)
    }

    /// True if a caller wrote one of the versions up to this one, back to the last approved one.
    async fn has_written_unapproved(&self, current: &Revision, caller: &str) -> Result<bool, Error> {
        let name = ResourceName::Waiver(current.waiver.id.clone());
        let mut before = current.revision.saturating_add(1);
        loop {
            let entries = self.policies.history(&name, Some(before), READ_BATCH_SIZE).await?;
            let is_end = entries.len() < READ_BATCH_SIZE;
            for entry in entries {
                match &entry.resource {
                    Some(policy_store::Revision::Waiver(version)) if version.waiver.approver().is_none() => {}
                    _ => return Ok(false),
                }
                if entry.author == caller {
                    return Ok(true);
                }
                before = entry.revision;
            }
            if is_end {
                return Ok(false);
            }
        }
    }
}
