//! The order of two versions of an unknown package manager.

use std::cmp::Ordering;

/// Compares two versions as dpkg does, which agrees with rpm, PyPI, npm and Maven on numeric versions.
///
/// The epoch before `:` comes first. Runs of digits compare by value, the text between them by letters, with `~` before
/// all else. A pre-release written with `-` counts as later.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, mut a), (epoch_b, mut b)) = (epoch(a), epoch(b));
    let mut order = numbers(epoch_a, epoch_b);
    while order.is_eq() && !(a.is_empty() && b.is_empty()) {
        let ((text_a, rest_a), (text_b, rest_b)) =
            (split(a, |c| !c.is_ascii_digit()), split(b, |c| !c.is_ascii_digit()));
        let ((digits_a, rest_a), (digits_b, rest_b)) =
            (split(rest_a, |c| c.is_ascii_digit()), split(rest_b, |c| c.is_ascii_digit()));
        order = texts(text_a, text_b).then_with(|| numbers(digits_a, digits_b));
        (a, b) = (rest_a, rest_b);
    }
    order
}

fn epoch(version: &str) -> (&str, &str) {
    version.split_once(':').filter(|(epoch, _)| epoch.bytes().all(|b| b.is_ascii_digit())).unwrap_or(("", version))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Compares two numbers of any length by value.
fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Compares two texts: `~` before the end, the end before letters, letters before other characters.
fn texts(a: &str, b: &str) -> Ordering {
    let rank = |c: char| match c {
        '~' => (0, c),
        c if c.is_alphabetic() => (2, c),
        c => (3, c),
    };
    let end = std::iter::once((1, '\0'));
    a.chars().map(rank).chain(end.clone()).cmp(b.chars().map(rank).chain(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_as_in_package_managers() {
        let ascending = [
            ["1.2", "1.10"],
            ["1.2", "1.2.1"],
            ["1.0~rc1", "1.0"],
            ["1.1.1k-7.el8", "1.1.1k-12.el8"],
            ["7.64.0-4+deb10u2", "7.64.0-4+deb10u10"],
            ["9:1.0", "10:0.1"],
            ["2.9", "1:0.1"],
            ["1.1.1a", "1.1.1b"],
            ["0.99999999999999999999999", "1"],
        ];

        for [earlier, later] in ascending {
            assert_eq!(compare(earlier, later), Ordering::Less, "{earlier} before {later}");
            assert_eq!(compare(later, earlier), Ordering::Greater, "{later} after {earlier}");
            assert_eq!(compare(later, later), Ordering::Equal);
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }
}
