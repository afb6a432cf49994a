//! Determinism: equal inputs give equal decisions, in any order, after a round trip through JSON, and at any instant.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*};
use scangate_core::{
    decide,
    decide::Selection,
    decision::ManifestInput,
    evidence::SETTLE_TIME,
    name::PolicyId,
    policy::{Match, Mode, PolicySet},
};
use scangate_test_fixtures::{policy_revision, waiver_revision};

use crate::{
    config,
    fixtures::{ManifestDraft, Request, any_manifest, any_scan, image, numbered, policy, request, request_over},
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn order_of_inputs_never_matters(request in request(), keys in vec(any::<u64>(), 8)) {
        let decision = request.decide();
        let mut shuffled = request.clone();
        shuffle(&mut shuffled.manifests, &keys);
        for ManifestDraft { scan, .. } in &mut shuffled.manifests {
            if let Some(findings) = &mut scan.findings {
                shuffle(findings, &keys);
            }
            shuffle(&mut scan.base.flaws, &keys);
        }
        shuffle(&mut shuffled.policies, &keys);
        shuffle(&mut shuffled.waivers, &keys);

        prop_assert_eq!(format!("{:?}", shuffled.decide()), format!("{decision:?}"));
    }

    #[test]
    fn json_round_trip_gives_equal_decision(request in request()) {
        let set = request.policy_set();
        let parsed_inputs: Vec<ManifestInput> = request
            .inputs()
            .into_iter()
            .map(|input| ManifestInput {
                manifest: through_json(&input.manifest),
                scan: Arc::new(through_json(&*input.scan)),
                start: through_json(&input.start),
                first_seen: Arc::new(through_json(&*input.first_seen)),
            })
            .collect();
        let policies = set.policies.values().map(|revision| through_json(&revision.policy));
        let parsed_set = PolicySet {
            revision: set.revision,
            policies: policies.map(|policy| (policy.id.clone(), policy_revision(&policy, 1))).collect(),
            waivers: request.waivers.iter().rev().map(|waiver| waiver_revision(&through_json(waiver), 1)).collect(),
        };
        let environment = request.environment.as_ref();

        let parsed = decide(&image(), environment, Selection::Governing(&parsed_set), &parsed_inputs, request.now);

        prop_assert_eq!(format!("{parsed:?}"), format!("{:?}", request.decide()));
        prop_assert_eq!(format!("{parsed:?}"), format!("{:?}", request.decide()));
    }

    #[test]
    fn evaluation_never_panics_at_any_instant(
        request in request_over(vec(any_manifest(any_scan(), false), 0..3).prop_map(numbered)),
        now in (Timestamp::MIN.as_second()..=Timestamp::MAX.as_second()),
        age in any::<(i64, i32)>(),
    ) {
        let mut request = request;
        request.now = Timestamp::from_second(now).unwrap();
        for policy in &mut request.policies {
            let age = Some(SignedDuration::new(age.0 / 2, age.1 % 1_000_000_000));
            (policy.scan.max_scan_age, policy.scan.max_source_age) = (age, age);
        }

        let decision = request.decide();

        prop_assert!(decision.retry_after.is_none_or(|after| after <= SETTLE_TIME && after > SignedDuration::ZERO));
    }

    #[test]
    fn simulation_equals_enforcement_of_policy_alone(request in request(), mut policy in policy()) {
        let drafted = policy_revision(&policy, 1);
        let selection = Selection::Only { policy: &drafted, waivers: &request.policy_set().waivers, revision: 1 };
        let simulated = decide(&image(), None, selection, &request.inputs(), request.now);
        policy.mode = Mode::Enforce;
        policy.matches = Match::default();
        policy.effective_time = None;
        policy.replaces_default = true;
        policy.id = PolicyId::parse("own").unwrap();
        let alone = Request { policies: vec![policy], environment: None, ..request };

        prop_assert_eq!(simulated.verdict, alone.decide().verdict);
    }
}

/// Reorders elements by keys that are independent of them.
fn shuffle<T>(elements: &mut [T], keys: &[u64]) {
    for (index, key) in keys.iter().enumerate() {
        if !elements.is_empty() {
            let other = usize::try_from(*key % elements.len() as u64).unwrap();
            elements.swap(index % elements.len(), other);
        }
    }
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}
