//! ImportWaivers: OpenVEX documents.

use scangate_client::{
    Code,
    v1::{
        ImportWaiversRequest, ImportWaiversResponse, Verdict, WaiverTemplate, WaiverTemplateScope,
        import_waivers_request::Document,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, gate, status_rejection};

/// The only finding that denies [`IMAGE`] in the demo.
const CVE: &str = "CVE-2022-2274";
const IMAGE: &str = "shop/worker:3.1.0";
/// The products of the first statement of [`document`].
const PRODUCTS: &str = r#"[{"@id": "pkg:deb/debian/openssl"}]"#;

/// A document with one statement that excuses the finding, and two that do not become waivers.
fn document() -> String {
    format!(
        r#"{{
          "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "Security",
          "timestamp": "2026-01-01T00:00:00Z", "version": 1,
          "statements": [
            {{"vulnerability": {{"name": "{CVE}"}}, "products": {PRODUCTS},
              "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"}},
            {{"vulnerability": {{"name": "CVE-2022-0001"}}, "products": [{{"@id": "pkg:deb/debian/openssl"}}],
              "status": "under_investigation"}},
            {{"vulnerability": {{"name": "CVE-2022-0002"}}, "products": [{{"@id": "pkg:deb/debian/openssl@1.1"}}],
              "status": "fixed"}}
          ]
        }}"#
    )
}

/// An import of a document for the repositories of the shop.
fn shop_import(document: &str) -> ImportWaiversRequest {
    let template = template(WaiverTemplateScope { repository: "shop/*".into(), ..Default::default() });
    ImportWaiversRequest {
        document: Some(Document::OpenvexJson(document.to_owned())),
        template: Some(template),
        ..Default::default()
    }
}

fn template(scope: WaiverTemplateScope) -> WaiverTemplate {
    WaiverTemplate { scope: Some(scope), ..Default::default() }
}

async fn import(gate: &Gate, request: ImportWaiversRequest) -> ImportWaiversResponse {
    gate.client.policies().import_waivers(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn vex_import_creates_waivers_and_lists_skipped() {
    let gate = gate(World::demo()).start().await;
    let dry_run = ImportWaiversRequest { validate_only: true, ..shop_import(&document()) };

    let previewed = import(&gate, dry_run).await;
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny);
    let imported = import(&gate, shop_import(&document())).await;
    let again = import(&gate, shop_import(&document())).await;

    assert_eq!((previewed.waivers.len(), previewed.skipped.len()), (1, 2));
    let waiver = &imported.waivers[0];
    let scope = waiver.scope.as_ref().unwrap();
    assert_eq!((scope.package.as_str(), scope.repository.as_str()), ("openssl", "shop/*"));
    assert_eq!(waiver.reason, "not_affected: vulnerable_code_not_in_execute_path; stated by Security");
    assert_eq!(waiver.ticket, "https://example.com/vex/1");
    assert!(again.waivers.is_empty() && again.skipped.iter().any(|skipped| skipped.detail.contains("already exists")));
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn vex_import_without_repository_is_skipped() {
    let gate = gate(World::demo()).start().await;

    // Without a repository, the waiver would cover the package in every image.
    let imported = import(&gate, ImportWaiversRequest { template: None, ..shop_import(&document()) }).await;

    assert!(imported.waivers.is_empty());
    assert!(imported.skipped.iter().any(|skipped| skipped.detail.contains("template.scope.repository")));
}

#[tokio::test]
async fn vex_import_everywhere_needs_no_repository() {
    let gate = gate(World::demo()).start().await;
    let within = |scope| ImportWaiversRequest { template: Some(template(scope)), ..shop_import(&document()) };

    let everywhere = import(&gate, within(WaiverTemplateScope { everywhere: Some(true), ..Default::default() })).await;
    let anywhere = import(&gate, within(WaiverTemplateScope { repository: "*".into(), ..Default::default() })).await;

    assert_eq!((everywhere.waivers.len(), anywhere.waivers.len()), (1, 0));
    assert!(everywhere.waivers[0].scope.as_ref().unwrap().everywhere());
    assert!(everywhere.notes[0].contains("this gate has seen no finding"), "{:?}", everywhere.notes);
}

/// A document in which a statement excuses CVE-2025-55182, and another one has this status, name and aliases.
fn document_with_doubt(status: &str, name: &str, aliases: &str) -> String {
    let product = r#"[{"@id": "pkg:npm/next"}]"#;
    format!(
        r#"{{
          "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/35", "author": "Security",
          "statements": [
            {{"vulnerability": {{"name": "CVE-2025-55182", "aliases": ["SNYK-1"]}}, "products": {product},
              "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"}},
            {{"vulnerability": {{"name": "GHSA-1", "aliases": ["snyk-1", "OSV-1"]}}, "products": {product},
              "status": "fixed"}},
            {{"vulnerability": {{"name": "{name}", "aliases": [{aliases}]}}, "products": {product},
              "status": "{status}"}}
          ]
        }}"#
    )
}

