//! Waivers: scoped, reasoned, expiring exceptions to findings.

mod set;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::set::{ApplicableWaivers, Revision, WaiverSet};
use crate::{
    finding::{Exploit, Finding, Fix, Score},
    glob::Glob,
    image::{Digest, Platform, RepositoryName},
    name::{Environment, WaiverId},
    severity::Severity,
};

/// How long a waiver holds that does not say.
pub const DEFAULT_TERM: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a waiver covers: all that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Over vulnerability ids.
    pub vulnerability: Glob,
    /// Over package names; `None`: any.
    #[serde(default)]
    pub package: Option<Glob>,
    /// Over repository names; `None`: any.
    #[serde(default)]
    pub repository: Option<Glob>,
    /// Of the image as asked about, or of the manifest.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Over environments; `None`: any.
    #[serde(default)]
    pub environment: Option<Glob>,
    /// Of the manifest.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// Where a finding was met.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The repository.
    pub repository: &'a RepositoryName,
    /// The image that was asked about.
    pub image: &'a Digest,
    /// The manifest.
    pub manifest: &'a Digest,
    /// Its platform.
    pub platform: Option<&'a Platform>,
    /// Where it will run.
    pub environment: Option<&'a Environment>,
}

impl Scope {
    /// Whether anything at that place can be covered. A call without an environment is covered only by waivers for all
    /// environments, as it meets the policies of all: leaving it out never loosens.
    pub fn includes(&self, place: Subject<'_>) -> bool {
        let environment = |glob: &Glob| match place.environment {
            Some(environment) => glob.matches(environment.as_str()),
            None => glob.matches_everything(),
        };
        self.repository.as_ref().is_none_or(|glob| glob.matches(place.repository.as_str()))
            && self.digest.as_ref().is_none_or(|digest| digest == place.image || digest == place.manifest)
            && self.environment.as_ref().is_none_or(environment)
            && self.platform.as_ref().is_none_or(|asked| place.platform.is_some_and(|own| own.satisfies(asked)))
    }

    /// Whether the finding is of the kind that is covered.
    pub fn matches(&self, finding: &Finding) -> bool {
        self.vulnerability.matches(&finding.id)
            && self.package.as_ref().is_none_or(|glob| glob.matches(&finding.package.name))
    }
}

/// What must hold for a waiver to cover a finding; what is not known does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// No fix is available, not even in part.
    pub until_fixed: bool,
    /// The finding is at most this severe.
    pub max_severity: Option<Severity>,
    /// Its EPSS is at most this.
    pub max_epss: Option<Score>,
    /// No exploit is known.
    pub while_not_exploited: bool,
}

impl Conditions {
    /// Whether they all hold.
    pub fn are_met_by(&self, finding: &Finding, unrated_as: Severity) -> bool {
        (!self.until_fixed || finding.fix == Fix::None)
            && self.max_severity.is_none_or(|most| finding.severity.rank(unrated_as) <= most)
            && self.max_epss.is_none_or(|most| finding.epss.is_some_and(|epss| epss <= most))
            && (!self.while_not_exploited || finding.exploit == Exploit::NotKnown)
    }
}

/// Where a waiver stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// It has not begun.
    Scheduled,
    /// It is in force.
    Active,
    /// It has ended by itself.
    Expired,
    /// Somebody has ended it.
    Revoked,
}

/// How a waiver was ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// From when.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// A waiver's meaning. Its history, etag and times belong to [`Revision`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// The id in `waivers/{id}`.
    pub id: WaiverId,
    /// What it covers.
    pub scope: Scope,
    /// While what holds.
    #[serde(default)]
    pub conditions: Conditions,
    /// Why.
    pub reason: String,
    /// Where it is tracked.
    #[serde(default)]
    pub ticket: String,
    /// Who asked.
    #[serde(default)]
    pub author: String,
    /// Who approved.
    #[serde(default)]
    pub approver: String,
    /// The first instant at which it holds.
    pub start_time: Timestamp,
    /// The first instant at which it no longer does.
    pub expire_time: Timestamp,
    /// How it was ended, if it was.
    #[serde(default)]
    pub revocation: Option<Revocation>,
}

impl Waiver {
    /// The first instant at which it no longer holds, whatever ends it. One that was revoked holds at none: the clock of who
    /// revoked it may run ahead of ours, and who was told that it is revoked counts on it. What was decided before is decided again
    /// with the waivers of then.
    pub fn end(&self) -> Timestamp {
        if self.revocation.is_some() { Timestamp::MIN } else { self.expire_time }
    }

    /// Whether it is in force, its conditions aside.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.start_time <= now && now < self.end()
    }

    /// Where it stands.
    pub fn state(&self, now: Timestamp) -> State {
        match &self.revocation {
            Some(_) => State::Revoked,
            None if self.expire_time <= now => State::Expired,
            None if now < self.start_time => State::Scheduled,
            None => State::Active,
        }
    }

    /// Whether it speaks of this finding now, time aside.
    pub fn covers(&self, finding: &Finding, unrated_as: Severity) -> bool {
        self.scope.matches(finding) && self.conditions.are_met_by(finding, unrated_as)
    }
}
