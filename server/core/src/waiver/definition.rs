//! The waiver: its scope, its conditions and its term.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::scope::Scope;
use crate::{
    finding::{Exploit, Finding, Fix, Score},
    name::WaiverId,
    severity::Severity,
    stored::is_default,
};

/// The conditions under which a waiver covers a finding. A condition on an unknown value is not met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// No fix is available, not even a partial one.
    #[serde(skip_serializing_if = "is_default")]
    pub until_fixed: bool,
    /// The finding's severity is at most this.
    #[serde(skip_serializing_if = "is_default")]
    pub max_severity: Option<Severity>,
    /// The finding's EPSS is at most this.
    #[serde(skip_serializing_if = "is_default")]
    pub max_epss: Option<Score>,
    /// No exploit is known.
    #[serde(skip_serializing_if = "is_default")]
    pub while_not_exploited: bool,
}

impl Conditions {
    /// True if the finding meets all conditions.
    pub fn are_met_by(&self, finding: &Finding, unrated_as: Severity) -> bool {
        (!self.until_fixed || finding.fix == Fix::None)
            && self.max_severity.is_none_or(|max| finding.severity.rank(unrated_as) <= max)
            && self.max_epss.is_none_or(|max| finding.epss.is_some_and(|epss| epss <= max))
            && (!self.while_not_exploited || finding.exploit == Exploit::NotKnown)
    }
}

/// The state of a waiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// It awaits approval and covers nothing.
    Proposed,
    /// Its start lies in the future.
    Scheduled,
    /// It is in force.
    Active,
    /// Its end has passed.
    Expired,
    /// It was revoked before its end.
    Revoked,
}

/// The approval of a waiver, where a waiver needs one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Approval {
    /// The waiver is proposed: it covers nothing until it is approved.
    Awaited,
    /// The waiver is approved.
    Given {
        /// The name of the caller who approved it.
        by: String,
        /// The time of the approval.
        at: Timestamp,
    },
}

/// The early end of a waiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The time of the revocation.
    pub at: Timestamp,
    /// The reason for it.
    pub reason: String,
}

/// A waiver. Its history, etag and times belong to [`Revision`](super::Revision).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// The id in `waivers/{id}`.
    pub id: WaiverId,
    /// The findings that it covers.
    pub scope: Scope,
    /// The conditions under which it covers them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Conditions,
    /// The reason for the exception.
    pub reason: String,
    /// The ticket that tracks it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ticket: String,
    /// The name of the caller who requested it; a change keeps it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requested_by: String,
    /// The approval; `None`: it needs none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub approval: Option<Approval>,
    /// The first instant at which it is in force.
    pub start_time: Timestamp,
    /// The first instant at which it is no longer in force.
    pub expire_time: Timestamp,
    /// The revocation, if it was revoked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revocation: Option<Revocation>,
}

impl Waiver {
    /// Returns the first instant at which the waiver is no longer in force, for whatever reason.
    ///
    /// A revoked waiver is never in force, whatever its time of revocation: the revoking server's clock may run ahead
    /// of this one, and the revocation takes effect at once. A replay of an earlier decision uses the waivers of that
    /// time. A proposed waiver is not in force either.
    pub fn end(&self) -> Timestamp {
        if self.revocation.is_some() || self.awaits_approval() { Timestamp::MIN } else { self.expire_time }
    }

    /// Returns the identity of the approver.
    pub fn approver(&self) -> Option<&str> {
        match &self.approval {
            Some(Approval::Given { by, .. }) => Some(by),
            Some(Approval::Awaited) | None => None,
        }
    }

    /// Returns the time of the approval.
    pub fn approve_time(&self) -> Option<Timestamp> {
        match &self.approval {
            Some(Approval::Given { at, .. }) => Some(*at),
            Some(Approval::Awaited) | None => None,
        }
    }

    /// True if the waiver needs an approval and has none.
    pub fn awaits_approval(&self) -> bool {
        self.approval == Some(Approval::Awaited)
    }

    /// True if the waiver is in force, its conditions aside.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.start_time <= now && now < self.end()
    }

    /// Returns the state at an instant.
    pub fn state(&self, now: Timestamp) -> State {
        match &self.revocation {
            Some(_) => State::Revoked,
            None if self.expire_time <= now => State::Expired,
            None if self.awaits_approval() => State::Proposed,
            None if now < self.start_time => State::Scheduled,
            None => State::Active,
        }
    }
}
