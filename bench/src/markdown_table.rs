//! Markdown tables on standard output.

/// Prints a heading and the header of a table.
pub(crate) fn print_header(title: &str, columns: &[&str]) {
    println!("\n### {title}\n");
    print_row(columns);
    print_row(&vec!["---"; columns.len()]);
}

/// Prints a row.
pub(crate) fn print_row<T: AsRef<str>>(cells: &[T]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    println!("| {} |", cells.join(" | "));
}
