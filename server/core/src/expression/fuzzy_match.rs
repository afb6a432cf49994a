//! Suggestions for misspelt names.

/// Returns the known name closest to a misspelt one, if it is close enough for a typing error.
pub(super) fn closest_match<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances =
        known.into_iter().map(|candidate| (edit_distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate));
    let (distance, candidate) = distances.min()?;
    (distance <= 1 + candidate.len() / 4).then_some(candidate)
}

/// Returns the Levenshtein distance: the number of characters to insert, remove or replace.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut previous = line + 1;
        let above = row.clone();
        let next = to.chars().zip(above.iter().skip(1)).map(|(right, &above)| {
            let replaced = diagonal + usize::from(left != right);
            diagonal = above;
            previous = replaced.min(above + 1).min(previous + 1);
            previous
        });
        row = std::iter::once(line + 1).chain(next.collect::<Vec<_>>()).collect();
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_name_finds_closest_known_name() {
        let known = ["severity", "epss", "package.name"];

        assert_eq!(closest_match("sevverity", known), Some("severity"));
        assert_eq!(closest_match("EPSS", known), Some("epss"));
        assert_eq!(closest_match("package.nam", known), Some("package.name"));
        assert_eq!(closest_match("colour", known), None);
    }

    #[test]
    fn edit_distance_counts_single_changes() {
        let cases = [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)];

        for (from, to, expected) in cases {
            assert_eq!(edit_distance(from, to), expected, "{from} to {to}");
        }
    }
}
