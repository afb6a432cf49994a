//! Properties of the parsers of names.

use proptest::prelude::*;
use scangate_core::{
    image::{Digest, Image, ImageReference, Platform, RepositoryName, Tag, parse_repository},
    registry::Registry,
};

use crate::fixtures::{DIGEST, HOST, HOSTS};

/// Texts of the pieces of references, which random characters would rarely form.
fn near_reference() -> impl Strategy<Value = String> {
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

/// ECR's grammar of repositories, as its documentation states it.
fn repository() -> impl Strategy<Value = String> {
    r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,3}(/[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}){0,3}"
        .prop_filter("at least two characters", |name| name.len() >= 2)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_never_panic(text in prop_oneof![any::<String>(), near_reference()]) {
        let _ = (Registry::parse(&text), Registry::from_host(&text), Platform::parse(&text), parse_repository(&text));
        let _ = (RepositoryName::parse(&text), Tag::parse(&text), Digest::parse(&text));
        if let Ok(image) = ImageReference::parse(&text) {
            prop_assert!(image.tag.is_some() || image.digest.is_some());
        }
    }

    #[test]
    fn generated_repositories_are_accepted(text in repository()) {
        prop_assert!(RepositoryName::parse(&text).is_ok());
    }

    #[test]
    fn pinned_image_parses_to_its_parts(
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
            push_time: None,
        };

        let read = ImageReference::parse(&image.pinned(&digest)).unwrap();

        prop_assert_eq!(read.registry, Some((image.host, image.registry)));
        prop_assert_eq!((read.repository, read.tag, read.digest), (image.repository, None, Some(digest)));
    }

    #[test]
    fn accepted_reference_renders_as_written(text in near_reference()) {
        if let Ok(image) = ImageReference::parse(&text) {
            let ImageReference { registry, repository, tag, digest } = &image;
            let host = registry.as_ref().map(|(host, _)| format!("{host}/")).unwrap_or_default();
            let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
            let rendered = format!("{host}{repository}{tag}{digest}");

            prop_assert_eq!(ImageReference::parse(&rendered), Ok(image.clone()));
            // The scheme, the port and the case of a host are not kept.
            prop_assert!(registry.is_some() || rendered == text.trim());
        }
    }
}
