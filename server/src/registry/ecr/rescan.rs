//! Inspector's re-scan durations, which determine when it stops scanning an image.

use aws_sdk_inspector2::types::{EcrRescanDurationState, EcrRescanDurationStatus};
use jiff::{SignedDuration, Timestamp};

use super::{operation::Operation, registry_client::RegistryClient, retry::Deadline};
use crate::registry::Error;

const GET_CONFIGURATION: Operation = Operation::inspector("GetConfiguration");

/// The meaning of an image's last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseMode {
    /// LAST_PULL_DATE.
    Pulled,
    /// LAST_IN_USE_AT.
    InUse,
}

/// The durations in effect, both with an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RescanDurations {
    since_push: SignedDuration,
    since_use: SignedDuration,
    mode: UseMode,
}

/// The last known uses of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LastUse {
    /// `imagePulledAt`.
    pub(super) pull_time: Option<Timestamp>,
    /// `lastInUseAt`.
    pub(super) in_use_time: Option<Timestamp>,
}

/// Reads the durations; `None` if scanning has no end, or if an end cannot be computed with certainty.
pub(super) async fn load(client: &RegistryClient, deadline: Deadline) -> Result<Option<RescanDurations>, Error> {
    let send = || client.inspector.get_configuration().send();
    let response = client.retry.call(GET_CONFIGURATION, deadline, send).await;
    let response = response.map_err(|error| error.into_error(GET_CONFIGURATION))?;
    let state = response.ecr_configuration.and_then(|configuration| configuration.rescan_duration_state);
    Ok(state.as_ref().and_then(parse))
}

/// A change that is pending or failed leaves it open which durations are in effect.
fn parse(state: &EcrRescanDurationState) -> Option<RescanDurations> {
    let mode = match state.pull_date_rescan_mode.as_ref()?.as_str() {
        "LAST_PULL_DATE" => UseMode::Pulled,
        "LAST_IN_USE_AT" => UseMode::InUse,
        _ => return None,
    };
    let durations = RescanDurations {
        since_push: days(state.rescan_duration.as_ref()?.as_str())?,
        since_use: days(state.pull_date_rescan_duration.as_ref()?.as_str())?,
        mode,
    };
    (state.status == Some(EcrRescanDurationStatus::Success)).then_some(durations)
}

/// Parses `DAYS_14`; `None` for LIFETIME, which has no end.
fn days(label: &str) -> Option<SignedDuration> {
    let days: u16 = label.strip_prefix("DAYS_")?.parse().ok()?;
    Some(SignedDuration::from_hours(24 * i64::from(days)))
}

impl RescanDurations {
    /// Returns the instant at which Inspector stops scanning the image: both durations are over then. `None` if the push
    /// or the last use is unknown.
    pub(super) fn end(self, push_time: Option<Timestamp>, last_use: LastUse) -> Option<Timestamp> {
        let used_at = match self.mode {
            UseMode::Pulled => last_use.pull_time,
            UseMode::InUse => last_use.in_use_time,
        };
        let pushed = push_time?.checked_add(self.since_push).ok()?;
        let used = used_at?.checked_add(self.since_use).ok()?;
        Some(pushed.max(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn state(since_push: &str, since_use: &str, mode: &str, status: &str) -> EcrRescanDurationState {
        EcrRescanDurationState::builder()
            .rescan_duration(since_push.into())
            .pull_date_rescan_duration(since_use.into())
            .pull_date_rescan_mode(mode.into())
            .status(status.into())
            .build()
    }

    fn day(number: i32) -> Option<Timestamp> {
        Timestamp::UNIX_EPOCH.checked_add(DAY * number).ok()
    }

    #[test]
    fn later_of_both_ends_counts() {
        let pulls = parse(&state("DAYS_14", "DAYS_30", "LAST_PULL_DATE", "SUCCESS")).unwrap();
        let uses = parse(&state("DAYS_14", "DAYS_30", "LAST_IN_USE_AT", "SUCCESS")).unwrap();
        let pulled = |number| LastUse { pull_time: day(number), in_use_time: None };
        let in_use = |number| LastUse { pull_time: None, in_use_time: day(number) };

        assert_eq!(pulls.end(day(0), pulled(1)), day(31));
        assert_eq!(pulls.end(day(100), pulled(1)), day(114));
        assert_eq!(uses.end(day(0), in_use(2)), day(32));
    }

    #[test]
    fn end_needs_push_and_last_use() {
        let uses = parse(&state("DAYS_14", "DAYS_14", "LAST_IN_USE_AT", "SUCCESS")).unwrap();

        assert_eq!(uses.end(None, LastUse { pull_time: day(1), in_use_time: day(1) }), None);
        assert_eq!(uses.end(day(0), LastUse { pull_time: day(1), in_use_time: None }), None);
    }

    #[test]
    fn uncertain_durations_have_no_end() {
        let states = [
            state("LIFETIME", "DAYS_14", "LAST_PULL_DATE", "SUCCESS"),
            state("DAYS_14", "FOREVER", "LAST_PULL_DATE", "SUCCESS"),
            state("DAYS_14", "DAYS_14", "LAST_SEEN", "SUCCESS"),
            state("DAYS_14", "DAYS_14", "LAST_PULL_DATE", "PENDING"),
            state("DAYS_14", "DAYS_14", "LAST_PULL_DATE", "FAILED"),
            EcrRescanDurationState::builder().rescan_duration("DAYS_14".into()).status("SUCCESS".into()).build(),
        ];
        for state in states {
            assert_eq!(parse(&state), None, "{state:?}");
        }
    }
}
