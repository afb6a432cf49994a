//! Conversions of waivers. Parsing checks every field and records every violation.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    finding::Score,
    glob::Glob,
    image::Digest,
    name::WaiverId,
    waiver::{Conditions, DEFAULT_TERM, Revision, Scope, State, Waiver},
};
use scangate_proto::v1;

use super::{
    finding::{parse_severity, render_severity},
    image::{parse_platform, render_platform},
    policy::{check_complete, render_etag},
    revision::render_revision,
    time::{parse_timestamp, render_timestamp},
};
use crate::grpc::field_violations::{FieldReason, Fields};

/// The longest reason, in characters.
const MAX_REASON: usize = 1000;
/// The longest ticket, in characters.
const MAX_TICKET: usize = 256;

/// Server-wide rules of waivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaiverLimits {
    /// The longest time from start to expiry.
    pub(crate) max_term: Duration,
    /// True if new waivers, and changes that do more than narrow one, need the approval of another caller.
    pub(crate) approval_is_demanded: bool,
}

/// Parses `waivers/{id}`.
pub(crate) fn parse_name(fields: &mut Fields, path: &str, name: &str) -> Option<WaiverId> {
    let Some(id) = name.strip_prefix("waivers/") else {
        fields.refuse(path, "must have the form waivers/{id}");
        return None;
    };
    fields.check(path, WaiverId::parse(id))
}

/// Parses a waiver under its id. Without times, the waiver starts now, for the default term.
pub(crate) fn parse_waiver(
    fields: &mut Fields,
    path: &str,
    id: Option<WaiverId>,
    wire: Option<&v1::Waiver>,
    limits: WaiverLimits,
) -> Option<Waiver> {
    let waiver = parse_fields(fields, path, id, wire, limits)?;
    if !waiver.scope.everywhere && !waiver.scope.has_place() {
        fields.require(format!("{path}.scope"),
            "must name a repository, a digest or an environment, where a glob over everything does not count; if the waiver is \
             meant to cover every image, set everywhere to true",
        );
    }
    Some(waiver)
}

/// Parses the fields that all waivers of an import share. The document supplies the rest of the scope, possibly with the place.
pub(crate) fn parse_template(
    fields: &mut Fields,
    path: &str,
    id: Option<WaiverId>,
    wire: &v1::Waiver,
    limits: WaiverLimits,
) -> Option<Waiver> {
    parse_fields(fields, path, id, Some(wire), limits)
}

fn parse_fields(
    fields: &mut Fields,
    path: &str,
    id: Option<WaiverId>,
    wire: Option<&v1::Waiver>,
    limits: WaiverLimits,
) -> Option<Waiver> {
    let Some(wire) = wire else {
        fields.require(path, "must be set");
        return None;
    };
    check_complete(fields, path, &wire.not_understood);
    let scope = parse_scope(fields, &format!("{path}.scope"), wire.scope.as_ref());
    let conditions = parse_conditions(fields, &format!("{path}.conditions"), wire.conditions.as_ref());
    check_reason(fields, &format!("{path}.reason"), &wire.reason);
    if wire.ticket.trim().chars().count() > MAX_TICKET {
        fields.refuse_as(
            FieldReason::Length,
            format!("{path}.ticket"),
            format!("must be at most {MAX_TICKET} characters long"),
        );
    }
    let (start_time, expire_time) = parse_term(fields, path, wire, limits.max_term);
    Some(Waiver {
        id: id?,
        scope: scope?,
        conditions,
        reason: wire.reason.trim().to_owned(),
        ticket: wire.ticket.trim().to_owned(),
        requested_by: String::new(),
        approval: None,
        start_time,
        expire_time,
        revocation: None,
    })
}

/// Checks the reason of a waiver or of its revocation.
pub(crate) fn check_reason(fields: &mut Fields, path: &str, reason: &str) {
    if !(1..=MAX_REASON).contains(&reason.trim().chars().count()) {
        fields.refuse_as(FieldReason::Length, path, format!("must be 1 to {MAX_REASON} characters long"));
    }
}

/// Checks that an update leaves the waiver its times: a default would move its end.
pub(crate) fn check_term_is_set(fields: &mut Fields, updated: &v1::Waiver) {
    for (field, time) in [("start_time", &updated.start_time), ("expire_time", &updated.expire_time)] {
        if time.is_none() {
            fields.require(
                format!("waiver.{field}"),
                "must be set if update_mask names it; leave it out of the mask to keep the present time",
            );
        }
    }
}

