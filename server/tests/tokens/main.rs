//! Tokens of a real issuer over real sockets: those that count, those that are refused, and the keys behind them.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

mod accepted;
mod forged;
mod https;
mod issuer;
mod key_files;
mod key_refresh;
mod mutations;
mod remembered;
mod signing;
