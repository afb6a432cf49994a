//! The `scangate.v1` contract: generated messages, clients and server traits, and the descriptor set that reflection serves.

/// Messages, clients and server traits of package `scangate.v1`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::clone_on_ref_ptr,
    clippy::wildcard_enum_match_arm,
    missing_debug_implementations,
    unreachable_pub,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("scangate.v1");
}

/// The messages that requests can contain, each with its fields: made from the descriptor set, for checks of the bytes on the wire.
pub mod requests {
    /// A message, with its fields in the order of their numbers.
    #[derive(Debug)]
    pub struct Message {
        /// The full name, e.g. `scangate.v1.EvaluateGateRequest`.
        pub name: &'static str,
        /// The fields.
        pub fields: &'static [Field],
    }

    /// A field of a message.
    #[derive(Debug)]
    pub struct Field {
        /// The name.
        pub name: &'static str,
        /// The number.
        pub number: u32,
        /// The form of one value.
        pub kind: Kind,
        /// True for a list or a map.
        pub is_repeated: bool,
    }

    /// The form of a value on the wire.
    #[derive(Debug)]
    pub enum Kind {
        /// A variable-length integer: integers, booleans and enums.
        Varint,
        /// Four bytes.
        Fixed32,
        /// Eight bytes.
        Fixed64,
        /// UTF-8 text.
        String,
        /// Bytes without a form.
        Bytes,
        /// A message; an entry, for a map.
        Message(&'static Message),
    }

    // The generated matches have a row for each method.
    #[allow(clippy::match_same_arms, reason = "generated")]
    mod generated {
        use super::{Field, Kind, Message};

        include!(concat!(env!("OUT_DIR"), "/requests.rs"));
    }

    pub use generated::Method;
}

/// The encoded `FileDescriptorSet` of the contract and all its imports, with source comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scangate.v1.bin"));
