//! Why a text is no expression: what is wrong, where, and what would be right.

use std::fmt;

/// A place in the source, counted as people and editors do: from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
}

impl Position {
    /// The place of a byte of the source.
    pub(super) fn of(source: &str, offset: usize) -> Self {
        let before = source.get(..source.floor_char_boundary(offset)).unwrap_or(source);
        let (lines, last) = before.rsplit_once('\n').unwrap_or(("", before));
        let above = if last.len() == before.len() { 0 } else { lines.split('\n').count() };
        Self { line: above + 1, column: last.chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A text that is no expression, in one sentence: what is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({position}): {hint}")]
pub struct Error {
    /// Where.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

impl Error {
    pub(super) fn new(position: Position, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { position, message: message.into(), hint: remedy.into() }
    }

    /// About a byte of the source.
    pub(super) fn at(source: &str, offset: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Position::of(source, offset), message, remedy)
    }
}

/// What somebody wrote, fit to be repeated to them: in quotes, escaped, and no longer than a line.
pub(super) fn quoted(written: &str) -> String {
    let mut short: String = written.chars().take(MAX_QUOTED).collect();
    if short.len() < written.len() {
        short.push('…');
    }
    format!("{short:?}")
}

const MAX_QUOTED: usize = 60;
