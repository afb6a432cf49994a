//! What scan-gate costs, beside a peer measured in the same run on the same machine. Prints tables in Markdown.

mod deciding;
mod given;
mod table;

fn main() {
    deciding::run();
}
