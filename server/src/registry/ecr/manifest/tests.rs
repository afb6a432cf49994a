//! Parsing of manifests, and what a container runtime would run.

use super::*;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn index_of(children: &str) -> Result<Document, InvalidManifest> {
    parse_document(&format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[{children}]}}"#), Some(OCI_INDEX))
}

fn children(descriptor: &str) -> usize {
    match index_of(descriptor).unwrap() {
        Document::Index(children) => children.len(),
        other @ (Document::Single(_) | Document::OversizedIndex) => panic!("an index was read as {other:?}"),
    }
}

#[test]
fn attestation_needs_platform_and_annotation() {
    let unknown = r#""platform":{"os":"unknown","architecture":"unknown"}"#;
    let annotated = r#""annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
    let linux = r#""platform":{"os":"linux","architecture":"amd64"}"#;

    assert_eq!(children(&format!(r#"{{"digest":"{A}",{unknown},{annotated}}}"#)), 0);
    assert_eq!(children(&format!(r#"{{"digest":"{A}",{unknown}}}"#)), 1);
    assert_eq!(children(&format!(r#"{{"digest":"{A}",{annotated}}}"#)), 1);
    assert_eq!(children(&format!(r#"{{"digest":"{A}",{linux},{annotated}}}"#)), 1);
}

#[test]
fn member_differing_in_case_is_refused() {
    let tops = [
        format!(r#"{{"manifests":[],"Manifests":[{{"digest":"{A}"}}]}}"#),
        format!(r#"{{"manifests":[],"manife{}ts":[]}}"#, 'ſ'),
        format!(r#"{{"manifests":[],"mediatype":"{OCI_MANIFEST}"}}"#),
    ];
    for text in tops {
        assert!(matches!(parse_document(&text, Some(OCI_INDEX)), Err(InvalidManifest::AmbiguousMember(_))), "{text}");
    }
    let digest = format!(r#"{{"digest":"{A}","Digest":"{A}"}}"#);
    let os = format!(r#"{{"digest":"{A}","platform":{{"os":"linux","architecture":"amd64","OS":"unknown"}}}}"#);
    assert!(matches!(index_of(&digest), Err(InvalidManifest::AmbiguousMember(_))));
    assert!(matches!(index_of(&os), Err(InvalidManifest::AmbiguousMember(_))));
}

#[test]
fn duplicate_member_is_refused() {
    assert!(matches!(parse_document(r#"{"manifests":[],"manifests":[]}"#, None), Err(InvalidManifest::Json(_))));
}

#[test]
fn manifest_of_index_and_image_is_refused() {
    let both = format!(r#"{{"manifests":[{{"digest":"{A}"}}],"config":{{"digest":"{A}"}}}}"#);
    let layers = r#"{"manifests":[],"layers":[]}"#;
    let image = format!(r#"{{"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#);

    for text in [both.as_str(), layers, &image] {
        assert!(matches!(parse_document(text, None), Err(InvalidManifest::IndexAndImage)), "{text}");
    }
}

#[test]
fn media_type_differing_from_ecr_is_refused() {
    let text = format!(r#"{{"mediaType":"{DOCKER_LIST}","manifests":[]}}"#);

    assert!(matches!(parse_document(&text, Some(OCI_INDEX)), Err(InvalidManifest::MediaType { .. })));
}

#[test]
fn child_with_invalid_digest_is_refused() {
    for digest in ["", "sha256:abc", "sha512:aaaa"] {
        assert!(
            matches!(index_of(&format!(r#"{{"digest":"{digest}"}}"#)), Err(InvalidManifest::Digest(_))),
            "{digest}"
        );
    }
}

#[test]
fn deeply_nested_json_is_refused() {
    let deep = format!(r#"{{"manifests":[],"x":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));

    assert!(matches!(parse_document(&deep, None), Err(InvalidManifest::Json(_))));
}

fn nature(media_type: &str, config: &str, layers: &[&str], more: &str) -> Nature {
    let layers: Vec<String> = layers.iter().map(|layer| format!(r#"{{"mediaType":"{layer}"}}"#)).collect();
    let text = format!(
        r#"{{"mediaType":"{media_type}","config":{{"mediaType":"{config}"}},"layers":[{}]{more}}}"#,
        layers.join(",")
    );
    match parse_document(&text, None).unwrap() {
        Document::Single(nature) => nature,
        other @ (Document::Index(_) | Document::OversizedIndex) => panic!("a single manifest was read as {other:?}"),
    }
}

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const IN_TOTO: &str = "application/vnd.in-toto+json";

#[test]
fn manifest_that_runtime_runs_is_image() {
    // Runtimes ignore `artifactType` and `subject`; Docker runs images with some odd config types.
    for (config, layers, more) in [
        (OCI_CONFIG, [OCI_LAYER].as_slice(), ""),
        (OCI_CONFIG, &[], ""),
        (OCI_CONFIG, &[OCI_LAYER], r#","artifactType":"application/sbom""#),
        (OCI_CONFIG, &[OCI_LAYER], r#","subject":{"digest":"x"}"#),
        (OCI_CONFIG, &[IN_TOTO, OCI_LAYER], ""),
        (OCI_CONFIG, &["application/vnd.oci.image.layer.nondistributable.v1.tar"], ""),
        ("", &[DOCKER_LAYER], ""),
        ("application/octet-stream", &["application/octet-stream"], ""),
        ("application/vnd.example.config.v1+json", &[OCI_LAYER], ""),
        ("application/vnd.wasm.config.v0+json", &["application/wasm"], ""),
    ] {
        assert_eq!(nature(OCI_MANIFEST, config, layers, more), Nature::Image, "{config} {layers:?} {more}");
    }
    assert_eq!(nature(DOCKER_MANIFEST, "application/vnd.buildkit.cacheconfig.v0", &[OCI_LAYER], ""), Nature::Image);
    assert_eq!(
        parse_document(r#"{"fsLayers":[]}"#, Some(DOCKER_SCHEMA_1[0])).unwrap(),
        Document::Single(Nature::Image)
    );
}

#[test]
fn manifest_that_no_runtime_runs_is_artifact() {
    for (config, layer) in [
        ("application/vnd.amazon.soci.index.v2+json", "application/octet-stream"),
        ("application/vnd.buildkit.cacheconfig.v0", OCI_LAYER),
        ("application/vnd.oci.empty.v1+json", OCI_LAYER),
        ("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        ("application/vnd.example.sbom", "application/spdx+json"),
    ] {
        assert_eq!(nature(OCI_MANIFEST, config, &[layer], ""), Nature::Artifact, "{config}");
    }
}

#[test]
fn image_config_without_image_layers_is_ambiguous() {
    for layer in [IN_TOTO, "application/vnd.dev.cosign.simplesigning.v1+json"] {
        assert_eq!(nature(OCI_MANIFEST, OCI_CONFIG, &[layer], ""), Nature::ForeignLayers, "{layer}");
    }
}

#[test]
fn manifest_of_unknown_type_is_judged_by_its_members() {
    const UNKNOWN: &str = "application/vnd.acme+json";

    assert_eq!(nature(UNKNOWN, OCI_CONFIG, &[OCI_LAYER], ""), Nature::Image);
    assert_eq!(nature(UNKNOWN, "application/vnd.example.config.v1+json", &[OCI_LAYER], ""), Nature::Image);
    assert_eq!(nature(UNKNOWN, OCI_CONFIG, &[IN_TOTO], ""), Nature::ForeignLayers);
    assert_eq!(nature(UNKNOWN, "application/vnd.example.sbom", &["application/spdx+json"], ""), Nature::Unrecognised);
    for members in [r#""layers":[{"mediaType":"x"}]"#, r#""blobs":[]"#, r#""fsLayers":[]"#] {
        let text = format!(r#"{{"mediaType":"{UNKNOWN}",{members}}}"#);
        assert_eq!(parse_document(&text, None).unwrap(), Document::Single(Nature::Unrecognised), "{members}");
    }
}

#[test]
fn index_of_too_many_children_is_oversized() {
    let of = |numbers: std::ops::Range<usize>, more: &str| {
        let descriptors: Vec<_> =
            numbers.map(|number| format!(r#"{{"digest":"sha256:{number:064x}"{more}}}"#)).collect();
        descriptors.join(",")
    };
    let attestations = r#","platform":{"os":"unknown","architecture":"unknown"},
        "annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;

    assert_eq!(children(&of(0..MAX_CHILDREN, "")), MAX_CHILDREN);
    assert_eq!(children(&format!("{},{}", of(0..MAX_CHILDREN, ""), of(0..MAX_CHILDREN, ""))), MAX_CHILDREN);
    assert_eq!(children(&format!("{},{}", of(0..MAX_CHILDREN, ""), of(0..1000, attestations))), MAX_CHILDREN);
    assert_eq!(index_of(&of(0..MAX_CHILDREN + 1, "")).unwrap(), Document::OversizedIndex);
}
