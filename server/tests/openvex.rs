//! OpenVEX documents: which statements may become waivers, and limits on malicious documents.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

use proptest::prelude::*;
use scangate_server::waivers::openvex::{Error, MAX_BYTES, ParsedDocument, Statement, parse};

fn document(statements: &str) -> String {
    format!(
        r#"{{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "doc", "author": "ann", "statements": [{statements}]}}"#
    )
}

/// Parses one statement about a product: vulnerability, package and digest of each waivable part, and the number of skipped parts.
fn parse_statement(product: &str, status: &str) -> (Vec<(String, String, String)>, usize) {
    let statement = format!(
        r#"{{"vulnerability": {{"name": "CVE-1"}}, "products": [{product}], "status": "{status}", "justification": "why"}}"#
    );
    let parsed: ParsedDocument = parse(document(&statement).as_bytes()).unwrap();
    let texts = |statement: &Statement| {
        let package = statement.package.as_ref().map(ToString::to_string).unwrap_or_default();
        let digest = statement.digest.as_ref().map(ToString::to_string).unwrap_or_default();
        (statement.vulnerability.to_string(), package, digest)
    };
    (parsed.statements.iter().map(texts).collect(), parsed.skipped.len())
}

/// Checks a product whose waivable part has this package and digest; `None`: it is skipped.
fn check_product(product: &str, expected: Option<(&str, &str)>) {
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(package, digest)| ("CVE-1".to_owned(), package.to_owned(), digest.to_owned()))
        .collect();
    let skipped = usize::from(expected.is_empty());
    assert_eq!(parse_statement(product, "not_affected"), (expected.clone(), skipped), "{product}");
    assert_eq!(parse_statement(product, "fixed").0, expected, "{product}");
    for status in ["affected", "under_investigation", "fine"] {
        assert_eq!(parse_statement(product, status), (Vec::new(), 1), "{product} {status}");
    }
}

