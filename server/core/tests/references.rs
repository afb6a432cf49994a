//! How images, registries and platforms are named: every form that ECR gives, and what only looks like one.

use proptest::prelude::*;
use scangate_core::{
    image::{Digest, Error, Image, ImageReference, MAX_REFERENCE, Platform, RepositoryName, Tag, parse_repository},
    registry::{self, Registry},
};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// A host of ECR, the region that it means, and the host that ECR gives that registry by default.
const HOSTS: &[(&str, &str, &str)] = &[
    (HOST, "eu-west-1", HOST),
    ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1", "123456789012.dkr.ecr.us-east-1.amazonaws.com"),
    ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1", HOST),
    ("123456789012.dkr-ecr-fips.us-west-2.on.aws", "us-west-2", "123456789012.dkr.ecr.us-west-2.amazonaws.com"),
    (
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
        "us-gov-west-1",
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
    ),
    (
        "123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com",
        "us-gov-east-1",
        "123456789012.dkr.ecr.us-gov-east-1.amazonaws.com",
    ),
    (
        "123456789012.dkr-ecr-fips.us-gov-west-1.on.aws",
        "us-gov-west-1",
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
    ),
    (
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "cn-north-1",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
    ),
    (
        "123456789012.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn",
        "cn-northwest-1",
        "123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn",
    ),
    (
        "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
        "eusc-de-east-1",
        "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
    ),
    ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov"),
    (
        "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
        "us-isob-east-1",
        "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
    ),
    (
        "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
        "eu-isoe-west-1",
        "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
    ),
    (
        "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
        "us-isof-south-1",
        "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
    ),
];

const NO_HOSTS: &[&str] = &[
    "",
    ".",
    "localhost",
    "evil.com",
    "amazonaws.com",
    "public.ecr.aws",
    "ghcr.io",
    "docker.io",
    "dkr.ecr.eu-west-1.amazonaws.com",
    ".dkr.ecr.eu-west-1.amazonaws.com",
    "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
    "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
    "12345678901a.dkr.ecr.eu-west-1.amazonaws.com",
    "١٢٣٤٥٦٧٨٩٠١٢.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com.",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
    "123456789012.dkr.ecr.eu-west-1.evilamazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com",
    "123456789012.dkr.ecr.evil.com.eu-west-1.amazonaws.com",
    "evil.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "user@123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.org",
    "123456789012.dkr.ecr..amazonaws.com",
    "123456789012.dkr.ecr.amazonaws.com",
    "123456789012.dkr.ecr.eu-west.amazonaws.com",
    "123456789012.dkr.ecr.1.amazonaws.com",
    "123456789012.dkr.ecr.eu_west_1.amazonaws.com",
    "123456789012.dkr.ecr.EU-WEST-1.amazonaws.com",
    "123456789012.DKR.ECR.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.AMAZONAWS.COM",
    "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.on.aws",
    "123456789012.dkr.ecr.eu-west-1.amazоnaws.com",
    " 123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com\n",
];

/// A host, and the domain that its region does not belong to.
const WRONG_PARTITIONS: &[(&str, &str)] = &[
    ("123456789012.dkr.ecr.cn-north-1.amazonaws.com", "amazonaws.com"),
    ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn", "amazonaws.com.cn"),
    ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com.cn", "amazonaws.com.cn"),
    ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.com", "amazonaws.com"),
    ("123456789012.dkr.ecr.eu-west-1.amazonaws.eu", "amazonaws.eu"),
    ("123456789012.dkr.ecr.us-iso-east-1.amazonaws.com", "amazonaws.com"),
    ("123456789012.dkr.ecr.us-isob-east-1.c2s.ic.gov", "c2s.ic.gov"),
    ("123456789012.dkr-ecr.cn-north-1.on.aws", "on.aws"),
];

#[test]
fn every_form_of_host_names_its_registry() {
    for (host, region, default) in HOSTS {
        let registry = Registry::from_host(host).unwrap();

        assert_eq!((registry.account(), registry.region()), ("123456789012", *region), "{host}");
        assert_eq!(registry.host(), *default, "{host}");
        assert_eq!(Registry::parse(&registry.to_string()), Ok(registry.clone()), "{host}");
        assert_eq!(Registry::from_host(&registry.host()), Ok(registry), "{host}");
    }
}

#[test]
fn what_only_looks_like_a_host_of_ecr_is_refused() {
    for host in NO_HOSTS {
        assert_eq!(Registry::from_host(host), Err(registry::Error::Form), "{host}");
    }
}

#[test]
fn a_region_under_the_domain_of_another_partition_is_refused() {
    for (host, domain) in WRONG_PARTITIONS {
        let refused = Registry::from_host(host);

        assert!(
            matches!(&refused, Err(registry::Error::Partition { suffix, .. }) if suffix == domain),
            "{host}: {refused:?}"
        );
    }
}

#[test]
fn a_registry_is_named_by_account_and_region_too() {
    assert_eq!(Registry::parse("123456789012/eu-west-1"), Registry::new("123456789012", "eu-west-1"));
    for given in ["123456789012/", "/eu-west-1", "123456789012/eu-west-1/x", "123456789012/*", "12/eu-west-1"] {
        assert_eq!(Registry::parse(given), Err(registry::Error::Form), "{given}");
    }
}

