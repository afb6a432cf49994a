//! Text that an attacker chose, e.g. a package's name in an application manifest: it neither controls the terminal nor forges a
//! line of the output, in whatever field of a response it stands.

use std::process::Output;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use scangate_client::v1::{watch_scan_response::Event, *};

use super::{run, stderr, stdout};
use crate::{
    fake_server,
    fixtures::{IMAGE, evaluate_response},
};

const HOSTILE: &str =
    "x\u{1b}]0;owned\u{7}y\nALLOW  everything\r\u{1b}[2J\u{9b}1A\u{85}\u{202e}gnp.exe\u{2066}\u{2028}\u{200b}";
/// The same text without anything hostile.
const HARMLESS: &str = "x]0;ownedy ALLOW  everything[2J1Agnp.exe";
/// Messages nest in each other at most this deep.
const MAX_DEPTH: usize = 8;

/// Returns a message with the text in every field of type string, also in nested messages.
fn filled<M: Message + Default>(name: &str, text: &str) -> M {
    let pool = DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("scangate.v1.{name}")).unwrap();
    M::decode(fill(&descriptor, text, 0).encode_to_vec().as_slice()).unwrap()
}

fn fill(descriptor: &MessageDescriptor, text: &str, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if let Some(value) = value_of(&field, text, depth) {
            let value = if field.is_list() { Value::List(vec![value]) } else { value };
            message.set_field(&field, value);
        }
    }
    message
}

fn value_of(field: &FieldDescriptor, text: &str, depth: usize) -> Option<Value> {
    let kind = field.kind();
    if field.is_map() {
        None
    } else if kind == Kind::String {
        Some(Value::String(text.to_owned()))
    } else if kind == Kind::Uint32 {
        // Counts, without which some parts are not printed.
        Some(Value::U32(1))
    } else {
        let nested = kind.as_message().filter(|_| depth < MAX_DEPTH)?;
        Some(Value::Message(fill(nested, text, depth + 1)))
    }
}

/// Runs every command that prints a response, against a server that puts the text into each field.
async fn outputs(text: &str) -> Vec<Output> {
    let server = fake_server::start().await;
    let service = &server.service;
    let decision = Decision { verdict: Verdict::Deny.into(), ..filled("Decision", text) };
    service.evaluate.respond_with([Ok(evaluate_response(decision.clone()))]);
    let simulation = Simulation { verdict: Verdict::Deny.into(), ..filled("Simulation", text) };
    service.simulate.respond_with([Ok(SimulateGateResponse { simulation: Some(simulation) })]);
    service.findings.respond_with([Ok(filled::<GetFindingsResponse>("GetFindingsResponse", text))].map(one_page));
    service.start.respond_with([Ok(filled("StartScanResponse", text))]);
    let event = Some(Event::Progress(filled("ScanProgress", text)));
    service.watch.respond_with([Ok(vec![Ok(WatchScanResponse { event, ..filled("WatchScanResponse", text) })])]);
    service.configure.respond_with([Ok(filled("ConfigureScanningResponse", text))]);
    service.get.respond_with([Ok(filled("GetPolicyResponse", text))]);
    let policies = ListPoliciesResponse { next_page_token: String::new(), ..filled("ListPoliciesResponse", text) };
    service.list.respond_with([Ok(policies)]);
    service.delete.respond_with([Ok(filled("DeletePolicyResponse", text))]);
    let commands = [
        &["check", IMAGE][..],
        &["simulate", IMAGE, "--policy", "strict"],
        &["findings", IMAGE],
        &["scan", "start", IMAGE],
        &["scan", "watch", IMAGE],
        &["scanning", "configure", "repository", "team/app", "--scan-on-push", "true"],
        &["policy", "get", "strict"],
        &["policy", "list"],
        &["policy", "delete", "strict", "--etag", "*"],
    ];
    let mut outputs = Vec::new();
    for command in commands {
        outputs.push(run(&server, command).await);
    }
    outputs
}

fn one_page(response: Result<GetFindingsResponse, tonic::Status>) -> Result<GetFindingsResponse, tonic::Status> {
    response.map(|page| GetFindingsResponse { next_page_token: String::new(), ..page })
}

#[tokio::test]
async fn hostile_text_prints_like_harmless_text() {
    let (hostile, harmless) = (outputs(HOSTILE).await, outputs(HARMLESS).await);

    for (hostile, harmless) in hostile.iter().zip(&harmless) {
        assert!(stdout(harmless).contains("everything"), "{}{}", stdout(harmless), stderr(harmless));
        // Control characters, line breaks and reordering would differ.
        assert_eq!(stdout(hostile), stdout(harmless));
        assert_eq!(stderr(hostile), stderr(harmless));
        assert!(!stdout(hostile).lines().any(|line| line.starts_with("ALLOW")), "{}", stdout(hostile));
    }
}