#[tokio::test]
async fn vex_doubt_under_any_alias_prevents_waiver() {
    let gate = gate(World::demo()).start().await;

    for (status, name, aliases, waivers) in [
        ("affected", "GHSA-9qv9-x3m4-v8cp", r#""CVE-2025-55182""#, 0),
        ("under_investigation", "GHSA-9qv9-x3m4-v8cp", r#""cve-2025-55182""#, 0),
        // Through a third name.
        ("affected", "OSV-1", "", 0),
        ("affected", "OSV-2", "", 2),
    ] {
        let dry_run =
            ImportWaiversRequest { validate_only: true, ..shop_import(&document_with_doubt(status, name, aliases)) };
        let imported = import(&gate, dry_run).await;

        assert_eq!(imported.waivers.len(), waivers, "{status} {name}: {:?}", imported.skipped);
        assert!(imported.skipped.iter().any(|skipped| skipped.detail.contains("its aliases are not used (SNYK-1)")));
    }
}

#[tokio::test]
async fn contradicting_vex_document_lists_existing_waiver() {
    let gate = gate(World::demo()).start().await;
    let waiver = import(&gate, shop_import(&document())).await.waivers.remove(0);
    let stands =
        format!("{}, from an earlier import, is contradicted by this document but still in force", waiver.name);

    // A contradiction is listed for every spelling of the product, even if the import names no repository.
    for (products, is_listed) in [
        (PRODUCTS, true),
        (r#"[{"@id": "pkg:deb/debian/OpenSSL"}]"#, true),
        (r#"[{"@id": "pkg:deb/debian/openssl@1.1"}]"#, true),
        ("[]", true),
        (r#"[{"@id": "pkg:deb/debian/zlib"}]"#, false),
    ] {
        let affected = document().replacen("not_affected", "affected", 1).replacen(PRODUCTS, products, 1);
        let imported = import(&gate, ImportWaiversRequest { template: None, ..shop_import(&affected) }).await;

        assert_eq!(imported.skipped.iter().any(|skipped| skipped.detail.starts_with(&stands)), is_listed, "{products}");
    }
}

#[tokio::test]
async fn invalid_vex_document_is_rejected() {
    let gate = gate(World::demo()).start().await;

    for openvex in ["", "{}", "[1]", r#"{"@context": "https://openvex.dev/ns/v9.9.9", "statements": []}"#] {
        let request =
            ImportWaiversRequest { document: Some(Document::OpenvexJson(openvex.into())), ..Default::default() };
        let refused = status_rejection(gate.client.policies().import_waivers(request).await);

        assert_eq!(
            (refused.code, refused.violations[0].field.as_str()),
            (Code::InvalidArgument, "openvex_json"),
            "{openvex}"
        );
    }
}
