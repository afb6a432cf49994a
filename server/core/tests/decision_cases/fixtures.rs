//! The `given` part of a case: policies, waivers and manifests, with harmless defaults.

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{
    decision::{ManifestInput, Start},
    first_seen::{FirstSeen, FirstSeenTimes},
    image::{Image, ImageReference, Platform},
    name::{Environment, WaiverId},
    policy::{self, Policy, PolicySet},
    scan::{Content, Manifest},
    waiver::{self, Approval, Conditions, Revocation, Scope, Waiver},
};
use scangate_test_fixtures::{digest, noon, policy_revision, waiver_revision};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    instant::{parse_instant, parse_optional},
    scans::scan,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Given {
    image: String,
    pub(crate) environment: Option<Environment>,
    pub(crate) now: Timestamp,
    policies: Vec<Policy>,
    waivers: Vec<WaiverFixture>,
    /// The ids of policies and waivers that a newer server wrote with a field that this one does not know.
    not_understood: Vec<String>,
    manifests: Vec<ManifestFixture>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaiverFixture {
    id: WaiverId,
    scope: Scope,
    #[serde(default)]
    conditions: Conditions,
    #[serde(default = "yesterday")]
    start: String,
    expire: String,
    revoked: Option<String>,
    /// True if it awaits approval.
    #[serde(default)]
    proposed: bool,
}

fn yesterday() -> String {
    "1d ago".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstSeenFixture {
    id: Arc<str>,
    #[serde(default)]
    package: Arc<str>,
    first_observed: Option<String>,
    fix_first_observed: Option<String>,
    first_admitted: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ManifestFixture {
    platform: Option<Platform>,
    pushed: Option<String>,
    content: Content,
    archived: bool,
    unreadable: Option<String>,
    scan: Map<String, Value>,
    start: Option<StartFixture>,
    clocks: Vec<FirstSeenFixture>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StartFixture {
    Running,
    Refused(String),
}

impl Default for Given {
    fn default() -> Self {
        Self {
            image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1".to_owned(),
            environment: None,
            now: noon(),
            policies: Vec::new(),
            waivers: Vec::new(),
            not_understood: Vec::new(),
            manifests: vec![ManifestFixture::default()],
        }
    }
}

impl Default for ManifestFixture {
    fn default() -> Self {
        Self {
            platform: None,
            pushed: Some("1d ago".to_owned()),
            content: Content::Image,
            archived: false,
            unreadable: None,
            scan: Map::new(),
            start: None,
            clocks: Vec::new(),
        }
    }
}

impl Given {
    pub(crate) fn image(&self) -> Image {
        let reference = ImageReference::parse(&self.image).unwrap();
        let (host, registry) = reference.registry.unwrap();
        let (repository, tag) = (reference.repository, reference.tag);
        Image { registry, host, repository, tag, digest: digest(0), push_time: None }
    }

    pub(crate) fn policies(&self) -> PolicySet {
        let default = Policy::built_in_default().unwrap();
        let policies = std::iter::once(&default).chain(&self.policies);
        PolicySet {
            revision: 7,
            policies: policies.map(|policy| (policy.id.clone(), self.policy_revision(policy))).collect(),
            waivers: self.waivers.iter().map(|waiver| self.waiver_revision(waiver)).collect(),
        }
    }

    fn policy_revision(&self, policy: &Policy) -> Arc<policy::Revision> {
        let mut revision = Arc::unwrap_or_clone(policy_revision(policy, 7));
        revision.not_understood = self.not_understood(policy.id.as_str());
        Arc::new(revision)
    }

    fn waiver_revision(&self, waiver: &WaiverFixture) -> Arc<waiver::Revision> {
        let mut revision = Arc::unwrap_or_clone(waiver.revision(self.now));
        revision.not_understood = self.not_understood(waiver.id.as_str());
        Arc::new(revision)
    }

    fn not_understood(&self, id: &str) -> Vec<String> {
        let is_listed = self.not_understood.iter().any(|listed| listed == id);
        is_listed.then(|| "unknown field `quorum`".to_owned()).into_iter().collect()
    }

    pub(crate) fn manifests(&self) -> Vec<ManifestInput> {
        self.manifests.iter().enumerate().map(|(index, manifest)| manifest.input(index, self.now)).collect()
    }
}

impl WaiverFixture {
    fn revision(&self, now: Timestamp) -> Arc<waiver::Revision> {
        let revoke_time = parse_optional(self.revoked.as_deref(), now);
        let waiver = Waiver {
            id: self.id.clone(),
            scope: self.scope.clone(),
            conditions: self.conditions.clone(),
            reason: "not reachable".to_owned(),
            ticket: String::new(),
            requested_by: String::new(),
            approval: self.proposed.then_some(Approval::Awaited),
            start_time: parse_instant(&self.start, now),
            expire_time: parse_instant(&self.expire, now),
            revocation: revoke_time.map(|at| Revocation { at, reason: "fixed".to_owned() }),
        };
        waiver_revision(&waiver, 7)
    }
}

impl ManifestFixture {
    fn input(&self, index: usize, now: Timestamp) -> ManifestInput {
        ManifestInput {
            manifest: Manifest {
                digest: digest(index),
                platform: self.platform.clone(),
                push_time: parse_optional(self.pushed.as_deref(), now),
                content: self.content,
                archived: self.archived,
                unreadable: self.unreadable.clone(),
            },
            scan: Arc::new(scan(&self.scan, now)),
            start: self.start.clone().map(|start| match start {
                StartFixture::Running => Start::Running,
                StartFixture::Refused(why) => Start::Refused(why),
            }),
            first_seen: Arc::new(self.first_seen(now)),
        }
    }

    fn first_seen(&self, now: Timestamp) -> FirstSeenTimes {
        let mut times = FirstSeenTimes::default();
        for fixture in &self.clocks {
            let first_seen = FirstSeen {
                first_observe_time: parse_optional(fixture.first_observed.as_deref(), now),
                fix_first_observe_time: parse_optional(fixture.fix_first_observed.as_deref(), now),
                first_admit_time: parse_optional(fixture.first_admitted.as_deref(), now),
            };
            times.set(Arc::clone(&fixture.id), Arc::clone(&fixture.package), first_seen);
        }
        times
    }
}
