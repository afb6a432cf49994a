//! Tables, and how a time is taken: the median of several runs, since these machines are shared.

use std::time::Instant;

/// How often each figure is taken.
const RUNS: usize = 7;

/// Prints a heading and the head of a table.
pub(crate) fn head(title: &str, columns: &[&str]) {
    println!("\n### {title}\n");
    row(columns);
    row(&vec!["---"; columns.len()]);
}

/// Prints a row.
pub(crate) fn row<T: AsRef<str>>(cells: &[T]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    println!("| {} |", cells.join(" | "));
}

/// Nanoseconds that one of `count` repetitions takes in the median run.
pub(crate) fn nanoseconds(count: usize, mut work: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed().as_secs_f64() * 1e9 / count as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}
