//! Which of the known names somebody may have meant.

/// The name nearest to what was written, if it is near enough to be a slip.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|name| (distance(&written.to_lowercase(), &name.to_lowercase()), name));
    let (distance, name) = distances.min()?;
    (distance <= 1 + name.len() / 4).then_some(name)
}

/// Levenshtein's distance: how many characters must be put in, left out or replaced.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        let above = row.clone();
        let next = to.chars().zip(above.iter().skip(1)).map(|(right, &above)| {
            let replaced = diagonal + usize::from(left != right);
            diagonal = above;
            before = replaced.min(above + 1).min(before + 1);
            before
        });
        row = std::iter::once(line + 1).chain(next.collect::<Vec<_>>()).collect();
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_leads_to_the_name_that_was_meant() {
        let known = ["severity", "epss", "package.name"];

        assert_eq!(nearest("sevverity", known), Some("severity"));
        assert_eq!(nearest("EPSS", known), Some("epss"));
        assert_eq!(nearest("package.nam", known), Some("package.name"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn the_distance_counts_single_changes() {
        let cases = [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)];

        for (from, to, expected) in cases {
            assert_eq!(distance(from, to), expected, "{from} to {to}");
        }
    }
}
