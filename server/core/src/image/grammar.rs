//! The grammar of names: what ECR takes for a repository, a tag, a digest, a platform.

pub(super) fn is_repository(given: &str) -> bool {
    (2..=256).contains(&given.len()) && given.split('/').all(is_repository_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_repository_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = component;
    loop {
        let word = rest.find(|c| !alphanumeric(c)).unwrap_or(rest.len());
        if word == 0 {
            return false;
        }
        rest = rest.get(word..).unwrap_or_default();
        if rest.is_empty() {
            return true;
        }
        let gap = rest.find(alphanumeric).unwrap_or(rest.len());
        let separator = rest.get(..gap).unwrap_or_default();
        if !(matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')) {
            return false;
        }
        rest = rest.get(gap..).unwrap_or_default();
    }
}

pub(super) fn is_tag(given: &str) -> bool {
    (1..=128).contains(&given.len())
        && !given.starts_with(['.', '-'])
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

pub(super) fn is_digest(given: &str) -> bool {
    given
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

pub(super) fn is_platform_part(part: &str) -> bool {
    (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
