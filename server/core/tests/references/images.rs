//! Image references.

use scangate_core::image::{Digest, Error, ImageReference, MAX_REFERENCE, Tag};

use crate::fixtures::{DIGEST, HOST, HOSTS, LOOKALIKE_HOSTS};

#[test]
fn image_parses_with_tag_digest_or_both() {
    let cases = [
        ("team/app:1.0".to_owned(), Some("1.0"), None),
        (format!("team/app@{DIGEST}"), None, Some(DIGEST)),
        (format!("team/app:1.0@{DIGEST}"), Some("1.0"), Some(DIGEST)),
    ];
    for (named, tag, digest) in cases {
        for (text, host) in [(named.clone(), None), (format!("{HOST}/{named}"), Some(HOST))] {
            let image = ImageReference::parse(&text).unwrap();

            assert_eq!(image.repository.as_str(), "team/app", "{text}");
            assert_eq!(image.tag.as_ref().map(Tag::as_str), tag, "{text}");
            assert_eq!(image.digest.as_ref().map(Digest::as_str), digest, "{text}");
            assert_eq!(image.registry.as_ref().map(|(host, _)| host.as_str()), host, "{text}");
        }
    }
}

#[test]
fn image_with_host_is_in_its_registry() {
    for (host, region, _) in HOSTS {
        let image = ImageReference::parse(&format!("{host}/app:1")).unwrap();

        let (host_as_written, registry) = image.registry.unwrap();
        assert_eq!((host_as_written.as_str(), registry.region()), (*host, *region));
    }
}

#[test]
fn common_forms_parse_to_same_image() {
    let plain = ImageReference::parse(&format!("{HOST}/team/app:1.0")).unwrap();
    for text in [
        format!("https://{HOST}/team/app:1.0"),
        format!("docker://{HOST}/team/app:1.0"),
        format!("docker-pullable://{HOST}/team/app:1.0"),
        format!("HTTPS://{HOST}/team/app:1.0"),
        format!("{HOST}:443/team/app:1.0"),
        format!("{}/team/app:1.0", HOST.to_uppercase()),
        format!(" {HOST}/team/app:1.0\n"),
    ] {
        assert_eq!(ImageReference::parse(&text).as_ref(), Ok(&plain), "{text:?}");
    }
    assert_eq!(ImageReference::parse(" team/app:1\n"), ImageReference::parse("team/app:1"));
}

#[test]
fn image_without_tag_and_digest_is_refused() {
    for text in ["team/app", "app", &format!("{HOST}/team/app")] {
        assert_eq!(ImageReference::parse(text), Err(Error::Unpinned), "{text}");
    }
}

#[test]
fn image_with_other_host_is_refused() {
    let looks_like_host = |host: &&&str| (host.contains('.') || host.contains(':')) && !host.contains('@');
    // A reference may write its host with the port of HTTPS, in capitals, and after white space.
    let is_common = |host: &str| {
        host.ends_with(":443") || host.bytes().any(|b| b.is_ascii_uppercase()) || host.trim_start() != host
    };
    for host in LOOKALIKE_HOSTS.iter().filter(looks_like_host).filter(|host| !is_common(host)) {
        let refused = ImageReference::parse(&format!("{host}/team/app:1"));

        assert!(matches!(refused, Err(Error::Host { .. })), "{host}: {refused:?}");
    }
    for text in
        ["localhost/app:1", "localhost:5000/app:1", "app:5000/team:1", "evil.com/app:1", "team.x/app:1", "./app:1"]
    {
        let refused = ImageReference::parse(text);

        assert!(matches!(refused, Err(Error::Host { .. })), "{text}: {refused:?}");
    }
}

#[test]
fn host_in_other_place_is_repository_or_refused() {
    let inner = format!("mirror/{HOST}/app:1");
    assert_eq!(ImageReference::parse(&inner).unwrap().registry, None);

    for text in [
        format!("{HOST}//app:1"),
        format!("/{HOST}/app:1"),
        format!("http://{HOST}/app:1"),
        format!("https://https://{HOST}/app:1"),
        format!("{HOST}:/app:1"),
        format!("{HOST}:443:443/app:1"),
        "https://team/app:1".to_owned(),
        format!("{HOST}@evil.com/app:1"),
        format!("evil.com@{HOST}/app:1"),
        format!("{HOST}/app:1/../../evil:2"),
        format!("{HOST}/"),
        format!("{HOST}/:1"),
    ] {
        assert!(ImageReference::parse(&text).is_err(), "{text}");
    }
}

#[test]
fn malformed_image_is_refused_for_its_own_reason() {
    let expect = |text: &str, is_expected: fn(&Error) -> bool| {
        let refused = ImageReference::parse(text).unwrap_err();
        assert!(is_expected(&refused), "{text}: {refused:?}");
    };

    expect("", |error| *error == Error::Empty);
    expect(&"a".repeat(MAX_REFERENCE + 1), |error| *error == Error::TooLong);
    expect("Team/app:1", |error| matches!(error, Error::Repository { .. }));
    expect("tëam/app:1", |error| matches!(error, Error::Repository { .. }));
    expect("team /app:1", |error| matches!(error, Error::Repository { .. }));
    expect("oci://team/app:1", |error| matches!(error, Error::Scheme { scheme } if scheme == "oci://"));
    expect("docker://team/app:1", |error| matches!(error, Error::SchemeWithoutHost { .. }));
    expect(&format!("{HOST}:5000/team/app:1"), |error| matches!(error, Error::Port { .. }));
    expect("a:1", |error| matches!(error, Error::Repository { .. }));
    expect(&format!("{}:1", "a".repeat(257)), |error| matches!(error, Error::Repository { .. }));
    expect("team/app:", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:1:2", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:-1", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:ünicode", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:1 x", |error| matches!(error, Error::Tag { .. }));
    expect("team/app:1+x", |error| {
        matches!(error, Error::Tag { .. }) && error.to_string().contains("`_` in its place")
    });
    expect(&format!("team/app:{}", "1".repeat(129)), |error| matches!(error, Error::Tag { .. }));
    expect("team/app@", |error| matches!(error, Error::Digest { .. }));
    expect("team/app@sha256:12", |error| matches!(error, Error::Digest { .. }));
    expect(&format!("team/app@{DIGEST}@{DIGEST}"), |error| matches!(error, Error::Digest { .. }));
    expect(&format!("team/app@{DIGEST}:1"), |error| matches!(error, Error::Digest { .. }));
}

#[test]
fn messages_about_long_names_stay_short() {
    let text = "é".repeat(MAX_REFERENCE / 2);

    let message = ImageReference::parse(&text).unwrap_err().to_string();

    assert!(message.chars().count() < 600, "{message}");
}
