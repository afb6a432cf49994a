//! Waivers, both ways: every field checked, every mistake named.

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
    policy::render_etag,
    time::{parse_timestamp, render_timestamp},
};
use crate::grpc::field_violations::Fields;

const MAX_REASON: usize = 1000;
const MAX_TEXT: usize = 256;

/// What the server asks of waivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaiverLimits {
    /// The longest that one may hold.
    pub(crate) max_term: Duration,
    /// Whether another than the author must have approved.
    pub(crate) requires_approver: bool,
}

/// `waivers/{id}`.
pub(crate) fn parse_name(fields: &mut Fields, path: &str, given: &str) -> Option<WaiverId> {
    let Some(id) = given.strip_prefix("waivers/") else {
        fields.refuse(path, "must have the form waivers/{id}");
        return None;
    };
    fields.check(path, WaiverId::parse(id))
}

/// A waiver under the id that it is to have; what it does not say of its time is as it was before, or begins now.
pub(crate) fn parse_waiver(
    fields: &mut Fields,
    path: &str,
    id: Option<WaiverId>,
    given: Option<&v1::Waiver>,
    old: Option<&Waiver>,
    terms: WaiverLimits,
) -> Option<Waiver> {
    let Some(given) = given else {
        fields.refuse(path, "must be given");
        return None;
    };
    let scope = parse_scope(fields, &format!("{path}.scope"), given.scope.as_ref());
    let conditions = parse_conditions(fields, &format!("{path}.conditions"), given.conditions.as_ref());
    check_reason(fields, &format!("{path}.reason"), &given.reason);
    for (field, text) in [("ticket", &given.ticket), ("author", &given.author), ("approver", &given.approver)] {
        if text.trim().chars().count() > MAX_TEXT {
            fields.refuse(format!("{path}.{field}"), format!("must be at most {MAX_TEXT} characters long"));
        }
    }
    if terms.requires_approver {
        check_approver(fields, path, &given.author, &given.approver);
    }
    let (start_time, expire_time) = parse_term(fields, path, given, old, terms.max_term);
    Some(Waiver {
        id: id?,
        scope: scope?,
        conditions,
        reason: given.reason.trim().to_owned(),
        ticket: given.ticket.trim().to_owned(),
        author: given.author.trim().to_owned(),
        approver: given.approver.trim().to_owned(),
        start_time,
        expire_time,
        revocation: None,
    })
}

/// Why something is waived, or no longer is.
pub(crate) fn check_reason(fields: &mut Fields, path: &str, given: &str) {
    if !(1..=MAX_REASON).contains(&given.trim().chars().count()) {
        fields.refuse(path, format!("must be 1 to {MAX_REASON} characters: whoever meets this waiver will ask why"));
    }
}

fn check_approver(fields: &mut Fields, path: &str, author: &str, approver: &str) {
    let (author, approver) = (author.trim().to_lowercase(), approver.trim().to_lowercase());
    if author.is_empty() {
        fields.refuse(format!("{path}.author"), "must be given: this server wants to know who asks");
    }
    if approver.is_empty() || approver == author {
        fields.refuse(
            format!("{path}.approver"),
            "must be given, and be another than the author: this server asks for two people",
        );
    }
}

fn parse_term(
    fields: &mut Fields,
    path: &str,
    given: &v1::Waiver,
    old: Option<&Waiver>,
    most: Duration,
) -> (Timestamp, Timestamp) {
    let now = Timestamp::now();
    let start = parse_timestamp(fields, &format!("{path}.start_time"), given.start_time.as_ref());
    let start = start.or(old.map(|old| old.start_time)).unwrap_or(now);
    let most = SignedDuration::try_from(most).unwrap_or(SignedDuration::MAX);
    let end_path = format!("{path}.expire_time");
    let end = parse_timestamp(fields, &end_path, given.expire_time.as_ref()).or(old.map(|old| old.expire_time));
    let end = end.unwrap_or_else(|| start.saturating_add(DEFAULT_TERM.min(most)).unwrap_or(Timestamp::MAX));
    if end <= start {
        fields.refuse(end_path, "must be later than start_time");
    } else if end <= now {
        fields.refuse(end_path, "must lie in the future: a waiver that is over helps nobody");
    } else if end.duration_since(start) > most {
        fields.refuse(end_path, format!("must be at most {} days after start_time", most.as_hours() / 24));
    }
    (start, end)
}

fn parse_scope(fields: &mut Fields, path: &str, given: Option<&v1::WaiverScope>) -> Option<Scope> {
    let Some(given) = given else {
        fields.refuse(path, "must be given: a waiver says what it covers");
        return None;
    };
    let vulnerability = fields.check(&format!("{path}.vulnerability_id"), Glob::parse(&given.vulnerability_id));
    let scope = Scope {
        vulnerability: vulnerability?,
        package: fields.optional(&format!("{path}.package"), &given.package, Glob::parse),
        repository: fields.optional(&format!("{path}.repository"), &given.repository, Glob::parse),
        digest: fields.optional(&format!("{path}.digest"), &given.digest, Digest::parse),
        environment: fields.optional(&format!("{path}.environment"), &given.environment, Glob::parse),
        platform: given.platform.as_ref().and_then(|given| parse_platform(fields, &format!("{path}.platform"), given)),
    };
    let narrows = |glob: &Option<Glob>| glob.as_ref().is_some_and(|glob| !glob.matches_everything());
    if scope.vulnerability.matches_everything()
        && !narrows(&scope.package)
        && !narrows(&scope.repository)
        && scope.digest.is_none()
    {
        fields.refuse(
            format!("{path}.vulnerability_id"),
            "covers every vulnerability everywhere: name vulnerabilities, or a package, a repository or a digest",
        );
    }
    Some(scope)
}

