//! How true the simulator is: read through the real SDKs, and where bytes matter over a bare socket.

mod admin;
mod details;
mod faults;
mod harness;
mod images;
mod inspector;
mod reads;
mod registry;
mod scans;
mod server;
