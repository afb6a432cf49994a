//! The registry adapter against the simulated ECR: the real SDK over a real socket.

mod cache;
mod encoded;
mod enhanced;
mod enrichment;
mod faults;
mod findings;
mod first_scan;
mod index;
mod raw_index;
mod rescan;
mod resolve;
mod retries;
mod scanning;
mod start;
mod status;
mod support;
