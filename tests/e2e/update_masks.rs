//! Updates with masks, and the notes on what a write empties, loosens or widens.

use scangate_client::{
    Code,
    prost_types::FieldMask,
    v1::{
        ApproveWaiverRequest, DeletePolicyRequest, Platform, Policy, PolicyMatch, PolicyMode, RevokeWaiverRequest,
        RollbackPolicyRequest, ScanRequirements, Severity, ShortfallAction, UpdatePolicyRequest, UpdateWaiverRequest,
        UpdateWaiverResponse, Waiver, WaiverConditions, WaiverScope,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, config, deny_findings_from, gate, rejection, status_rejection, waiver};

const CVE: &str = "CVE-2022-2274";

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

fn narrow_waiver() -> Waiver {
    let scope = WaiverScope {
        vulnerability_id: CVE.into(),
        package: "openssl".into(),
        repository: "shop/*".into(),
        platform: Some(Platform {
            os: "linux".into(),
            architecture: "arm".into(),
            variant: "v6".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let conditions = WaiverConditions { until_fixed: Some(true), max_epss: Some(0.5), ..Default::default() };
    Waiver { scope: Some(scope), conditions: Some(conditions), ..waiver(CVE) }
}

async fn gate_with_narrow_waiver() -> (Gate, Waiver) {
    let gate = gate(World::demo()).start().await;
    let waiver = gate.create_waiver("w", narrow_waiver()).await;
    (gate, waiver)
}

async fn update(
    gate: &Gate,
    change: Waiver,
    update_mask: Option<FieldMask>,
) -> Result<UpdateWaiverResponse, tonic::Status> {
    let change = Waiver { name: "waivers/w".into(), etag: "*".into(), ..change };
    let request = UpdateWaiverRequest { waiver: Some(change), update_mask, ..Default::default() };
    Ok(gate.client.policies().update_waiver(request).await?.into_inner())
}

#[tokio::test]
async fn update_without_mask_keeps_unset_fields() {
    let (gate, before) = gate_with_narrow_waiver().await;
    let scope = WaiverScope { repository: "shop/web".into(), ..Default::default() };
    let change = Waiver { scope: Some(scope), ticket: "SEC-1".into(), ..Default::default() };

    let updated = update(&gate, change, None).await.unwrap();

    let waiver = updated.waiver.unwrap();
    let scope = WaiverScope { repository: "shop/web".into(), ..before.scope.unwrap() };
    assert_eq!((waiver.scope, waiver.conditions), (Some(scope), before.conditions));
    assert_eq!((waiver.ticket.as_str(), waiver.reason.as_str()), ("SEC-1", "not reachable"));
    assert_eq!((waiver.start_time, waiver.expire_time), (before.start_time, before.expire_time));
    assert!(
        !updated.notes.iter().any(|note| note.contains("widens") || note.contains("no longer")),
        "{:?}",
        updated.notes
    );
}

#[tokio::test]
async fn masked_fields_are_replaced_and_emptied() {
    let (gate, before) = gate_with_narrow_waiver().await;
    let scope = WaiverScope { repository: "*".into(), everywhere: Some(true), ..Default::default() };
    let change = Waiver { scope: Some(scope), reason: "ignored".into(), ..Default::default() };
    let paths = ["scope.repository", "scope.package", "scope.everywhere", "conditions.max_epss"];

    let updated = update(&gate, change, Some(mask(&paths))).await.unwrap();

    let waiver = updated.waiver.unwrap();
    let scope = waiver.scope.unwrap();
    assert_eq!((scope.repository.as_str(), scope.package.as_str(), scope.everywhere()), ("*", "", true));
    assert_eq!((scope.platform, waiver.reason), (before.scope.unwrap().platform, before.reason));
    assert_eq!(waiver.conditions.unwrap(), WaiverConditions { until_fixed: Some(true), ..Default::default() });
    for part in [
        "widens the waiver in scope.package, scope.repository, conditions.max_epss:",
        "scope.package was set and no longer is",
        "conditions.max_epss was set and no longer is",
    ] {
        assert!(updated.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", updated.notes);
    }
}

#[tokio::test]
async fn platform_of_waiver_is_changed_by_its_fields() {
    let (gate, before) = gate_with_narrow_waiver().await;
    let scope = before.scope.clone().unwrap();
    let narrow = Platform { os_version: "1".into(), ..scope.platform.clone().unwrap() };
    let scope_with = |platform| Some(WaiverScope { platform, ..scope.clone() });
    let change = Waiver { scope: scope_with(Some(narrow.clone())), ..Default::default() };
    update(&gate, change, None).await.unwrap();

    // This caller knows neither variants nor versions of operating systems.
    let known = Platform { os: "linux".into(), architecture: "riscv64".into(), ..Default::default() };
    let change = Waiver { scope: scope_with(Some(known)), ..Default::default() };
    let changed = update(&gate, change, None).await.unwrap().waiver.unwrap();
    let paths = ["os", "architecture", "variant", "os_version"].map(|field| format!("scope.platform.{field}"));
    let paths = paths.each_ref().map(String::as_str);
    let emptied = update(&gate, Waiver::default(), Some(mask(&paths))).await.unwrap().waiver.unwrap();

    let expected = Platform { architecture: "riscv64".into(), ..narrow };
    assert_eq!(changed.scope, scope_with(Some(expected)));
    assert_eq!(emptied.scope, scope_with(None));
}

#[tokio::test]
async fn star_mask_replaces_whole_waiver() {
    let (gate, before) = gate_with_narrow_waiver().await;
    let without_times = update(&gate, waiver(CVE), Some(mask(&["*"]))).await;
    let whole = Waiver { start_time: before.start_time, expire_time: before.expire_time, ..waiver(CVE) };

    let updated = update(&gate, whole.clone(), Some(mask(&["*"]))).await.unwrap();

    let refused = status_rejection(without_times);
    let fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["waiver.start_time", "waiver.expire_time"]);
    let waiver = updated.waiver.unwrap();
    assert_eq!((waiver.scope, waiver.conditions), (whole.scope, None));
    for path in ["scope.package", "scope.repository", "scope.platform", "conditions"] {
        let note = format!("{path} was set and no longer is");
        assert!(updated.notes.contains(&note), "{note}: {:?}", updated.notes);
    }
}

#[tokio::test]
async fn refused_mask_paths_name_valid_ones() {
    let (gate, before) = gate_with_narrow_waiver().await;
    let cases = [
        ("nonsense", "scope, conditions, reason, ticket, start_time, expire_time"),
        ("state", "scope, conditions, reason, ticket, start_time, expire_time"),
        ("etag", "scope, conditions, reason, ticket, start_time, expire_time"),
        ("scope", "scope.vulnerability_id, scope.package, scope.repository"),
        ("scope.platform", "scope.platform.os, scope.platform.architecture"),
        ("conditions", "conditions.until_fixed, conditions.max_severity"),
        ("scope.nonsense", "scope.vulnerability_id, scope.package, scope.repository"),
        ("expire_time.seconds", "must end with expire_time"),
        ("", "scope, conditions, reason"),
        ("*", "only path"),
    ];
    for (path, part) in cases {
        let refused = status_rejection(update(&gate, before.clone(), Some(mask(&["reason", path]))).await);

        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
        let violation = &refused.violations[0];
        assert_eq!(violation.field, "update_mask.paths[1]", "{path}");
        assert!(violation.description.contains(part), "{path}: {}", violation.description);
    }
}

#[tokio::test]
async fn waiver_update_without_etag_is_refused() {
    let (gate, _) = gate_with_narrow_waiver().await;
    let change = Waiver { name: "waivers/w".into(), ticket: "SEC-1".into(), ..Default::default() };
    let request = UpdateWaiverRequest { waiver: Some(change), ..Default::default() };

    let refused = status_rejection(gate.client.policies().update_waiver(request).await);
    let empty = status_rejection(gate.client.policies().update_waiver(UpdateWaiverRequest::default()).await);

    assert_eq!(refused.violations[0].field, "waiver.etag");
    assert_eq!(empty.violations[0].field, "waiver");
}

async fn gate_with_policy() -> (Gate, Policy) {
    let gate = gate(World::demo()).start().await;
    let scan = ScanRequirements {
        max_scan_age: Some(scangate_client::prost_types::Duration { seconds: 86_400, nanos: 0 }),
        too_old: ShortfallAction::StartScan.into(),
        ..Default::default()
    };
    let matches = PolicyMatch { repositories: vec!["shop/*".into()], ..Default::default() };
    let policy = Policy { scan: Some(scan), r#match: Some(matches), ..deny_findings_from(Severity::High) };
    let policy = gate.create_policy("p", policy).await.policy.unwrap();
    (gate, policy)
}

fn change_of(policy: &Policy, change: Policy, update_mask: Option<FieldMask>) -> UpdatePolicyRequest {
    let change = Policy { name: policy.name.clone(), etag: policy.etag.clone(), ..change };
    UpdatePolicyRequest { policy: Some(change), update_mask, ..Default::default() }
}

#[tokio::test]
async fn policy_mask_changes_only_named_fields() {
    let (gate, before) = gate_with_policy().await;
    let scan = ScanRequirements { too_old: ShortfallAction::Warn.into(), ..Default::default() };
    let change = Policy { scan: Some(scan), description: "ignored".into(), ..Default::default() };

    let updated = gate.client.update_policy(change_of(&before, change, Some(mask(&["scan.too_old"])))).await.unwrap();

    let policy = updated.policy.unwrap();
    let scan = ScanRequirements { too_old: ShortfallAction::Warn.into(), ..before.scan.unwrap() };
    assert_eq!((policy.scan, policy.rules, policy.r#match), (Some(scan), before.rules, before.r#match));
    assert_eq!(policy.description, "");
    assert_eq!(updated.notes, ["this write loosens the policy in scan.too_old: it can allow what it denied before"]);
}

#[tokio::test]
async fn named_list_of_policy_is_replaced_whole() {
    let (gate, before) = gate_with_policy().await;

    let emptied = change_of(&before, Policy::default(), Some(mask(&["rules", "match"])));
    let updated = gate.client.update_policy(emptied).await.unwrap();
    let present = Policy { etag: "*".into(), ..before.clone() };
    let refused =
        rejection(gate.client.update_policy(change_of(&present, before.clone(), Some(mask(&["rules.id"])))).await);

    let policy = updated.policy.unwrap();
    assert!(policy.rules.is_empty() && policy.r#match.is_none() && policy.scan == before.scan);
    for part in ["loosens the policy in rules.none:", "rules was set and no longer is", "match was set and no"] {
        assert!(updated.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", updated.notes);
    }
    assert!(refused.violations[0].description.contains("must end with rules"), "{:?}", refused.violations);
}

#[tokio::test]
async fn looser_policy_writes_are_noted() {
    let (gate, policy) = gate_with_policy().await;
    let warning = Policy { mode: PolicyMode::Warn.into(), ..Default::default() };
    let updated = gate.client.update_policy(change_of(&policy, warning, None)).await.unwrap();
    let rollback = RollbackPolicyRequest {
        name: policy.name.clone(),
        revision: policy.revision,
        etag: "*".into(),
        ..Default::default()
    };
    let restored = gate.client.policies().rollback_policy(rollback).await.unwrap().into_inner();
    let narrow = PolicyMatch { repositories: vec!["shop/web".into()], ..Default::default() };
    let narrowed = Policy { r#match: Some(narrow), ..Default::default() };
    let narrowed = gate.client.update_policy(change_of(&restored.policy.unwrap(), narrowed, None)).await.unwrap();
    let delete = DeletePolicyRequest { name: policy.name, etag: "*".into(), ..Default::default() };
    let deleted = gate.client.delete_policy(delete).await.unwrap();

    assert!(updated.notes.iter().any(|note| note.contains("loosens the policy in mode:")), "{:?}", updated.notes);
    assert!(!restored.notes.iter().any(|note| note.contains("loosens")), "{:?}", restored.notes);
    assert!(narrowed.notes[0].contains("loosens the policy in match.repositories:"), "{:?}", narrowed.notes);
    assert!(deleted.notes[0].contains("this deletion loosens"), "{:?}", deleted.notes);
}

#[tokio::test]
async fn second_revocation_is_noted() {
    let (gate, waiver) = gate_with_narrow_waiver().await;
    let revoke =
        RevokeWaiverRequest { name: waiver.name, etag: "*".into(), reason: "over".into(), ..Default::default() };

    let first = gate.client.policies().revoke_waiver(revoke.clone()).await.unwrap().into_inner();
    let second = gate.client.policies().revoke_waiver(revoke).await.unwrap().into_inner();

    assert!(!first.notes.iter().any(|note| note.contains("already revoked")), "{:?}", first.notes);
    assert!(second.notes[0].contains("already revoked"), "{:?}", second.notes);
}

#[tokio::test]
async fn approval_needs_an_identity() {
    let (gate, waiver) = gate_with_narrow_waiver().await;
    let approve = |name: &str, etag: &str| {
        let request = ApproveWaiverRequest { name: name.into(), etag: etag.into(), ..Default::default() };
        let mut policies = gate.client.policies();
        async move { policies.approve_waiver(request).await }
    };

    let refused = status_rejection(approve("waivers/w", &waiver.etag).await);
    let invalid = status_rejection(approve("w", "").await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "IDENTITY_REQUIRED"));
    let fields: Vec<&str> = invalid.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["name", "etag"]);
    assert_eq!((waiver.requested_by.as_str(), waiver.approved_by.as_str()), ("anonymous", ""));
    assert_eq!(waiver.approve_time, None);
}

#[tokio::test]
async fn server_without_identities_demands_no_approval() {
    let flags = ["--waiver-needs-approver".to_owned()];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();

    let refused = scangate_server::serve(config(&flags), listener, std::future::pending()).await.unwrap_err();

    assert!(refused.to_string().contains("waivers cannot be approved without callers with an identity"), "{refused}");
}
