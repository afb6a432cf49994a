//! Patterns of callers' names. They differ from globs over repositories: a `*` stays within one segment.

use std::fmt;

use super::{ANONYMOUS, MAX_NAME_BYTES};

/// Maximum length of a pattern, in bytes.
const MAX_LENGTH: usize = MAX_NAME_BYTES;

/// The error of a malformed pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamePatternError {
    /// The pattern is empty or too long.
    #[error("must be 1 to {MAX_LENGTH} bytes long, and is {length}")]
    Length {
        /// Its length, in bytes.
        length: usize,
    },
    /// The pattern has a control character, or white space at an end.
    #[error("must have no control character, and no white space at its ends")]
    Character,
}

/// A pattern of whole names. `*` stands for any run of characters of one segment, which `/` and `:` end. `**` stands for any run
/// of characters. Every other character stands for itself; upper and lower case differ.
///
/// ```
/// use scangate_server::auth::NamePattern;
///
/// let pattern = NamePattern::parse("github:repo:acme/*:**")?;
///
/// assert!(pattern.matches("github:repo:acme/shop:ref:refs/heads/main"));
/// assert!(!pattern.matches("github:repo:acme/shop/fork:ref:refs/heads/main"));
/// # Ok::<(), scangate_server::auth::NamePatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `*`
    WithinSegment,
    /// `**`
    Anything,
}

impl NamePattern {
    /// Parses a pattern of 1 to 512 bytes. Three or more `*` in a row mean the same as two.
    pub fn parse(text: &str) -> Result<Self, NamePatternError> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(NamePatternError::Length { length: text.len() });
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(NamePatternError::Character);
        }
        let mut tokens = Vec::with_capacity(text.len());
        for byte in text.bytes() {
            match (byte, tokens.last_mut()) {
                (b'*', Some(last @ (Token::WithinSegment | Token::Anything))) => *last = Token::Anything,
                (b'*', _) => tokens.push(Token::WithinSegment),
                (byte, _) => tokens.push(Token::Byte(byte)),
            }
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// Returns the pattern of callers without an identity.
    pub(super) fn anonymous() -> Self {
        Self { text: ANONYMOUS.to_owned(), tokens: ANONYMOUS.bytes().map(Token::Byte).collect() }
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the characters that every matching name begins with.
    pub fn prefix(&self) -> &str {
        self.text.split('*').next().unwrap_or_default()
    }

    /// True if the pattern has no `*`, so that only one name matches.
    pub fn is_exact(&self) -> bool {
        !self.text.contains('*')
    }

    /// True if the whole name matches. Takes time linear in the product of the lengths, without backtracking.
    pub fn matches(&self, name: &str) -> bool {
        // Item i: the first i tokens match the bytes of the name so far.
        let mut matched = Vec::with_capacity(self.tokens.len() + 1);
        matched.push(true);
        let leading_stars = self.tokens.iter().take_while(|token| !matches!(token, Token::Byte(_))).count();
        matched.resize(leading_stars + 1, true);
        matched.resize(self.tokens.len() + 1, false);
        let mut next = Vec::with_capacity(matched.len());
        for byte in name.bytes() {
            let mut last = false;
            next.clear();
            next.push(last);
            for (token, (before, here)) in self.tokens.iter().zip(matched.iter().zip(matched.iter().skip(1))) {
                last = match token {
                    Token::Byte(expected) => *before && *expected == byte,
                    Token::WithinSegment => last || (*here && !matches!(byte, b'/' | b':')),
                    Token::Anything => last || *here,
                };
                next.push(last);
            }
            if !next.contains(&true) {
                return false;
            }
            std::mem::swap(&mut matched, &mut next);
        }
        matched.last() == Some(&true)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_star_stays_within_its_segment() {
        let cases = [
            ("github:*", "github:repo", true),
            ("github:*", "github:", true),
            ("github:*", "github:repo:acme", false),
            ("github:*", "github:acme/shop", false),
            ("spiffe://example.org/*/ci", "spiffe://example.org/shop/ci", true),
            ("spiffe://example.org/*/ci", "spiffe://example.org/shop/web/ci", false),
            ("spiffe://example.org/*/ci", "spiffe://example.org/ci", false),
            ("dns:*.example.org", "dns:ci.eu.example.org", true),
            ("uid:10*0", "uid:1000", true),
            ("*:1000", "uid:1000", true),
            ("a*b*c", "abbbc", true),
            ("a*b*c", "ab/c", false),
        ];

        for (pattern, name, expected) in cases {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(name), expected, "{pattern} over {name}");
        }
    }

    #[test]
    fn double_star_crosses_segments() {
        let cases = [
            ("**", "anything:at/all", true),
            ("**", "", true),
            ("github:**", "github:repo:acme/shop", true),
            ("github:**", "gitlab:repo:acme/shop", false),
            ("github:**:main", "github:acme/shop:main", true),
            ("github:**/*:main", "github:acme/shop:main", true),
            ("github:**/*:main", "github:acme:main", false),
            ("a***b", "a/x:b", true),
            ("**a*b", "a/aab", true),
            ("**a*b", "ab/", false),
        ];

        for (pattern, name, expected) in cases {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(name), expected, "{pattern} over {name}");
        }
    }

    #[test]
    fn case_of_names_counts() {
        assert!(!NamePattern::parse("dns:CI.example.org").unwrap().matches("dns:ci.example.org"));
        assert!(!NamePattern::parse("GitHub:**").unwrap().matches("github:x"));
    }

    #[test]
    fn malformed_pattern_is_refused() {
        for malformed in ["", " ", " a", "a\n", "a\u{a0}", "a\0b", &"a".repeat(MAX_LENGTH + 1)] {
            assert!(NamePattern::parse(malformed).is_err(), "{malformed:?}");
        }
        assert!(NamePattern::parse("cn:Ann Example").is_ok());
        assert!(NamePattern::parse(&"*a".repeat(MAX_LENGTH / 2)).is_ok());
    }
}
