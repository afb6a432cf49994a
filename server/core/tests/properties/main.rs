//! Properties of the evaluation, over any response of a registry and any policies and waivers.

#![expect(clippy::unwrap_used, reason = "generated input that does not parse must fail")]

mod changes;
mod counting;
mod determinism;
mod evidence;
mod fixtures;
mod horizon;
mod monotonicity;
mod not_understood;
mod remediation;
mod scale;
mod waivers;

use proptest::prelude::ProptestConfig;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 700, failure_persistence: None, ..ProptestConfig::default() }
}
