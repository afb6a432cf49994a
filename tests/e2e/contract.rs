//! The conventions of the contract, over its descriptor set.

use prost::Message;
use scangate_client::prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodOptions, field_descriptor_proto::Type,
    method_options::IdempotencyLevel,
};
use scangate_proto::FILE_DESCRIPTOR_SET;

/// The files of package `scangate.v1`.
fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let files: Vec<_> = set.file.into_iter().filter(|file| file.package() == "scangate.v1").collect();
    assert!(files.len() > 8, "{}", files.len());
    files
}

fn messages() -> Vec<DescriptorProto> {
    files().into_iter().flat_map(|file| file.message_type).collect()
}

#[test]
fn every_enum_begins_with_unspecified() {
    for found in files().iter().flat_map(|file| &file.enum_type) {
        let zero = found.value.iter().find(|value| value.number() == 0).unwrap();
        assert!(zero.name().ends_with("_UNSPECIFIED"), "{}", found.name());
    }
}

#[test]
fn every_timestamp_ends_in_time() {
    for message in messages() {
        for field in &message.field {
            let is_timestamp = field.type_name() == ".google.protobuf.Timestamp";
            assert_eq!(is_timestamp, field.name().ends_with("_time"), "{}.{}", message.name(), field.name());
        }
    }
}

#[test]
fn every_integer_is_signed() {
    let unsigned = [Type::Uint32, Type::Uint64, Type::Fixed32, Type::Fixed64];
    for message in messages() {
        for field in &message.field {
            assert!(!unsigned.contains(&field.r#type()), "{}.{}", message.name(), field.name());
        }
    }
}

#[test]
fn every_file_has_options_for_all_languages() {
    for file in files() {
        let options = file.options.unwrap();
        assert_eq!(options.go_package(), "github.com/scan-gate/scan-gate/gen/go/scangate/v1;scangatev1");
        assert_eq!((options.java_package(), options.java_multiple_files()), ("dev.scangate.v1", true));
        assert!(options.java_outer_classname().ends_with("Proto"), "{:?}", file.name);
        assert_eq!(options.csharp_namespace(), "ScanGate.V1");
        assert_eq!((options.php_namespace(), options.ruby_package()), ("ScanGate\\V1", "ScanGate::V1"));
    }
}

#[test]
fn every_page_has_a_size_and_tokens() {
    let messages = messages();
    let has = |message: &str, field: &str| {
        messages.iter().any(|found| found.name() == message && found.field.iter().any(|known| known.name() == field))
    };
    for file in files() {
        for method in file.service.iter().flat_map(|service| &service.method) {
            let (request, response) = (format!("{}Request", method.name()), format!("{}Response", method.name()));
            let paged = [has(&request, "page_size"), has(&request, "page_token"), has(&response, "next_page_token")];
            let expected = method.name().starts_with("List") || method.name() == "GetFindings";
            assert_eq!(paged, [expected; 3], "{}", method.name());
        }
    }
}

#[test]
fn reads_replays_and_watches_have_no_side_effects() {
    let mut marked = Vec::new();
    for file in files() {
        for method in file.service.iter().flat_map(|service| &service.method) {
            let level = method.options.as_ref().map(MethodOptions::idempotency_level).unwrap_or_default();
            if level == IdempotencyLevel::NoSideEffects {
                marked.push(method.name().to_owned());
            }
        }
    }
    marked.sort();
    assert_eq!(
        marked,
        [
            "GetDecision",
            "GetFindings",
            "GetPolicy",
            "GetWaiver",
            "ListDecisions",
            "ListPolicies",
            "ListPolicyRevisions",
            "ListWaivers",
            "PreviewPolicy",
            "ReplayDecision",
            "SimulateGate",
            "WatchDecisions",
            "WatchPolicies",
            "WatchScan"
        ]
    );
}
