//! Scans in compact form: findings share their common values in an interner.

mod dictionary;
mod encoding;
mod interner;
mod pool;
mod scan;

pub(super) use self::{pool::FindingPool, scan::CompactScan};
