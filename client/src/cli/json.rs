//! The canonical JSON of the contract's messages: what `--output json` prints, what policy files have, what grpcurl reads.

use std::{fmt::Write, sync::LazyLock};

use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor,
    prost::Message,
    prost_types::{Any, FileDescriptorProto, FileDescriptorSet},
};
use scangate_client::v1::{BatchEvaluateGateResponse, Policy, batch_evaluate_gate_item};
use serde_json::Deserializer;

use crate::{
    failure::{BoxError, Failure},
    page::is_hidden,
};

/// A message of the contract, by its name.
pub(crate) trait Named: Message {
    const NAME: &str;
}

macro_rules! named {
    ($($message:ident),+ $(,)?) => {
        $(impl Named for scangate_client::v1::$message {
            const NAME: &str = concat!("scangate.v1.", stringify!($message));
        })+
    };
}

named!(
    BatchEvaluateGateResponse,
    ConfigureScanningResponse,
    CreatePolicyResponse,
    Decision,
    DeletePolicyResponse,
    GetFindingsResponse,
    ListPoliciesResponse,
    Policy,
    StartScanResponse,
    UpdatePolicyResponse,
    WatchScanResponse,
);

static DESCRIPTORS: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).ok()?;
    // The details of an error are in `google.rpc`, which the contract itself does not name.
    let details = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok()?;
    let missing: Vec<_> = details.file.into_iter().filter(|file| !defines_what_is_known(file, &pool)).collect();
    pool.add_file_descriptor_protos(missing).ok()?;
    Some(pool)
});

/// The same file can come under different paths: what counts is what it defines.
fn defines_what_is_known(file: &FileDescriptorProto, pool: &DescriptorPool) -> bool {
    file.message_type
        .iter()
        .any(|message| pool.get_message_by_name(&format!("{}.{}", file.package(), message.name())).is_some())
}

/// The message on several lines, with a line break at the end.
pub(crate) fn pretty<M: Named>(message: &M) -> Result<String, Failure> {
    let dynamic = dynamic(message)?;
    let json = serde_json::to_string_pretty(&dynamic).map_err(unwritable)?;
    Ok(visible(&json) + "\n")
}

/// The message on one line, without a line break.
pub(crate) fn compact<M: Named>(message: &M) -> Result<String, Failure> {
    let dynamic = dynamic(message)?;
    let json = serde_json::to_string(&dynamic).map_err(unwritable)?;
    Ok(visible(&json))
}

/// Leaves out error details of kinds that this version cannot name: JSON has no form for them.
pub(crate) fn retain_known_details(batch: &mut BatchEvaluateGateResponse) {
    for item in &mut batch.items {
        if let Some(batch_evaluate_gate_item::Result::Error(status)) = &mut item.result {
            status.details.retain(is_known);
        }
    }
}

/// Reads a policy; a field that the contract does not know is refused by its name.
pub(crate) fn parse_policy(text: &str) -> Result<Policy, BoxError> {
    let mut deserializer = Deserializer::from_str(text);
    let descriptor = descriptor(Policy::NAME).ok_or("the contract has no such message")?;
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer)?;
    deserializer.end()?;
    Ok(message.transcode_to()?)
}

fn dynamic<M: Named>(message: &M) -> Result<DynamicMessage, Failure> {
    let descriptor = descriptor(M::NAME).ok_or_else(|| unwritable(format!("no descriptor of {}", M::NAME)))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(unwritable)
}

fn descriptor(name: &str) -> Option<MessageDescriptor> {
    DESCRIPTORS.as_ref()?.get_message_by_name(name)
}

fn is_known(detail: &Any) -> bool {
    let name = detail.type_url.rsplit('/').next().unwrap_or_default();
    descriptor(name).is_some_and(|kind| DynamicMessage::decode(kind, detail.value.as_slice()).is_ok())
}

fn unwritable(error: impl Into<BoxError>) -> Failure {
    Failure::Json(error.into())
}

/// The same JSON with what a terminal would obey or hide as `\u` escapes. Such characters occur within strings only.
fn visible(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if char != '\n' && is_hidden(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(char);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use scangate_client::v1::{Decision, Verdict};

    use super::*;

    #[test]
    fn enums_are_names_and_hidden_characters_are_escaped() {
        let decision = Decision {
            verdict: Verdict::Deny.into(),
            reasons: vec!["a\u{202e}b\u{9b}c\u{1b}d".into()],
            ..Default::default()
        };

        let json = compact(&decision).unwrap();

        assert_eq!(json, r#"{"verdict":"VERDICT_DENY","reasons":["a\u202eb\u009bc\u001bd"]}"#);
    }

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        let text = r#"{"name": "policies/a", "scan": {"maxScanAge": "86400s"}, "unratedAs": "SEVERITY_LOW"}"#;

        let policy = parse_policy(text).unwrap();

        assert_eq!(policy, parse_policy(&pretty(&policy).unwrap()).unwrap());
        assert_eq!(policy.scan.unwrap().max_scan_age.unwrap().seconds, 86400);
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused_by_name() {
        let error = parse_policy(r#"{"rules": [{"id": "a", "alow": 3}]}"#).unwrap_err();

        assert!(error.to_string().contains("alow"), "{error}");
    }
}
