//! Limits on the length, the nesting and the chains of a text, checked before it is parsed.
//!
//! The parser recurses for every bracket and every link of a chain, so an unlimited text would overflow its stack,
//! which no caller can catch. The order of the tokens is left to the parser.

use super::{
    error::Error,
    lexer::{Kind, Token, tokenize},
};

/// Maximum length of an expression, in bytes.
pub const MAX_LENGTH: usize = 2_000;
/// Maximum number of names, literals, operators and brackets.
pub const MAX_TOKENS: usize = 500;
/// Maximum depth of nested brackets.
pub const MAX_NESTING: usize = 24;
/// Maximum number of links in a chain such as `a + b + c` or `a.b.c`. `&&`, `||`, a comma or a bracket ends a chain.
pub const MAX_CHAIN: usize = 48;
/// Maximum number of `? :` within the same pair of brackets.
pub const MAX_TERNARIES: usize = 16;

/// The next step for an expression that exceeds a limit.
pub(super) const SPLIT: &str = "split it into several rules";

/// The counters of one pair of brackets.
struct Level<'a> {
    opened_by: Option<Token<'a>>,
    chain: usize,
    ternaries: usize,
}

impl<'a> Level<'a> {
    fn opened_by(token: Option<Token<'a>>) -> Self {
        Self { opened_by: token, chain: 0, ternaries: 0 }
    }

    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Comma => *self = Self::opened_by(self.opened_by),
            Kind::Logic | Kind::Colon => self.chain = 0,
            Kind::Question => {
                self.chain = 0;
                self.ternaries += 1;
            }
            Kind::Operator | Kind::Not | Kind::Negate => self.chain += 1,
            // Brackets change the level itself, and operands count in no chain.
            Kind::Open | Kind::Close | Kind::Operand => {}
        }
    }

    fn is_closed_by(&self, closing: &str) -> bool {
        let opening = self.opened_by.as_ref().map(|token| token.text);
        matches!((opening, closing), (Some("("), ")") | (Some("["), "]") | (Some("{"), "}"))
    }
}

/// Refuses a text that exceeds a limit.
pub(super) fn check(source: &str) -> Result<(), Error> {
    if source.len() > MAX_LENGTH {
        let message = format!("the expression is {} bytes long", source.len());
        let hint = format!("use at most {MAX_LENGTH} bytes, or several rules");
        return Err(Error::at(source, 0, message, hint));
    }
    let tokens = tokenize(source)?;
    if tokens.is_empty() {
        return Err(Error::at(source, 0, "the expression is empty", "write a condition such as `finding.cvss >= 7.0`"));
    }
    if let Some(token) = tokens.get(MAX_TOKENS) {
        let message = format!("the expression has more than {MAX_TOKENS} names, literals and operators");
        return Err(Error::at(source, token.start, message, SPLIT));
    }
    check_levels(source, &tokens)
}

fn check_levels(source: &str, tokens: &[Token<'_>]) -> Result<(), Error> {
    let mut outer = Vec::new();
    let mut level = Level::opened_by(None);
    let mut previous = None;
    for token in tokens {
        if token.kind == Kind::Open {
            level.chain += 1;
            outer.push(std::mem::replace(&mut level, Level::opened_by(Some(*token))));
        } else if token.kind == Kind::Close {
            let closed = level.is_closed_by(token.text);
            level = outer.pop().filter(|_| closed).ok_or_else(|| unopened(source, token))?;
        } else if matches!(token.kind, Kind::Not | Kind::Negate) && previous == Some(token.kind) {
            return Err(repeated(source, token));
        } else {
            level.count(token.kind);
        }
        check_limit(source, token, "nested brackets", outer.len(), MAX_NESTING)?;
        check_limit(source, token, "operators in one chain", level.chain, MAX_CHAIN)?;
        check_limit(source, token, "consecutive ternaries", level.ternaries, MAX_TERNARIES)?;
        previous = Some(token.kind);
    }
    level.opened_by.map_or(Ok(()), |token| Err(unclosed(source, &token)))
}

fn check_limit(source: &str, token: &Token<'_>, counted: &str, count: usize, max: usize) -> Result<(), Error> {
    if count <= max {
        return Ok(());
    }
    Err(Error::at(source, token.start, format!("the expression has more than {max} {counted}"), SPLIT))
}

fn unopened(source: &str, token: &Token<'_>) -> Error {
    let message = format!("`{}` does not match an open bracket", token.text);
    Error::at(source, token.start, message, "close each bracket once, with its own kind")
}

fn unclosed(source: &str, token: &Token<'_>) -> Error {
    let message = format!("`{}` is never closed", token.text);
    Error::at(source, token.start, message, "add the closing bracket")
}

fn repeated(source: &str, token: &Token<'_>) -> Error {
    let message = format!("`{}` is repeated", token.text);
    Error::at(source, token.start, message, "write it once, or omit both")
}