#[test]
fn an_image_has_a_tag_or_a_digest_or_both() {
    let cases = [
        ("team/app:1.0".to_owned(), Some("1.0"), None),
        (format!("team/app@{DIGEST}"), None, Some(DIGEST)),
        (format!("team/app:1.0@{DIGEST}"), Some("1.0"), Some(DIGEST)),
    ];
    for (named, tag, digest) in cases {
        for (given, host) in [(named.clone(), None), (format!("{HOST}/{named}"), Some(HOST))] {
            let image = ImageReference::parse(&given).unwrap();

            assert_eq!(image.repository.as_str(), "team/app", "{given}");
            assert_eq!(image.tag.as_ref().map(Tag::as_str), tag, "{given}");
            assert_eq!(image.digest.as_ref().map(Digest::as_str), digest, "{given}");
            assert_eq!(image.registry.as_ref().map(|(host, _)| host.as_str()), host, "{given}");
        }
    }
}

#[test]
fn an_image_under_each_host_of_ecr_is_in_its_registry() {
    for (host, region, _) in HOSTS {
        let image = ImageReference::parse(&format!("{host}/app:1")).unwrap();

        let (as_written, registry) = image.registry.unwrap();
        assert_eq!((as_written.as_str(), registry.region()), (*host, *region));
    }
}

#[test]
fn an_image_without_tag_and_digest_is_refused() {
    for given in ["team/app", "app", &format!("{HOST}/team/app")] {
        assert_eq!(ImageReference::parse(given), Err(Error::Unpinned), "{given}");
    }
}

#[test]
fn an_image_under_any_other_host_is_refused() {
    let looks_like_a_host = |host: &&&str| (host.contains('.') || host.contains(':')) && !host.contains('@');
    for host in NO_HOSTS.iter().filter(looks_like_a_host) {
        let refused = ImageReference::parse(&format!("{host}/team/app:1"));

        assert!(matches!(refused, Err(Error::Host { .. })), "{host}: {refused:?}");
    }
    for given in
        ["localhost/app:1", "localhost:5000/app:1", "app:5000/team:1", "evil.com/app:1", "team.x/app:1", "./app:1"]
    {
        let refused = ImageReference::parse(given);

        assert!(matches!(refused, Err(Error::Host { .. })), "{given}: {refused:?}");
    }
}

#[test]
fn a_host_of_ecr_in_any_other_place_is_only_a_repository_or_refused() {
    let inner = format!("mirror/{HOST}/app:1");
    assert_eq!(ImageReference::parse(&inner).unwrap().registry, None);

    for given in [
        format!("{HOST}//app:1"),
        format!("/{HOST}/app:1"),
        format!("https://{HOST}/app:1"),
        format!("{HOST}@evil.com/app:1"),
        format!("evil.com@{HOST}/app:1"),
        format!("{HOST}/app:1/../../evil:2"),
        format!("{HOST}/"),
        format!("{HOST}/:1"),
    ] {
        assert!(ImageReference::parse(&given).is_err(), "{given}");
    }
}

#[test]
fn what_is_no_image_is_refused_for_its_own_reason() {
    let expect = |given: &str, is_expected: fn(&Error) -> bool| {
        let refused = ImageReference::parse(given).unwrap_err();
        assert!(is_expected(&refused), "{given}: {refused:?}");
    };

    expect("", |error| *error == Error::Empty);
    expect(&"a".repeat(MAX_REFERENCE + 1), |error| *error == Error::TooLong);
    expect("Team/app:1", |error| matches!(error, Error::Repository { .. }));
    expect("tëam/app:1", |error| matches!(error, Error::Repository { .. }));
    expect(" team/app:1", |error| matches!(error, Error::Repository { .. }));
    expect("a:1", |error| matches!(error, Error::Repository { .. }));
    expect(&format!("{}:1", "a".repeat(257)), |error| matches!(error, Error::Repository { .. }));
    expect("team/app:", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:1:2", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:-1", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:ünicode", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:1 ", |error| matches!(error, Error::Tag { .. }));
    expect(&format!("team/app:{}", "1".repeat(129)), |error| matches!(error, Error::Tag { .. }));
    expect("team/app@", |error| matches!(error, Error::Digest { .. }));
    expect("team/app@sha256:12", |error| matches!(error, Error::Digest { .. }));
    expect(&format!("team/app@{DIGEST}@{DIGEST}"), |error| matches!(error, Error::Digest { .. }));
    expect(&format!("team/app@{DIGEST}:1"), |error| matches!(error, Error::Digest { .. }));
}

#[test]
fn messages_about_long_names_stay_short() {
    let given = "é".repeat(MAX_REFERENCE / 2);

    let message = ImageReference::parse(&given).unwrap_err().to_string();

    assert!(message.chars().count() < 600, "{message}");
}

