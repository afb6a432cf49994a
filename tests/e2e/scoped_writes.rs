//! Writes of policies and waivers stay within the grants of their caller, before and after the change.

use scangate_client::{
    Code,
    prost_types::FieldMask,
    v1::{
        DeletePolicyRequest, Policy, PolicyMatch, RevokeWaiverRequest, RollbackPolicyRequest, Severity,
        UpdatePolicyRequest, UpdateWaiverRequest, Waiver, WaiverScope,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{
    callers::{Callers, grant},
    create_policy_request, create_waiver_request, deny_findings_from, gate, rejection, status_rejection, waiver,
};

fn policy(name: &str, repositories: &[&str], environments: &[&str]) -> Policy {
    let list = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    let matches =
        PolicyMatch { repositories: list(repositories), environments: list(environments), ..Default::default() };
    Policy { name: name.to_owned(), r#match: Some(matches), ..deny_findings_from(Severity::Critical) }
}

#[tokio::test]
async fn policy_lies_within_scope_before_and_after_write() {
    let callers = Callers::new(
        &(grant("root", "admin", "")
            + &grant("author", "author", "repositories = [\"shop/*\"]\nenvironments = [\"prod\", \"dev*\"]")),
    );
    let gate = gate(World::demo()).callers(&callers).start().await;
    let (root, author) = (callers.client(&gate, "root").await, callers.client(&gate, "author").await);
    let wide = root.create_policy(create_policy_request("wide", policy("", &["*"], &[]))).await.unwrap();
    let inside = || policy("policies/mine", &["shop/*"], &["prod"]);
    author.create_policy(create_policy_request("mine", policy("", &["shop/api", "shop/w*"], &["prod"]))).await.unwrap();
    let update = |policy: Policy| UpdatePolicyRequest {
        policy: Some(Policy { etag: "*".into(), ..policy }),
        update_mask: Some(FieldMask { paths: vec!["match".into(), "rules".into()] }),
        ..Default::default()
    };

    assert!(author.policies().update_policy(update(inside())).await.is_ok());
    for outside in [
        policy("policies/mine", &["*"], &["prod"]),
        policy("policies/mine", &["shop/*", "pay/*"], &["prod"]),
        policy("policies/mine", &["shop/*"], &[]),
        policy("policies/mine", &["shop/*"], &["*"]),
        policy("policies/mine", &[], &["prod"]),
        // Before the change it applies to everything.
        policy("policies/wide", &["shop/*"], &["prod"]),
        policy("policies/default", &["shop/*"], &["prod"]),
    ] {
        let refused = status_rejection(author.policies().update_policy(update(outside.clone())).await);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "OUT_OF_SCOPE"), "{outside:?}");
    }
    let create = |policy| create_policy_request("other", policy);
    let outside = rejection(author.create_policy(create(policy("", &["pay/*"], &["prod"]))).await);
    let delete = DeletePolicyRequest { name: "policies/wide".into(), etag: "*".into(), ..Default::default() };
    let deleted = status_rejection(author.policies().delete_policy(delete).await);
    let rollback = RollbackPolicyRequest {
        name: "policies/wide".into(),
        revision: wide.revision,
        etag: "*".into(),
        ..Default::default()
    };
    let rolled_back = status_rejection(author.policies().rollback_policy(rollback).await);
    for refused in [outside, deleted, rolled_back] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "OUT_OF_SCOPE"), "{refused:?}");
    }
    let delete = DeletePolicyRequest { name: "policies/mine".into(), etag: "*".into(), ..Default::default() };
    assert!(author.policies().delete_policy(delete).await.is_ok());
}

#[tokio::test]
async fn replacing_the_default_needs_its_own_permission() {
    let role = "[role.loosener]\npermissions = [\"policy.read\", \"policy.write\", \"policy.replace_default\"]\n\n";
    let shop = "repositories = [\"shop/*\"]";
    let callers =
        Callers::new(&(role.to_owned() + &grant("author", "author", shop) + &grant("loosener", "loosener", shop)));
    let gate = gate(World::demo()).callers(&callers).start().await;
    let (author, loosener) = (callers.client(&gate, "author").await, callers.client(&gate, "loosener").await);
    let loose = |id: &str, repository: &str| {
        create_policy_request(id, Policy { replaces_default: Some(true), ..policy("", &[repository], &[]) })
    };

    let refused = rejection(author.create_policy(loose("loose", "shop/*")).await);
    let outside = rejection(loosener.create_policy(loose("loose", "pay/*")).await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "PERMISSION_MISSING"));
    assert_eq!(refused.metadata["permission"], "policy.replace_default");
    assert_eq!(outside.reason, "OUT_OF_SCOPE");
    assert!(loosener.create_policy(loose("loose", "shop/*")).await.is_ok());
    let create = create_policy_request("tight", policy("", &["shop/*"], &[]));
    author.create_policy(create).await.unwrap();
}

#[tokio::test]
async fn waiver_lies_within_scope_before_and_after_write() {
    let shop = "repositories = [\"shop/*\"]\nenvironments = [\"prod\"]";
    let callers = Callers::new(&(grant("root", "admin", "") + &grant("proposer", "proposer", shop)));
    let gate = gate(World::demo()).callers(&callers).start().await;
    let (root, proposer) = (callers.client(&gate, "root").await, callers.client(&gate, "proposer").await);
    let scoped = |name: &str, repository: &str, environment: &str| {
        let everywhere = (repository.is_empty() && environment.is_empty()).then_some(true);
        let scope = WaiverScope {
            vulnerability_id: "CVE-2026-1".into(),
            repository: repository.to_owned(),
            environment: environment.to_owned(),
            everywhere,
            ..Default::default()
        };
        Waiver { name: name.to_owned(), etag: "*".into(), scope: Some(scope), ..waiver("CVE-2026-1") }
    };
    root.policies().create_waiver(create_waiver_request("wide", scoped("", "", ""))).await.unwrap();
    let mut policies = proposer.policies();
    policies.create_waiver(create_waiver_request("mine", scoped("", "shop/api", "prod"))).await.unwrap();

    for (repository, environment) in
        [("", ""), ("shop/*", ""), ("", "prod"), ("pay/*", "prod"), ("*", "prod"), ("shop/*", "*")]
    {
        let create = create_waiver_request("other", scoped("", repository, environment));
        let refused = status_rejection(policies.create_waiver(create).await);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "OUT_OF_SCOPE"), "{repository}");
    }
    let update = |waiver| UpdateWaiverRequest { waiver: Some(waiver), ..Default::default() };
    let revoke = |name: &str| RevokeWaiverRequest {
        name: name.to_owned(),
        etag: "*".into(),
        reason: "fixed".into(),
        ..Default::default()
    };
    for refused in [
        status_rejection(policies.update_waiver(update(scoped("waivers/wide", "shop/api", "prod"))).await),
        status_rejection(policies.update_waiver(update(scoped("waivers/mine", "pay/core", "prod"))).await),
        status_rejection(policies.revoke_waiver(revoke("waivers/wide")).await),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "OUT_OF_SCOPE"), "{refused:?}");
    }
    assert!(policies.update_waiver(update(scoped("waivers/mine", "shop/*", "prod"))).await.is_ok());
    assert!(policies.revoke_waiver(revoke("waivers/mine")).await.is_ok());
}
