//! Documents from a newer server: a policy that is not understood denies what it matches, a waiver covers nothing.

use std::sync::Arc;

use proptest::{prelude::*, sample::Index};
use scangate_core::{
    Decision, Verdict, decide,
    decide::Selection,
    policy::{PolicySet, Revision},
    waiver,
};

use crate::{
    config,
    fixtures::{Request, image, request},
};

fn decide_under(request: &Request, set: &PolicySet) -> Decision {
    decide(&image(), request.environment.as_ref(), Selection::Governing(set), &request.inputs(), request.now)
}

fn not_understood() -> Vec<String> {
    vec!["unknown field `quorum`".to_owned()]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn policy_not_understood_denies_what_it_matches(request in request(), at in any::<Index>()) {
        let before = request.decide();
        let mut set = request.policy_set();
        let at = at.index(set.policies.len());
        let revision = set.policies.values_mut().nth(at).unwrap();
        *revision = Arc::new(Revision { not_understood: not_understood(), ..Revision::clone(revision) });
        let policy = revision.policy.clone();

        let after = decide_under(&request, &set);

        prop_assert!(after.verdict >= before.verdict);
        let image = image();
        if !policy.id.is_default()
            && policy.matches.governs(&image.registry, &image.repository, request.environment.as_ref())
        {
            prop_assert_eq!(after.verdict, Verdict::Deny);
            prop_assert_eq!(after.next_change, None);
        }
    }

    #[test]
    fn waiver_not_understood_covers_nothing(request in request(), at in any::<Index>()) {
        prop_assume!(!request.waivers.is_empty());
        let at = at.index(request.waivers.len());
        let mut set = request.policy_set();
        let stored = Arc::clone(set.waivers.get(&request.waivers[at].id).unwrap());
        let stored = waiver::Revision { not_understood: not_understood(), ..waiver::Revision::clone(&stored) };
        set.waivers.insert(Arc::new(stored));
        let mut without = request.policy_set();
        without.waivers.remove(&request.waivers[at].id);

        prop_assert_eq!(decide_under(&request, &set), decide_under(&request, &without));
    }
}