#[test]
fn repositories_follow_the_grammar_of_ecr() {
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

    for given in good.into_iter().chain([longest.as_str()]) {
        assert!(RepositoryName::parse(given).is_ok(), "{given:?}");
    }
    for given in bad {
        assert!(RepositoryName::parse(given).is_err(), "{given:?}");
    }
    assert!(RepositoryName::parse(&"a".repeat(257)).is_err());
}

#[test]
fn a_repository_may_be_named_with_its_registry() {
    let alone = parse_repository("team/app").unwrap();
    let whole = parse_repository(&format!("{HOST}/team/app")).unwrap();

    assert_eq!(alone, (None, RepositoryName::parse("team/app").unwrap()));
    assert_eq!(whole, (Some(Registry::from_host(HOST).unwrap()), alone.1));
    for given in ["", "team/app:1", "evil.com/app", &format!("team/app@{DIGEST}"), &format!("{HOST}/")] {
        assert!(parse_repository(given).is_err(), "{given}");
    }
}

#[test]
fn a_digest_is_sha256_in_lower_case() {
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
    for given in bad {
        assert!(Digest::parse(&given).is_err(), "{given:?}");
    }
}

#[test]
fn tags_are_at_most_128_letters_digits_and_signs() {
    let longest = "x".repeat(128);
    for given in ["1", "latest", "v1.2.3-rc.1_x", "A", "_", longest.as_str()] {
        assert!(Tag::parse(given).is_ok(), "{given:?}");
    }
    for given in ["", ".1", "-1", "a+b", "a/b", "a b", "ä", "a\0", &"x".repeat(129)] {
        assert!(Tag::parse(given).is_err(), "{given:?}");
    }
}

#[test]
fn a_platform_is_os_and_architecture_and_maybe_a_variant() {
    for given in ["linux/amd64", "linux/arm64/v8", "windows/amd64", "unknown/unknown"] {
        assert_eq!(Platform::parse(given).unwrap().to_string(), given);
    }
    for given in
        ["", "linux", "linux/", "/amd64", "linux//v8", "linux/arm64/", "linux/arm64/v8/x", "linux/ amd64", "*/amd64"]
    {
        assert!(Platform::parse(given).is_err(), "{given:?}");
    }
}

#[test]
fn a_platform_asked_for_without_a_variant_means_every_variant() {
    let platform = |given: &str| Platform::parse(given).unwrap();

    assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
    assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("linux/arm64/v7").satisfies(&platform("linux/arm64/v8")));
    assert!(!platform("windows/arm64").satisfies(&platform("linux/arm64")));
}

/// Text made of the pieces that references are made of, which random characters would hardly ever give.
fn almost_a_reference() -> impl Strategy<Value = String> {
    let pieces = [
        "team",
        "app",
        "A",
        "é",
        "/",
        "/",
        ":",
        "@",
        ".",
        "-",
        "_",
        "__",
        "1",
        HOST,
        DIGEST,
        "sha256:",
        "localhost",
        "\n",
        "123456789012",
        ".dkr.ecr.",
        "eu-west-1",
        ".amazonaws.com",
        ".on.aws",
        ".cn",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..9).prop_map(|pieces| pieces.concat())
}

/// The repository grammar of ECR as ECR writes it.
fn repository() -> impl Strategy<Value = String> {
    r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,3}(/[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}){0,3}"
        .prop_filter("at least two characters", |name| name.len() >= 2)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_parsed_panics(given in prop_oneof![any::<String>(), almost_a_reference()]) {
        let _ = (Registry::parse(&given), Registry::from_host(&given), Platform::parse(&given), parse_repository(&given));
        let _ = (RepositoryName::parse(&given), Tag::parse(&given), Digest::parse(&given));
        if let Ok(image) = ImageReference::parse(&given) {
            prop_assert!(image.tag.is_some() || image.digest.is_some());
        }
    }

    #[test]
    fn every_name_of_ecrs_grammar_is_a_repository(given in repository()) {
        prop_assert!(RepositoryName::parse(&given).is_ok());
    }

    #[test]
    fn a_pinned_image_reads_as_what_it_was_made_of(
        repository in repository(),
        digest in "sha256:[0-9a-f]{64}",
        at in any::<proptest::sample::Index>(),
    ) {
        let (host, ..) = *at.get(HOSTS);
        let digest = Digest::parse(&digest).unwrap();
        let image = Image {
            registry: Registry::from_host(host).unwrap(),
            host: host.to_owned(),
            repository: RepositoryName::parse(&repository).unwrap(),
            tag: None,
            digest: digest.clone(),
            pushed_at: None,
        };

        let read = ImageReference::parse(&image.pinned(&digest)).unwrap();

        prop_assert_eq!(read.registry, Some((image.host, image.registry)));
        prop_assert_eq!((read.repository, read.tag, read.digest), (image.repository, None, Some(digest)));
    }

    #[test]
    fn what_is_taken_is_written_back_as_it_was(given in almost_a_reference()) {
        if let Ok(ImageReference { registry, repository, tag, digest }) = ImageReference::parse(&given) {
            let host = registry.map(|(host, _)| format!("{host}/")).unwrap_or_default();
            let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();

            prop_assert_eq!(format!("{host}{repository}{tag}{digest}"), given);
        }
    }
}
