//! The canonical Protobuf JSON of the contract's messages: the form of `--output json`, policy files and grpcurl.

use std::{fmt::Write, sync::LazyLock};

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, prost::Message};
use scangate_client::v1::Policy;
use serde_json::Deserializer;

use crate::{
    error::{BoxError, CliError},
    report::is_unprintable,
};

/// A message of the contract with its full name.
pub(crate) trait NamedMessage: Message {
    const NAME: &str;
}

macro_rules! impl_named_message {
    ($($message:ident),+ $(,)?) => {
        $(impl NamedMessage for scangate_client::v1::$message {
            const NAME: &str = concat!("scangate.v1.", stringify!($message));
        })+
    };
}

impl_named_message!(
    BatchEvaluateGateResponse,
    ConfigureScanningResponse,
    CreatePolicyResponse,
    Decision,
    DeletePolicyResponse,
    GetFindingsResponse,
    ListPoliciesResponse,
    Policy,
    Simulation,
    StartScanResponse,
    UpdatePolicyResponse,
    WatchScanResponse,
);

static DESCRIPTORS: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).ok());

/// Returns the message on several lines, with a line break at the end.
pub(crate) fn pretty<M: NamedMessage>(message: &M) -> Result<String, CliError> {
    let dynamic = dynamic(message)?;
    let json = serde_json::to_string_pretty(&dynamic).map_err(json_error)?;
    Ok(escape_unprintable(&json) + "\n")
}

/// Returns the message on one line, without a line break.
pub(crate) fn compact<M: NamedMessage>(message: &M) -> Result<String, CliError> {
    let dynamic = dynamic(message)?;
    let json = serde_json::to_string(&dynamic).map_err(json_error)?;
    Ok(escape_unprintable(&json))
}

/// Parses a policy; the error for an unknown field names the field.
pub(crate) fn parse_policy(text: &str) -> Result<Policy, BoxError> {
    let mut deserializer = Deserializer::from_str(text);
    let descriptor = descriptor(Policy::NAME).ok_or("no descriptor of scangate.v1.Policy")?;
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer)?;
    deserializer.end()?;
    Ok(message.transcode_to()?)
}

fn dynamic<M: NamedMessage>(message: &M) -> Result<DynamicMessage, CliError> {
    let descriptor = descriptor(M::NAME).ok_or_else(|| json_error(format!("no descriptor of {}", M::NAME)))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(json_error)
}

fn descriptor(name: &str) -> Option<MessageDescriptor> {
    DESCRIPTORS.as_ref()?.get_message_by_name(name)
}

fn json_error(error: impl Into<BoxError>) -> CliError {
    CliError::Json(error.into())
}

/// Replaces characters that control or confuse a terminal by `\u` escapes. They occur within JSON strings only.
fn escape_unprintable(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if char != '\n' && is_unprintable(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
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
    fn enums_are_names_and_controls_are_escaped() {
        let decision = Decision {
            verdict: Verdict::Deny.into(),
            reasons: vec!["a\u{202e}b\u{9b}c\u{1b}d".into()],
            ..Default::default()
        };

        let json = compact(&decision).unwrap();

        assert_eq!(json, r#"{"verdict":"VERDICT_DENY","reasons":["a\u202eb\u009bc\u001bd"]}"#);
    }

    #[test]
    fn policy_survives_a_round_trip() {
        let text = r#"{"name": "policies/a", "scan": {"maxScanAge": "86400s"}, "unratedAs": "SEVERITY_LOW"}"#;

        let policy = parse_policy(text).unwrap();

        assert_eq!(policy, parse_policy(&pretty(&policy).unwrap()).unwrap());
        assert_eq!(policy.scan.unwrap().max_scan_age.unwrap().seconds, 86400);
    }

    #[test]
    fn unknown_policy_field_is_rejected_by_name() {
        let error = parse_policy(r#"{"rules": [{"id": "a", "alow": 3}]}"#).unwrap_err();

        assert!(error.to_string().contains("alow"), "{error}");
    }
}