fn parse_term(fields: &mut Fields, path: &str, wire: &v1::Waiver, max: Duration) -> (Timestamp, Timestamp) {
    let now = Timestamp::now();
    let start = parse_timestamp(fields, &format!("{path}.start_time"), wire.start_time.as_ref());
    let start = start.unwrap_or(now);
    let max = SignedDuration::try_from(max).unwrap_or(SignedDuration::MAX);
    let end_path = format!("{path}.expire_time");
    let end = parse_timestamp(fields, &end_path, wire.expire_time.as_ref());
    let end = end.unwrap_or_else(|| start.saturating_add(DEFAULT_TERM.min(max)).unwrap_or(Timestamp::MAX));
    if end <= start {
        fields.refuse_as(FieldReason::OutOfRange, end_path, "must be later than start_time");
    } else if end <= now {
        fields.refuse_as(FieldReason::OutOfRange, end_path, "must be in the future");
    } else if end.duration_since(start) > max {
        fields.refuse_as(
            FieldReason::OutOfRange,
            end_path,
            format!("must be at most {} days after start_time", max.as_hours() / 24),
        );
    }
    (start, end)
}

fn parse_scope(fields: &mut Fields, path: &str, wire: Option<&v1::WaiverScope>) -> Option<Scope> {
    let Some(wire) = wire else {
        fields.require(path, "must be set: it defines the findings that the waiver covers");
        return None;
    };
    let vulnerability = fields.check(&format!("{path}.vulnerability_id"), Glob::parse(&wire.vulnerability_id));
    let scope = Scope {
        vulnerability: vulnerability?,
        package: fields.optional(&format!("{path}.package"), &wire.package, Glob::parse),
        repository: fields.optional(&format!("{path}.repository"), &wire.repository, Glob::parse),
        digest: fields.optional(&format!("{path}.digest"), &wire.digest, Digest::parse),
        environment: fields.optional(&format!("{path}.environment"), &wire.environment, Glob::parse),
        platform: wire.platform.as_ref().and_then(|wire| parse_platform(fields, &format!("{path}.platform"), wire)),
        everywhere: wire.everywhere(),
    };
    if scope.everywhere && scope.has_place() {
        fields.forbid(format!("{path}.everywhere"),
            "must be false beside a repository, a digest or an environment that narrows the scope; remove one of the two",
        );
    }
    let narrows = |glob: &Option<Glob>| glob.as_ref().is_some_and(|glob| !glob.matches_everything());
    if scope.vulnerability.matches_everything()
        && !narrows(&scope.package)
        && !narrows(&scope.repository)
        && scope.digest.is_none()
    {
        fields.forbid(
            format!("{path}.vulnerability_id"),
            "must not match every vulnerability unless the scope sets a package, a repository or a digest",
        );
    }
    Some(scope)
}

fn parse_conditions(fields: &mut Fields, path: &str, wire: Option<&v1::WaiverConditions>) -> Conditions {
    let wire = wire.copied().unwrap_or_default();
    let max_epss = wire.max_epss.and_then(|wire| {
        let score = Score::new(wire).ok().filter(|score| score.value() <= 1.0);
        if score.is_none() {
            fields.refuse_as(FieldReason::OutOfRange, format!("{path}.max_epss"), "must be a number from 0 to 1");
        }
        score
    });
    Conditions {
        until_fixed: wire.until_fixed(),
        max_severity: parse_severity(fields, &format!("{path}.max_severity"), wire.max_severity),
        max_epss,
        while_not_exploited: wire.while_not_exploited(),
    }
}

