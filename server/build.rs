//! Rebuilds the crate when a migration is added: `sqlx::migrate!` tracks existing files only.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
