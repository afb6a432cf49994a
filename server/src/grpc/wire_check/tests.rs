//! Random messages of every method: known fields pass, an unknown one at any depth is refused.

use proptest::prelude::*;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind as FieldKind, MessageDescriptor};
use scangate_proto::requests;

use super::*;

/// A number that no message of the contract uses.
const UNKNOWN: u32 = 12_345;

/// A generator of messages; the same seed gives the same message.
struct Generator {
    seed: u64,
    /// The messages generated so far.
    messages: usize,
    /// The message that gets an unknown field.
    unknown_in: Option<usize>,
}

impl Generator {
    fn below(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % bound
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> Vec<u8> {
        let index = self.messages;
        self.messages += 1;
        let mut bytes = Vec::new();
        for field in descriptor.fields() {
            let most = if field.is_list() || field.is_map() { 4 } else { 2 };
            for _ in 0..self.below(most) {
                self.field(&mut bytes, field.number(), &field.kind(), depth);
            }
        }
        if self.unknown_in == Some(index) {
            encode_key(UNKNOWN, WireType::Varint, &mut bytes);
            encode_varint(1, &mut bytes);
        }
        bytes
    }

    fn field(&mut self, bytes: &mut Vec<u8>, number: u32, kind: &FieldKind, depth: usize) {
        let value = match kind {
            FieldKind::Message(_) if depth == 0 => return,
            FieldKind::Message(message) => self.message(message, depth - 1),
            FieldKind::String => "name-é".repeat(usize::try_from(self.below(3)).unwrap()).into_bytes(),
            FieldKind::Bytes => vec![0xff; usize::try_from(self.below(3)).unwrap()],
            FieldKind::Double | FieldKind::Fixed64 | FieldKind::Sfixed64 => {
                encode_key(number, WireType::SixtyFourBit, bytes);
                bytes.extend(self.below(1000).to_le_bytes());
                return;
            }
            FieldKind::Float | FieldKind::Fixed32 | FieldKind::Sfixed32 => {
                encode_key(number, WireType::ThirtyTwoBit, bytes);
                bytes.extend([1, 2, 3, 4]);
                return;
            }
            FieldKind::Bool
            | FieldKind::Enum(_)
            | FieldKind::Int32
            | FieldKind::Int64
            | FieldKind::Uint32
            | FieldKind::Uint64
            | FieldKind::Sint32
            | FieldKind::Sint64 => {
                encode_key(number, WireType::Varint, bytes);
                encode_varint(self.below(1 << 31), bytes);
                return;
            }
        };
        encode_key(number, WireType::LengthDelimited, bytes);
        encode_varint(value.len() as u64, bytes);
        bytes.extend(value);
    }
}

/// Every method of the contract with its request.
fn methods() -> Vec<(String, MessageDescriptor)> {
    let pool = DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services: Vec<_> = pool.services().filter(|service| service.package_name() == "scangate.v1").collect();
    let methods = services.iter().flat_map(|service| {
        service.methods().map(|method| (format!("/{}/{}", service.full_name(), method.name()), method.input()))
    });
    methods.collect()
}

/// Generates a message and the number of messages within it.
fn generate(descriptor: &MessageDescriptor, seed: u64, unknown_in: Option<usize>) -> (Vec<u8>, usize) {
    let mut generator = Generator { seed, messages: 0, unknown_in };
    let bytes = generator.message(descriptor, 6);
    (bytes, generator.messages)
}

#[test]
fn every_method_has_a_table() {
    assert!(methods().len() >= 20);
    for (path, request) in methods() {
        assert_eq!(requests::Method::find(&path).unwrap().request().name, request.full_name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn unknown_field_is_refused_at_any_depth(seed: u64, at: prop::sample::Index) {
        for (path, request) in methods() {
            let table = requests::Method::find(&path).unwrap().request();
            let (known, messages) = generate(&request, seed, None);
            let (unknown, _) = generate(&request, seed, Some(at.index(messages)));

            prop_assert_eq!(check(&known, table), Ok(()), "{}", path);
            match check(&unknown, table) {
                Err(Refusal::UnknownField { path, number, .. }) => {
                    prop_assert_eq!(number, UNKNOWN);
                    prop_assert!(path.ends_with("12345"), "{}", path);
                }
                other => prop_assert!(false, "{}: {:?}", path, other),
            }
        }
    }

    #[test]
    fn checked_bytes_decode_without_loss(seed: u64, at: prop::sample::Index, byte: u8) {
        for (path, request) in methods() {
            let (mut bytes, _) = generate(&request, seed, None);
            if bytes.is_empty() {
                continue;
            }
            let index = at.index(bytes.len());
            bytes[index] = byte;

            if check(&bytes, requests::Method::find(&path).unwrap().request()).is_ok() {
                let decoded = DynamicMessage::decode(request, bytes.as_slice());
                prop_assert!(decoded.is_ok_and(|message| message.unknown_fields().count() == 0), "{}", path);
            }
        }
    }
}

fn create_waiver(bytes: &[u8]) -> Result<(), Refusal> {
    check(bytes, requests::Method::find("/scangate.v1.PolicyService/CreateWaiver").unwrap().request())
}

#[test]
fn millions_of_empty_values_are_refused() {
    // An empty rule of a policy, and an empty id of a rule's condition.
    let create = requests::Method::find("/scangate.v1.PolicyService/CreatePolicy").unwrap().request();
    let field = |path: &[&str]| {
        let step = |message: &'static Message, name: &&str| {
            let field = message.fields.iter().find(|field| field.name == *name).unwrap();
            let Kind::Message(child) = &field.kind else { return (field.number, message) };
            (field.number, *child)
        };
        path.iter().fold((0, create), |(_, message), name| step(message, name)).0
    };
    let within = |number: u32, content: &[u8]| {
        let mut bytes = Vec::new();
        encode_key(number, WireType::LengthDelimited, &mut bytes);
        encode_varint(content.len() as u64, &mut bytes);
        [bytes, content.to_vec()].concat()
    };
    let (policy, rules) = (field(&["policy"]), field(&["policy", "rules"]));
    let (when, ids) = (field(&["policy", "rules", "when"]), field(&["policy", "rules", "when", "vulnerability_ids"]));
    let of_rules = |count: usize| check(&within(policy, &within(rules, &[]).repeat(count)), create);
    let of_ids =
        |count: usize| check(&within(policy, &within(rules, &within(when, &within(ids, &[]).repeat(count)))), create);

    assert_eq!((of_rules(1_000), of_ids(100_000)), (Ok(()), Ok(())));
    for refused in [of_rules(1_000_000), of_ids(1_000_000)] {
        assert!(
            matches!(&refused, Err(Refusal::Malformed { error, .. }) if error.contains("too many values")),
            "{refused:?}"
        );
    }
}

#[test]
fn path_names_fields_and_indexes() {
    let batch = requests::Method::find("/scangate.v1.ScanGateService/BatchEvaluateGate").unwrap().request();
    // Two requests, the second of which has a platform with field 100.
    let refused = check(b"\x0a\x00\x0a\x05\x1a\x03\xa0\x06\x01", batch);

    assert_eq!(
        refused,
        Err(Refusal::UnknownField {
            message: "scangate.v1.Platform",
            path: "requests[1].platforms[0].100".to_owned(),
            number: 100
        })
    );
}

#[test]
fn malformed_bytes_have_their_own_error() {
    let cases: [(&str, &[u8]); 7] = [
        ("truncated key", b"\x80"),
        ("truncated value", b"\x0a\x05ab"),
        ("field number zero", b"\x02\x00"),
        ("group of a known number", b"\x0b\x0c"),
        ("group of an unknown number", b"\xa3\x06\xa4\x06"),
        ("other wire type", b"\x08\x01"),
        ("text that is not UTF-8", b"\x0a\x01\xff"),
    ];
    for (name, bytes) in cases {
        assert!(matches!(create_waiver(bytes), Err(Refusal::Malformed { .. })), "{name}: {:?}", create_waiver(bytes));
    }
}
