//! Counts: signed on the wire.

/// Renders a count, at most `i32::MAX`.
pub(crate) fn render_count(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}
