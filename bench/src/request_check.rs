//! The cost of the check of a request for unknown fields, as a share of a warm call of the same run.

use std::{hint::black_box, time::Instant};

use prost::Message;
use scangate_proto::requests;
use scangate_server::wire_check;

use crate::{
    grpc_bench::{CLEAN_IMAGE, METHOD, evaluate_request},
    markdown_table::{print_header, print_row},
};

const CHECKS: u32 = 1_000_000;

/// Prints the cost beside that of the cheapest warm call, in µs of server CPU.
pub(crate) fn print(cheapest_call_micros: f64) {
    let request = evaluate_request(CLEAN_IMAGE).encode_to_vec();
    let message = requests::Method::find(METHOD).unwrap().request();
    let start = Instant::now();
    for _ in 0..CHECKS {
        wire_check::check(black_box(&request), message).unwrap();
    }
    let nanoseconds = start.elapsed().as_secs_f64() / f64::from(CHECKS) * 1e9;
    print_header(
        "Check of a request for unknown fields",
        &["request bytes", "ns per check", "share of the cheapest warm call"],
    );
    let share = nanoseconds / 1e3 / cheapest_call_micros * 100.0;
    print_row(&[request.len().to_string(), format!("{nanoseconds:.0}"), format!("{share:.2} %")]);
}
