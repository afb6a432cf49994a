//! Fidelity tests of the simulator, through the real SDKs and, for exact bytes, over a plain socket.

mod admin;
mod faults;
mod finding_details;
mod harness;
mod images;
mod inspector;
mod registry;
mod scan_findings;
mod scans;
mod server;
