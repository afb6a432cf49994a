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
fn platform_has_os_architecture_and_options() {
    for text in ["linux/amd64", "linux/arm64/v8", "windows(10.0.17763.1)/amd64", "unknown/unknown"] {
        assert_eq!(Platform::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "linux",
        "linux/",
        "/amd64",
        "linux//v8",
        "linux/arm64/",
        "linux/arm64/v8/x",
        "linux/ amd64",
        "*/amd64",
        "windows()/amd64",
        "windows(10.0/amd64",
        "windows10.0)/amd64",
        "windows(10.0)x/amd64",
    ] {
        assert!(Platform::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn platform_without_variant_requests_every_variant() {
    let platform = |text: &str| Platform::parse(text).unwrap();

    assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
    assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("linux/arm64/v9").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("windows/arm64").satisfies(&platform("linux/arm64")));
}

#[test]
fn architecture_implies_variant() {
    let platform = |text: &str| Platform::parse(text).unwrap();

    for (bare, implied, other) in [
        ("linux/arm64", "linux/arm64/v8", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7", "linux/arm/v6"),
        ("linux/amd64", "linux/amd64/v1", "linux/amd64/v3"),
    ] {
        assert!(platform(bare).satisfies(&platform(implied)), "{bare}");
        assert!(!platform(bare).satisfies(&platform(other)), "{bare}");
        assert_eq!(platform(bare).into_stated(), platform(implied).into_stated());
    }
    assert_eq!(platform("linux/arm64/v8").into_stated().to_string(), "linux/arm64");
    assert_eq!(platform("linux/arm").into_stated().to_string(), "linux/arm/v7");
}

#[test]
fn request_without_os_version_stands_for_all() {
    let platform = |text: &str| Platform::parse(text).unwrap();
    let child = platform("windows(10.0.17763.1)/amd64");

    assert!(child.satisfies(&platform("windows/amd64")));
    assert!(child.satisfies(&child));
    assert!(!child.satisfies(&platform("windows(10.0.20348.1)/amd64")));
    assert!(!platform("windows/amd64").satisfies(&child));
}

#[test]
fn platform_names_follow_containerd() {
    for (written, normalized) in [
        ("Linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/AArch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64/v8"),
        ("linux/arm64/V9", "linux/arm64/v9"),
        ("linux/i386", "linux/386"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("macOS/arm64", "darwin/arm64"),
        ("Windows(10.0.17763.1)/AMD64", "windows(10.0.17763.1)/amd64"),
    ] {
        assert_eq!(Platform::parse(written).unwrap().to_string(), normalized, "{written}");
    }
}
