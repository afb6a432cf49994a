//! End-to-end tests: the server and the client over sockets, the AWS SDK against the simulator or moto, grpcurl and the
//! aws CLI. `tests/run` installs the tools and runs these tests with all others.

mod harness;

mod answer_sizes;
mod aws_cli;
mod cli;
mod compression;
mod concurrency;
mod contract;
mod decision_cache;
mod decisions;
mod demo;
mod docs;
mod durability;
mod enrichment;
mod errors;
mod examples;
mod faults;
mod findings;
mod fleet;
mod grace;
mod grpcurl;
mod http_rules;
mod images;
mod list_memory;
mod malformed_requests;
mod moto;
mod network_partition;
mod newer_decisions;
mod newer_server;
mod policies;
mod policy_preview;
mod policy_validation;
mod replicas;
mod request_ids;
mod revisions;
mod scan_wait;
mod scanning_config;
mod scans;
mod several_names;
mod simulations;
mod transport;
mod verdicts;
mod vex_import;
mod waivers;
