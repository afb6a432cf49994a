//! The waived findings of a decision.

use proptest::prelude::*;
use scangate_core::vulnerability_id::is_cve;

use crate::{config, fixtures::request};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn listed_waivers_are_in_force_and_cover(request in request()) {
        let decision = request.decide();

        for waived in &decision.waived {
            let finding = &waived.finding;
            let listed = |id: &str| {
                let waivers = waived.waivers.iter();
                let mut waivers = waivers.map(|applied| request.waivers.iter().find(|it| it.id == applied.id).unwrap());
                waivers.any(|waiver| waiver.holds_at(request.now) && waiver.scope.names(id, finding))
            };
            let mut cves = finding.related_ids.iter().filter(|id| is_cve(id));
            prop_assert!(listed(&finding.id) || cves.all(|id| listed(id)));
            prop_assert!(!waived.waivers.is_empty() && waived.waivers.is_sorted_by_key(|applied| applied.id.clone()));
            let first_end = waived.waivers.iter().map(|applied| applied.expire_time).min();
            prop_assert!(waived.expire_time > request.now && first_end == Some(waived.expire_time));
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
