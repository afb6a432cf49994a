//! The error of an expression: the position, the fault and a hint.

use std::fmt;

/// A position in the source, counted as in editors: from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
}

impl Position {
    /// Returns the position of a byte of the source.
    pub(super) fn at(source: &str, offset: usize) -> Self {
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

/// The error of a text that is not a valid expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({position}): {hint}")]
pub struct Error {
    /// The position of the fault.
    pub position: Position,
    /// The fault.
    pub message: String,
    /// The correct form, or the next step.
    pub hint: String,
}

impl Error {
    pub(super) fn new(position: Position, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { position, message: message.into(), hint: hint.into() }
    }

    /// Creates an error about a byte of the source.
    pub(super) fn at(source: &str, offset: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Position::at(source, offset), message, hint)
    }
}

/// Quotes a part of the source for a message: escaped, and shortened to [`MAX_QUOTED`] characters.
pub(super) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

const MAX_QUOTED: usize = 60;
