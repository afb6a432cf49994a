//! Globs over names. `*` stands for any run of characters, `/` included; every other character for itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Maximum length of a pattern, in bytes.
pub const MAX_LENGTH: usize = 256;

/// The error of an empty or too long pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_LENGTH} bytes long, and is {length}")]
pub struct Error {
    length: usize,
}

/// A pattern that matches whole names.
///
/// ```
/// use scangate_core::glob::Glob;
///
/// let glob = Glob::parse("team/*")?;
///
/// assert!(glob.matches("team/app"));
/// assert!(glob.matches("team/app/web"));
/// assert!(!glob.matches("other/team/app"));
/// # Ok::<(), scangate_core::glob::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

impl Glob {
    /// Parses a pattern of 1 to [`MAX_LENGTH`] bytes.
    pub fn parse(pattern: &str) -> Result<Self, Error> {
        match pattern.len() {
            1..=MAX_LENGTH => Ok(Self(pattern.to_owned())),
            length => Err(Error { length }),
        }
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if every name matches.
    pub fn matches_everything(&self) -> bool {
        self.0.bytes().all(|b| b == b'*')
    }

    /// Returns the only matching name of a pattern without `*`.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.as_str())
    }

    /// True if the whole name matches. Takes time linear in the name for each `*`, without backtracking past the last
    /// `*`.
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let Some(mut name) = name.strip_prefix(head) else {
            return false;
        };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return name.ends_with(part);
            }
            let Some(at) = name.find(part) else {
                return false;
            };
            name = name.get(at + part.len()..).unwrap_or_default();
        }
        true
    }

    /// True if every name that the other pattern matches also matches this one.
    ///
    /// A `*` of the other pattern stands for any character, so only a `*` of this one can match it.
    ///
    /// ```
    /// use scangate_core::glob::Glob;
    ///
    /// assert!(Glob::parse("team/*")?.covers(&Glob::parse("team/*/web")?));
    /// assert!(!Glob::parse("team/app")?.covers(&Glob::parse("team/*")?));
    /// # Ok::<(), scangate_core::glob::Error>(())
    /// ```
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(other.as_str())
    }

    /// True if every name that the other pattern matches also matches this one, without regard to the case of ASCII
    /// letters.
    pub fn covers_ignoring_case(&self, other: &Self) -> bool {
        self.matches_ignoring_case(other.as_str())
    }

    /// True if the whole name matches, without regard to the case of ASCII letters.
    ///
    /// ```
    /// use scangate_core::glob::Glob;
    ///
    /// assert!(Glob::parse("cve-2021-*")?.matches_ignoring_case("CVE-2021-44228"));
    /// # Ok::<(), scangate_core::glob::Error>(())
    /// ```
    pub fn matches_ignoring_case(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        match pattern.iter().position(|b| *b == b'*') {
            None => pattern.eq_ignore_ascii_case(name),
            // Most names already differ before the first `*`.
            Some(star) => {
                let heads = pattern.get(..star).zip(name.get(..star));
                heads.is_some_and(|(head, start)| head.eq_ignore_ascii_case(start))
                    && matches_symbols(lower_case(pattern), lower_case(name))
            }
        }
    }
}

fn lower_case(text: &[u8]) -> impl Iterator<Item = u8> + Clone + '_ {
    text.iter().map(u8::to_ascii_lowercase)
}

/// True if a pattern matches a whole name, symbol by symbol. Takes time linear in the product of the lengths, and does not
/// allocate.
pub(crate) fn matches_symbols(
    mut pattern: impl Iterator<Item = u8> + Clone,
    mut name: impl Iterator<Item = u8> + Clone,
) -> bool {
    // The rest of the pattern after the last `*`, and the rest of the name from which it is tried.
    let mut retry = None;
    loop {
        let expected = pattern.next();
        if expected == Some(b'*') {
            retry = Some((pattern.clone(), name.clone()));
            continue;
        }
        match (expected, name.next()) {
            (None, None) => return true,
            (Some(expected), Some(found)) if expected == found => {}
            // A shorter rest of the name does not match either.
            (Some(_), None) => return false,
            (Some(_) | None, Some(_)) => {
                let Some((after_star, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, name) = (after_star.clone(), from.clone());
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Glob {
    type Error = Error;

    fn try_from(pattern: String) -> Result<Self, Error> {
        Self::parse(&pattern)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

/// True if a glob of the list matches the name, or if the list is empty.
pub fn any_or_empty(globs: &[Glob], name: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_run_of_characters() {
        let cases = [
            ("team/*", "team/app", true),
            ("team/*", "team/", true),
            ("team/*", "other/team/app", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "abcb", false),
            ("*ab", "aab", true),
            ("ab*ab", "ab", false),
            ("ab*ab", "abab", true),
            ("*a*a*", "a", false),
            ("*a*a*", "aa", true),
            ("CVE-2021-*", "CVE-2021-44228", true),
            ("CVE-2021-*", "cve-2021-44228", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("**", "anything", true),
        ];

        for (pattern, name, expected) in cases {
            let glob = Glob::parse(pattern).unwrap();
            assert_eq!(glob.matches(name), expected, "{pattern} over {name}");
            let folded = glob.matches_ignoring_case(name);
            assert_eq!(folded, expected || pattern.contains("CVE"), "{pattern} over {name}, without case");
        }
    }

    #[test]
    fn case_of_letters_can_be_ignored() {
        let cases = [
            ("cve-2021-44228", "CVE-2021-44228", true),
            ("CVE-2021-*", "cve-2021-44228", true),
            ("*-COMMON", "linux-common", true),
            ("cve-2021-44228", "CVE-2021-4422", false),
            ("*A*b", "xaxxB", true),
            ("*A*b", "xaxxBc", false),
        ];

        for (pattern, name, expected) in cases {
            assert_eq!(Glob::parse(pattern).unwrap().matches_ignoring_case(name), expected, "{pattern} over {name}");
        }
    }
}