fn parse_conditions(fields: &mut Fields, path: &str, given: Option<&v1::WaiverConditions>) -> Conditions {
    let given = given.copied().unwrap_or_default();
    let max_epss = given.max_epss.and_then(|given| {
        let score = Score::new(given).ok().filter(|score| score.value() <= 1.0);
        if score.is_none() {
            fields.refuse(format!("{path}.max_epss"), "must be a number from 0 to 1");
        }
        score
    });
    Conditions {
        until_fixed: given.until_fixed,
        max_severity: parse_severity(fields, &format!("{path}.max_severity"), given.max_severity),
        max_epss,
        while_not_exploited: given.while_not_exploited,
    }
}

/// A waiver as stored; `matches` says whether anything that was met is in its scope.
pub(crate) fn render_waiver(revised: &Revision, matches: bool, now: Timestamp) -> v1::Waiver {
    let waiver = &revised.waiver;
    let glob = |glob: &Option<Glob>| glob.as_ref().map(ToString::to_string).unwrap_or_default();
    let scope = v1::WaiverScope {
        vulnerability_id: waiver.scope.vulnerability.to_string(),
        package: glob(&waiver.scope.package),
        repository: glob(&waiver.scope.repository),
        digest: waiver.scope.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        environment: glob(&waiver.scope.environment),
        platform: waiver.scope.platform.as_ref().map(render_platform),
    };
    let conditions = v1::WaiverConditions {
        until_fixed: waiver.conditions.until_fixed,
        max_severity: waiver.conditions.max_severity.map_or(v1::Severity::Unspecified, render_severity).into(),
        max_epss: waiver.conditions.max_epss.map(f64::from),
        while_not_exploited: waiver.conditions.while_not_exploited,
    };
    v1::Waiver {
        name: waiver.id.resource_name(),
        scope: Some(scope),
        conditions: (waiver.conditions != Conditions::default()).then_some(conditions),
        reason: waiver.reason.clone(),
        ticket: waiver.ticket.clone(),
        author: waiver.author.clone(),
        approver: waiver.approver.clone(),
        start_time: Some(render_timestamp(waiver.start_time)),
        expire_time: Some(render_timestamp(waiver.expire_time)),
        revoke_time: waiver.revocation.as_ref().map(|revocation| render_timestamp(revocation.at)),
        revoke_reason: waiver.revocation.as_ref().map(|revocation| revocation.reason.clone()).unwrap_or_default(),
        state: render_state(waiver.state(now)).into(),
        matches_findings: matches,
        etag: render_etag(revised.revision),
        revision: revised.revision,
        create_time: Some(render_timestamp(revised.create_time)),
        update_time: Some(render_timestamp(revised.update_time)),
    }
}

fn render_state(state: State) -> v1::WaiverState {
    match state {
        State::Scheduled => v1::WaiverState::Scheduled,
        State::Active => v1::WaiverState::Active,
        State::Expired => v1::WaiverState::Expired,
        State::Revoked => v1::WaiverState::Revoked,
    }
}

/// A state to look for.
pub(crate) fn parse_state(fields: &mut Fields, path: &str, given: i32) -> Option<State> {
    match v1::WaiverState::try_from(given) {
        Ok(v1::WaiverState::Scheduled) => Some(State::Scheduled),
        Ok(v1::WaiverState::Active) => Some(State::Active),
        Ok(v1::WaiverState::Expired) => Some(State::Expired),
        Ok(v1::WaiverState::Revoked) => Some(State::Revoked),
        Ok(v1::WaiverState::Unspecified) | Err(_) => {
            fields.refuse(path, "must be WAIVER_STATE_SCHEDULED, _ACTIVE, _EXPIRED or _REVOKED");
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
        fn no_waiver_from_the_wire_does_harm_and_none_that_is_taken_covers_everything(
            (vulnerability_id, package, repository) in (text(), text(), text()),
            (digest, environment, reason, author) in (text(), text(), text(), text()),
            (start_time, expire_time) in (moment(), moment()),
            (max_severity, max_epss, days) in (any::<i32>(), prop::option::of(any::<f64>()), 0_u64..4000),
            requires_approver in any::<bool>(),
        ) {
            let scope = v1::WaiverScope { vulnerability_id, package, repository, digest, environment, platform: None };
            let conditions = v1::WaiverConditions { max_severity, max_epss, ..Default::default() };
            let given = v1::Waiver {
                scope: Some(scope), conditions: Some(conditions), reason, author: author.clone(), approver: author,
                start_time, expire_time, ..Default::default()
            };
            let mut fields = Fields::default();
            let id = WaiverId::parse("w").ok();
            let terms = WaiverLimits { max_term: Duration::from_hours(24 * days), requires_approver };

            let taken = parse_waiver(&mut fields, "waiver", id, Some(&given), None, terms);

            if let Ok(taken) = fields.finish(taken) {
                prop_assert!(!requires_approver);
                prop_assert!(taken.start_time < taken.expire_time);
                let everywhere = taken.scope.package.as_ref().is_none_or(Glob::matches_everything)
                    && taken.scope.repository.as_ref().is_none_or(Glob::matches_everything)
                    && taken.scope.digest.is_none();
                prop_assert!(!(everywhere && taken.scope.vulnerability.matches_everything()));
            }
        }
    }
}
