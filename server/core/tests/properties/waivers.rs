//! The waived findings of a decision.

use proptest::prelude::*;

use crate::{config, fixtures::request};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn listed_waiver_is_in_force_and_matches(request in request()) {
        let decision = request.decide();

        for waived in &decision.waived {
            let waiver = request.waivers.iter().find(|waiver| waiver.id == waived.waiver).unwrap();
            prop_assert!(waiver.holds_at(request.now) && waived.until > request.now);
            prop_assert!(waiver.scope.matches(&waived.finding));
        }
        prop_assert_eq!(decision.waived.len(), decision.waived_total as usize);
    }
}
