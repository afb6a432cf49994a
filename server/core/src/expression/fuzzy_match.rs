//! Suggestions for misspelt names.

use strsim::levenshtein;

/// Returns the known name closest to a misspelt one, if it is close enough for a typing error.
pub(super) fn closest_match<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances =
        known.into_iter().map(|candidate| (levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate));
    let (distance, candidate) = distances.min()?;
    (distance <= 1 + candidate.len() / 4).then_some(candidate)
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
}
