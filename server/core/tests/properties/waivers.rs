//! The waived findings of a decision.

use proptest::prelude::*;
use scangate_core::vulnerability_id::is_cve;

use crate::{config, fixtures::request};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn listed_waiver_is_in_force_and_matches(request in request()) {
        let decision = request.decide();

        for waived in &decision.waived {
            let waiver = request.waivers.iter().find(|waiver| waiver.id == waived.waiver).unwrap();
            prop_assert!(waiver.holds_at(request.now) && waived.expire_time > request.now);
            let finding = &waived.finding;
            let mut ids = std::iter::once(&finding.id).chain(&finding.related_ids);
            prop_assert!(ids.any(|id| waiver.scope.names(id, finding)));
        }
        prop_assert_eq!(decision.waived.len(), decision.waived_count as usize);
    }

    /// A plain evaluation of the rule for related ids, without intervals and indexes.
    #[test]
    fn waiver_for_one_of_two_cves_never_covers(request in request()) {
        let waived = request.decide().waived;

        for finding in waived.iter().map(|waived| &waived.finding) {
            let is_waived = |id: &str| {
                let mut waivers = request.waivers.iter();
                waivers.any(|waiver| waiver.holds_at(request.now) && waiver.scope.names(id, finding))
            };
            let mut cves = finding.related_ids.iter().filter(|id| is_cve(id)).peekable();
            let through_related = !is_cve(&finding.id) && cves.peek().is_some() && cves.all(|id| is_waived(id));
            prop_assert!(is_waived(&finding.id) || through_related);
        }
    }
}
