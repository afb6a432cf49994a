//! Network plumbing below the gRPC server.

pub(crate) mod write_coalescing;
