//! Builds the crate again when a migration is added: `sqlx::migrate!` cannot see a file that was not there before.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
