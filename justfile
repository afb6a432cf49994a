# Short names for the project's scripts; `just` lists them. https://just.systems

[private]
default:
    @{{ just_executable() }} --list

# Everything that a change must pass, as CI runs it
check:
    .ci/run

# The checks that take seconds, and clippy
lint:
    .ci/wording
    .ci/dependencies
    cargo fmt --all --check
    cargo clippy --workspace --features scangate-server/demo --all-targets -- -D warnings

# All tests; arguments are passed to `cargo test`, e.g. `just test --test e2e waivers`
test *arguments:
    tests/run {{ arguments }}

# The tables of docs/performance.md
bench *arguments:
    cargo build --release --package scangate-bench
    target/release/scangate-bench {{ arguments }}

# The gate over a simulated ECR, on 127.0.0.1:50051
demo *arguments:
    cargo demo {{ arguments }}