/// Renders a stored waiver. `matches` is true if a finding seen by this gate is in its scope.
pub(crate) fn render_waiver(revision: &Revision, matches: bool, now: Timestamp) -> v1::Waiver {
    let waiver = &revision.waiver;
    let glob = |glob: &Option<Glob>| glob.as_ref().map(ToString::to_string).unwrap_or_default();
    let scope = v1::WaiverScope {
        vulnerability_id: waiver.scope.vulnerability.to_string(),
        package: glob(&waiver.scope.package),
        repository: glob(&waiver.scope.repository),
        digest: waiver.scope.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        environment: glob(&waiver.scope.environment),
        platform: waiver.scope.platform.as_ref().map(render_platform),
        everywhere: waiver.scope.everywhere.then_some(true),
    };
    let conditions = v1::WaiverConditions {
        until_fixed: waiver.conditions.until_fixed.then_some(true),
        max_severity: waiver.conditions.max_severity.map_or(v1::Severity::Unspecified, render_severity).into(),
        max_epss: waiver.conditions.max_epss.map(f64::from),
        while_not_exploited: waiver.conditions.while_not_exploited.then_some(true),
    };
    v1::Waiver {
        name: waiver.id.resource_name(),
        scope: Some(scope),
        conditions: (waiver.conditions != Conditions::default()).then_some(conditions),
        reason: waiver.reason.clone(),
        ticket: waiver.ticket.clone(),
        requested_by: waiver.requested_by.clone(),
        approved_by: waiver.approver().unwrap_or_default().to_owned(),
        approve_time: waiver.approve_time().map(render_timestamp),
        start_time: Some(render_timestamp(waiver.start_time)),
        expire_time: Some(render_timestamp(waiver.expire_time)),
        revoke_time: waiver.revocation.as_ref().map(|revocation| render_timestamp(revocation.at)),
        revoke_reason: waiver.revocation.as_ref().map(|revocation| revocation.reason.clone()).unwrap_or_default(),
        state: if revision.is_understood() { render_state(waiver.state(now)) } else { v1::WaiverState::Unknown }.into(),
        matches_findings: Some(matches),
        etag: render_etag(revision.revision),
        revision: render_revision(revision.revision),
        create_time: Some(render_timestamp(revision.create_time)),
        update_time: Some(render_timestamp(revision.update_time)),
        not_understood: revision.not_understood.clone(),
    }
}

fn render_state(state: State) -> v1::WaiverState {
    match state {
        State::Proposed => v1::WaiverState::Proposed,
        State::Scheduled => v1::WaiverState::Scheduled,
        State::Active => v1::WaiverState::Active,
        State::Expired => v1::WaiverState::Expired,
        State::Revoked => v1::WaiverState::Revoked,
    }
}

/// Parses a state of a filter.
pub(crate) fn parse_state(fields: &mut Fields, path: &str, state: i32) -> Option<State> {
    match v1::WaiverState::try_from(state) {
        Ok(v1::WaiverState::Proposed) => Some(State::Proposed),
        Ok(v1::WaiverState::Scheduled) => Some(State::Scheduled),
        Ok(v1::WaiverState::Active) => Some(State::Active),
        Ok(v1::WaiverState::Expired) => Some(State::Expired),
        Ok(v1::WaiverState::Revoked) => Some(State::Revoked),
        Ok(v1::WaiverState::Unspecified | v1::WaiverState::Unknown) | Err(_) => {
            fields.refuse(
                path,
                "must be WAIVER_STATE_PROPOSED, WAIVER_STATE_SCHEDULED, WAIVER_STATE_ACTIVE, WAIVER_STATE_EXPIRED or \
                 WAIVER_STATE_REVOKED",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), ".{0,40}", "[a-z*]{1,300}", Just("*".to_owned())]
    }

    fn moment() -> impl Strategy<Value = Option<prost_types::Timestamp>> {
        prop::option::of(
            (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }),
        )
    }

    proptest! {
        #[test]
        fn parsed_waiver_is_bounded_and_narrow(
            (vulnerability_id, package, repository) in (text(), text(), text()),
            (digest, environment, reason) in (text(), text(), text()),
            (start_time, expire_time) in (moment(), moment()),
            (max_severity, max_epss, days) in (any::<i32>(), prop::option::of(any::<f64>()), 0_u64..4000),
            everywhere in any::<Option<bool>>(),
        ) {
            let scope = v1::WaiverScope {
                vulnerability_id, package, repository, digest, environment, platform: None, everywhere,
            };
            let conditions = v1::WaiverConditions { max_severity, max_epss, ..Default::default() };
            let wire = v1::Waiver {
                scope: Some(scope), conditions: Some(conditions), reason, start_time, expire_time, ..Default::default()
            };
            let mut fields = Fields::default();
            let id = WaiverId::parse("w").ok();
            let limits = WaiverLimits { max_term: Duration::from_hours(24 * days), approval_is_demanded: false };

            let parsed = parse_waiver(&mut fields, "waiver", id, Some(&wire), limits);

            if let Ok(waiver) = fields.finish(parsed) {
                prop_assert!(waiver.start_time < waiver.expire_time);
                prop_assert_eq!(everywhere == Some(true), !waiver.scope.has_place());
                let is_unbounded = waiver.scope.package.as_ref().is_none_or(Glob::matches_everything)
                    && waiver.scope.repository.as_ref().is_none_or(Glob::matches_everything)
                    && waiver.scope.digest.is_none();
                prop_assert!(!(is_unbounded && waiver.scope.vulnerability.matches_everything()));
            }
        }
    }
}
