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

/// The encoded `FileDescriptorSet` of the contract and all its imports, with source comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scangate.v1.bin"));
