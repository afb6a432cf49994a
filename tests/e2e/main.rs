//! scan-gate from the outside: the real server, the real client, real sockets, the real AWS SDK against the simulator or
//! moto, real grpcurl and the real aws CLI. `tests/run` installs what is needed and runs this with everything else.

mod harness;

mod aws_cli;
mod cli;
mod concurrency;
mod cut_off;
mod decisions;
mod demo;
mod docs;
mod durability;
mod enrichment;
mod errors;
mod examples;
mod faults;
mod findings;
mod grpcurl;
mod kept;
mod moto;
mod policies;
mod replicas;
mod revisions;
mod scanning;
mod scans;
mod transport;
mod verdicts;
mod waiting;
mod waivers;
