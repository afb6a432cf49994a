//! Repositories, digests, tags and platforms.

use scangate_core::{
    image::{Digest, Platform, RepositoryName, Tag, parse_repository},
    registry::Registry,
};

use crate::fixtures::{DIGEST, HOST};

#[test]
fn repositories_follow_grammar_of_ecr() {
    let good = [
        "ab",
        "a1",
        "12",
        "a/b",
        "team/app",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a--b",
        "a-----b",
        "a/b/c/d/e",
        "a.b_c__d-e",
        "0/0",
        "r2.d2/c-3__p.o",
    ];
    let bad = [
        "", "a", "A", "AB", "team/App", "a..b", "a___b", "a._b", "a-_b", "a_-b", "a.-b", "-a", "a-", ".a", "a.", "_a",
        "a_", "/a", "a/", "a//b", "a/-b", "a/.b", "a b", "a:b", "a@b", "a*b", "ab\n", "ä/b", "a/é", "..", "a/../b",
    ];
    let longest = "a".repeat(256);

    for text in good.into_iter().chain([longest.as_str()]) {
        assert!(RepositoryName::parse(text).is_ok(), "{text:?}");
    }
    for text in bad {
        assert!(RepositoryName::parse(text).is_err(), "{text:?}");
    }
    assert!(RepositoryName::parse(&"a".repeat(257)).is_err());
}

#[test]
fn repository_parses_with_and_without_registry() {
    let alone = parse_repository("team/app").unwrap();
    let whole = parse_repository(&format!("{HOST}/team/app")).unwrap();

    assert_eq!(alone, (None, RepositoryName::parse("team/app").unwrap()));
    assert_eq!(whole, (Some(Registry::from_host(HOST).unwrap()), alone.1));
    for text in ["", "team/app:1", "evil.com/app", &format!("team/app@{DIGEST}"), &format!("{HOST}/")] {
        assert!(parse_repository(text).is_err(), "{text}");
    }
}

#[test]
fn digest_is_sha256_in_lower_case() {
    let hex = "0123456789abcdef".repeat(4);
    let bad = [
        String::new(),
        hex.clone(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha512:{hex}"),
        format!("sha256:{hex}0"),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{}g", &hex[1..]),
        format!("sha256: {}", &hex[1..]),
        format!("sha256:{hex}\n"),
        format!("sha256:{}é", &hex[2..]),
    ];

    assert!(Digest::parse(&format!("sha256:{hex}")).is_ok());
    for text in bad {
        assert!(Digest::parse(&text).is_err(), "{text:?}");
    }
}

#[test]
fn tags_follow_length_and_characters() {
    let longest = "x".repeat(128);
    for text in ["1", "latest", "v1.2.3-rc.1_x", "A", "_", longest.as_str()] {
        assert!(Tag::parse(text).is_ok(), "{text:?}");
    }
    for text in ["", ".1", "-1", "a+b", "a/b", "a b", "ä", "a\0", &"x".repeat(129)] {
        assert!(Tag::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn platform_has_os_architecture_and_optional_variant() {
    for text in ["linux/amd64", "linux/arm64/v8", "windows/amd64", "unknown/unknown"] {
        assert_eq!(Platform::parse(text).unwrap().to_string(), text);
    }
    for text in
        ["", "linux", "linux/", "/amd64", "linux//v8", "linux/arm64/", "linux/arm64/v8/x", "linux/ amd64", "*/amd64"]
    {
        assert!(Platform::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn platform_without_variant_requests_every_variant() {
    let platform = |text: &str| Platform::parse(text).unwrap();

    assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
    assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("linux/arm64/v7").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("windows/arm64").satisfies(&platform("linux/arm64")));
}
