//! The promises of the policy store: [`contract`] holds for every backend, and each backend's module says how to run it there
//! and what is promised by that backend alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod contract;
mod fixtures;
mod postgres;
mod postgres_lost;
mod sqlite;
mod sqlite_damaged;
mod sqlite_killed;
