//! Network plumbing under the gRPC server.

pub(crate) mod write_coalescing;
