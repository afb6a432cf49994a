//! Tests of the check that a decision permits a deployment.

use super::*;
use crate::v1::{Image, ManifestDecision, Omitted, Violation};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const REFERENCE: &str =
    "registry.example/team/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn manifest() -> ManifestDecision {
    ManifestDecision {
        digest: DIGEST.into(),
        verdict: Verdict::Allow.into(),
        deploy_image: REFERENCE.into(),
        ..Default::default()
    }
}

fn allowed() -> v1::Decision {
    v1::Decision {
        verdict: Verdict::Allow.into(),
        image: Some(Image { digest: DIGEST.into(), ..Default::default() }),
        deploy_image: REFERENCE.into(),
        manifests: vec![manifest()],
        ..Default::default()
    }
}

fn refusal(message: v1::Decision) -> Refusal {
    Decision::from(message).require_allowed().unwrap_err().refusal
}

#[test]
fn enforced_allow_returns_pinned_reference() {
    assert_eq!(Decision::from(allowed()).require_allowed(), Ok(REFERENCE));
}

#[test]
fn other_decisions_are_refused_with_their_cause() {
    let not_pinned = |reference: &str| Refusal::NotPinned { reference: reference.into() };
    let with_reference = |reference: &str| v1::Decision { deploy_image: reference.into(), ..allowed() };
    let with_manifest = |verdict: i32| v1::Decision {
        manifests: vec![manifest(), ManifestDecision { verdict, ..manifest() }],
        ..allowed()
    };
    let other_digest = REFERENCE.replace('a', "b");
    let short = "registry.example/team/app@sha256:aaaa";
    let upper = REFERENCE.replace("aaaa", "AAAA");
    let cases = [
        (v1::Decision { verdict: 0, ..allowed() }, Refusal::UnknownVerdict(0)),
        (v1::Decision { verdict: 2, ..allowed() }, Refusal::Denied),
        (v1::Decision { verdict: 3, ..allowed() }, Refusal::Indeterminate),
        (v1::Decision { verdict: 99, ..allowed() }, Refusal::UnknownVerdict(99)),
        (v1::Decision { verdict: -1, ..allowed() }, Refusal::UnknownVerdict(-1)),
        (v1::Decision { manifests: Vec::new(), ..allowed() }, Refusal::NoManifests),
        (v1::Decision { violations: vec![Violation::default()], ..allowed() }, Refusal::Contradiction),
        (
            v1::Decision { omitted: Some(Omitted { violation_count: 1, ..Default::default() }), ..allowed() },
            Refusal::Contradiction,
        ),
        (
            v1::Decision { unreadable_detail: "unknown field".into(), ..allowed() },
            Refusal::Unreadable { cause: "unknown field".into() },
        ),
        (with_manifest(0), Refusal::ManifestNotAllowed { digest: DIGEST.into() }),
        (with_manifest(2), Refusal::ManifestNotAllowed { digest: DIGEST.into() }),
        (with_manifest(3), Refusal::ManifestNotAllowed { digest: DIGEST.into() }),
        (with_manifest(4), Refusal::ManifestNotAllowed { digest: DIGEST.into() }),
        (with_reference(""), Refusal::NoReference),
        (with_reference("registry.example/team/app:2.3.0"), not_pinned("registry.example/team/app:2.3.0")),
        (with_reference(short), not_pinned(short)),
        (with_reference(&upper), not_pinned(&upper)),
        (with_reference(&other_digest), not_pinned(&other_digest)),
        (with_reference(DIGEST), not_pinned(DIGEST)),
        (v1::Decision::default(), Refusal::UnknownVerdict(0)),
    ];

    for (message, expected) in cases {
        assert_eq!(refusal(message.clone()), expected, "{message:?}");
    }
}

#[test]
fn single_manifest_stands_for_its_index() {
    let index = Some(Image { digest: DIGEST.replace('a', "b"), ..Default::default() });
    let one = v1::Decision { image: index, ..allowed() };
    let two = v1::Decision { manifests: vec![manifest(), manifest()], ..one.clone() };

    assert_eq!(Decision::from(one).require_allowed(), Ok(REFERENCE));
    assert_eq!(refusal(two), Refusal::NotPinned { reference: REFERENCE.into() });
}

#[test]
fn selected_platforms_have_their_own_references() {
    let decision = Decision::from(v1::Decision { deploy_image: String::new(), ..allowed() });

    assert_eq!(decision.require_allowed_manifests(), Ok(vec![REFERENCE]));
}

#[test]
fn manifest_without_reference_is_refused() {
    let manifest = ManifestDecision { deploy_image: String::new(), ..manifest() };
    let decision = Decision::from(v1::Decision { manifests: vec![manifest], ..allowed() });

    assert_eq!(
        decision.require_allowed_manifests().unwrap_err().refusal,
        Refusal::NotPinned { reference: String::new() }
    );
}

#[test]
fn refusal_carries_reasons_and_retry_delay() {
    let decision = Decision::from(v1::Decision {
        verdict: Verdict::Indeterminate.into(),
        reasons: vec!["scan in progress".into()],
        retry_after: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..Default::default()
    });

    let refusal = decision.require_allowed().unwrap_err();

    assert_eq!(refusal.to_string(), "the server cannot decide yet: scan in progress; retry in 30 s");
}