#[test]
fn product_becomes_its_package_or_image() {
    let a = "a".repeat(64);
    let digest = format!("sha256:{a}");
    let image = format!(r#"{{"@id": "pkg:oci/app@sha256%3A{a}?repository_url=x"}}"#);
    let within =
        format!(r#"{{"@id": "pkg:oci/app@sha256%3A{a}", "subcomponents": [{{"@id": "pkg:npm/%40scope/name"}}]}}"#);
    let by_hash = format!(r#"{{"@id": "pkg:oci/app", "hashes": {{"sha-256": "{a}"}}}}"#);
    let cases = [
        (r#"{"@id": "pkg:deb/debian/curl"}"#, ("curl", "")),
        (r#"{"@id": "pkg:maven/org.apache/log4j-core"}"#, ("org.apache:log4j-core", "")),
        (r#"{"@id": "x", "identifiers": {"purl": "pkg:pypi/requests"}}"#, ("requests", "")),
        (image.as_str(), ("", digest.as_str())),
        (within.as_str(), ("@scope/name", digest.as_str())),
        (by_hash.as_str(), ("", digest.as_str())),
    ];

    for (product, expected) in cases {
        check_product(product, Some(expected));
    }
}

#[test]
fn product_that_a_waiver_cannot_name_is_skipped() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let one_architecture =
        format!(r#"{{"@id": "pkg:oci/app@sha256%3A{a}?arch=amd64", "hashes": {{"sha-256": "{a}"}}}}"#);
    let another_hash = format!(r#"{{"@id": "pkg:oci/app@sha256%3A{a}", "hashes": {{"sha-256": "{b}"}}}}"#);
    let part = format!(r#"{{"@id": "pkg:oci/app@sha256%3A{a}#usr/lib"}}"#);
    // A waiver would cover more than these products, or cannot name them.
    let cases = [
        r#"{"@id": "pkg:deb/debian/curl@7.64"}"#,
        r#"{"@id": "pkg:deb/debian/curl?arch=amd64"}"#,
        r#"{"@id": "pkg:docker/library/nginx"}"#,
        r#"{"@id": "pkg:NPM/core"}"#,
        r#"{"@id": "pkg:generic/*"}"#,
        r#"{"@id": "https://example.com/product"}"#,
        r#"{"@id": "pkg:oci/app@latest"}"#,
        r#"{"@id": "pkg:npm/@scope/name@1.2.3"}"#,
        r#"{"@id": "pkg:npm/name", "hashes": {"sha-256": "00"}}"#,
        r#"{"@id": "pkg:npm/name@1", "identifiers": {"purl": "pkg:npm/name"}}"#,
        r#"{"@id": "x", "identifiers": {"purl": "pkg:npm/name", "cpe23": "cpe:2.3:a:x:name:1.2:*:*:*:*:*:*:*"}}"#,
        one_architecture.as_str(),
        another_hash.as_str(),
        part.as_str(),
    ];

    for product in cases {
        check_product(product, None);
    }
}

#[test]
fn contradiction_anywhere_prevails() {
    let statement = |product: &str, status: &str| {
        format!(
            r#"{{"vulnerability": {{"name": "CVE-1"}}, "products": [{product}], "status": "{status}", "justification": "why"}}"#
        )
    };
    let (curl, zlib) = (r#"{"@id": "pkg:deb/debian/curl"}"#, r#"{"@id": "pkg:deb/debian/zlib"}"#);
    let cases = [
        (statement(curl, "affected"), 0),
        (statement(curl, "under_investigation"), 0),
        (statement(r#"{"@id": "whatever"}"#, "affected"), 0),
        (statement("", "affected"), 0),
        (statement(zlib, "affected"), 1),
    ];

    for (contradiction, waivable) in cases {
        for statements in [
            [statement(curl, "not_affected"), contradiction.clone()],
            [contradiction.clone(), statement(curl, "fixed")],
        ] {
            let parsed = parse(document(&statements.join(",")).as_bytes()).unwrap();
            assert_eq!(parsed.statements.len(), waivable, "{statements:?}");
        }
    }
}

#[test]
fn contradiction_by_another_name_prevails() {
    let statement = |vulnerability: &str, product: &str, status: &str| {
        format!(
            r#"{{"vulnerability": {vulnerability}, "products": [{{"@id": "{product}"}}], "status": "{status}", "justification": "why"}}"#
        )
    };
    let (cve, ghsa) = (r#"{"name": "CVE-1"}"#, r#"{"name": "GHSA-1", "aliases": ["CVE-1"]}"#);
    let cases = [
        ("pkg:pypi/django", statement(ghsa, "pkg:pypi/django", "affected"), 0),
        ("pkg:pypi/django", statement(cve, "pkg:pypi/Django", "affected"), 0),
        ("pkg:pypi/a_b", statement(cve, "pkg:pypi/a-b", "affected"), 0),
        ("pkg:npm/%40acme/lib", statement(cve, "pkg:npm/@acme/lib@1.2.3", "affected"), 0),
        ("pkg:pypi/django", statement(cve, "pkg:pypi/flask", "affected"), 1),
    ];

    for (product, contradiction, waivable) in cases {
        let statements = format!("{},{contradiction}", statement(cve, product, "not_affected"));
        assert_eq!(parse(document(&statements).as_bytes()).unwrap().statements.len(), waivable, "{statements}");
    }
}

#[test]
fn oversized_document_is_refused() {
    assert!(matches!(parse(&vec![b' '; MAX_BYTES + 1]), Err(Error::TooLarge)));
    let many = vec![r#"{"vulnerability": {"name": "CVE-1"}, "status": "affected"}"#; 1001].join(",");
    assert!(matches!(parse(document(&many).as_bytes()), Err(Error::TooMany)));
    let aliases = [r#""a""#; 11].join(",");
    let named = format!(r#"{{"vulnerability": {{"name": "CVE-1", "aliases": [{aliases}]}}, "status": "affected"}}"#);
    assert!(matches!(parse(document(&named).as_bytes()), Err(Error::TooManyNames)));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(parse(deep.as_bytes()), Err(Error::Malformed(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn statement_never_covers_every_image(
        name in ".{0,20}", purl in "(pkg:)?[a-z]{0,4}/?[a-zA-Z0-9%@*/:?#.-]{0,30}", status in "not_affected|fixed|affected|.{0,5}",
    ) {
        let statement = serde_json::json!({
            "vulnerability": { "name": name }, "products": [{ "@id": purl }], "status": status, "justification": "why",
        });
        if let Ok(parsed) = parse(document(&statement.to_string()).as_bytes()) {
            for statement in parsed.statements {
                prop_assert!(statement.vulnerability.exact().is_some());
                prop_assert!(statement.digest.is_some() || statement.package.is_some());
                prop_assert!(statement.package.is_none_or(|package| package.exact().is_some()));
            }
        }
    }
}
