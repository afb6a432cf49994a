//! The horizon: a verdict holds until its next change, and announced changes come true.

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*};
use scangate_core::{
    Decision, Verdict,
    decision::{Breach, Violation},
};

use crate::{config, fixtures::request};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn verdict_holds_until_next_change(
        request in request(), fractions in vec(0.0_f64..1.0, 6), beyond in 0_i64..10_000_000,
    ) {
        let decision = request.decide();

        let Some(change) = &decision.next_change else {
            for later in [1, beyond, i64::MAX] {
                let later = request.now.saturating_add(SignedDuration::from_nanos(later)).unwrap();
                prop_assert_eq!(request.decide_at(later).verdict, decision.verdict, "at {}", later);
            }
            return Ok(());
        };
        prop_assert!(change.change_time > request.now);
        prop_assert_ne!(change.verdict, decision.verdict);
        prop_assert_eq!(request.decide_at(change.change_time).verdict, change.verdict, "{:?}", change);
        let just_before = change.change_time.checked_sub(SignedDuration::from_nanos(1)).unwrap();
        prop_assert_eq!(request.decide_at(just_before).verdict, decision.verdict, "{:?}", change);
        for within in instants_between(request.now, just_before, &fractions) {
            prop_assert_eq!(request.decide_at(within).verdict, decision.verdict, "at {}, before {:?}", within, change);
        }
    }

    #[test]
    fn decision_stays_equal_until_unchanged_until(request in request(), fractions in vec(0.0_f64..1.0, 4)) {
        let decision = request.decide();

        let end = decision.unchanged_until.unwrap_or(Timestamp::MAX);
        prop_assert!(end > request.now || decision.unchanged_until.is_none());
        let just_before = end.checked_sub(SignedDuration::from_nanos(1)).unwrap().max(request.now);
        for later in instants_between(request.now, just_before, &fractions).chain([just_before]) {
            let decided_later = Decision { evaluate_time: request.now, ..request.decide_at(later) };
            prop_assert_eq!(format!("{decided_later:?}"), format!("{decision:?}"), "at {}", later);
        }
    }

    #[test]
    fn announced_denial_comes_true(request in request()) {
        let decision = request.decide();

        for warning in &decision.warnings {
            let Some(from) = warning.deny_time else { continue };
            let Breach::Rule { rule, .. } = &warning.breach else { continue };
            let then = request.decide_at(from);
            let is_same = |violation: &Violation| {
                violation.policy == warning.policy && violation.manifest == warning.manifest
                    && matches!(&violation.breach, Breach::Rule { rule: other, .. } if other == rule)
            };
            let denies = then.violations.iter().any(is_same);
            // A scan that is pending by then hides the violations of rules.
            let is_hidden = then.manifests.iter().any(|manifest| manifest.digest == warning.manifest
                && manifest.verdict != Verdict::Allow);
            prop_assert!(denies || is_hidden, "{:?}\n{:?}", warning, then);
        }
    }
}

/// Returns instants between the first and the last, both included.
fn instants_between(first: Timestamp, last: Timestamp, fractions: &[f64]) -> impl Iterator<Item = Timestamp> {
    let length = last.duration_since(first);
    fractions.iter().map(move |fraction| {
        first
            .checked_add(SignedDuration::from_secs_f64(length.as_secs_f64() * fraction))
            .map_or(last, |at| at.min(last))
    })
}
