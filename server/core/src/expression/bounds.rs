//! What is looked at before the parser sees a text: how long, deep and chained it is.
//!
//! The parser recurses for every bracket and every link of a chain, so a text without bounds would overflow its stack, which
//! no caller can catch. Leaves to the parser whether the tokens make sense.

use super::{
    error::Error,
    token::{Kind, Token, tokens},
};

/// Longest expression, in bytes.
pub const MAX_LENGTH: usize = 2_000;
/// Most names, literals, operators and brackets.
pub const MAX_TOKENS: usize = 500;
/// Most brackets open at once.
pub const MAX_NESTING: usize = 24;
/// Most links in a chain such as `a + b + c` or `a.b.c` that neither `&&`, `||`, a comma nor a bracket interrupts.
pub const MAX_CHAIN: usize = 48;
/// Most `? :` within the same pair of brackets.
pub const MAX_TERNARIES: usize = 16;

/// What is counted anew inside each pair of brackets.
struct Level<'a> {
    opened_by: Option<Token<'a>>,
    chain: usize,
    ternaries: usize,
}

impl<'a> Level<'a> {
    fn opened_by(token: Option<Token<'a>>) -> Self {
        Self { opened_by: token, chain: 0, ternaries: 0 }
    }

    fn is_closed_by(&self, closing: &str) -> bool {
        let opening = self.opened_by.as_ref().map(|token| token.text);
        matches!((opening, closing), (Some("("), ")") | (Some("["), "]") | (Some("{"), "}"))
    }
}

/// Refuses what the parser had better not see.
pub(super) fn check(source: &str) -> Result<(), Error> {
    if source.len() > MAX_LENGTH {
        let message = format!("the expression is {} bytes long", source.len());
        let remedy = format!("write at most {MAX_LENGTH} bytes, and several rules instead of one");
        return Err(Error::at(source, 0, message, remedy));
    }
    let tokens = tokens(source)?;
    if tokens.is_empty() {
        return Err(Error::at(source, 0, "the expression is empty", "write a condition such as `finding.cvss >= 7.0`"));
    }
    if let Some(token) = tokens.get(MAX_TOKENS) {
        let message = format!("the expression has more than {MAX_TOKENS} names, literals and operators");
        return Err(Error::at(source, token.start, message, "write several rules instead of one"));
    }
    check_levels(source, &tokens)
}

fn check_levels(source: &str, tokens: &[Token<'_>]) -> Result<(), Error> {
    let mut outer = Vec::new();
    let mut level = Level::opened_by(None);
    let mut before: Option<&Token<'_>> = None;
    for token in tokens {
        match token.kind {
            Kind::Open => {
                level.chain += 1;
                outer.push(std::mem::replace(&mut level, Level::opened_by(Some(*token))));
            }
            Kind::Close => {
                let closed = level.is_closed_by(token.text);
                level = outer.pop().filter(|_| closed).ok_or_else(|| unopened(source, token))?;
            }
            Kind::Comma => level = Level::opened_by(level.opened_by),
            Kind::Logic | Kind::Colon => level.chain = 0,
            Kind::Question => {
                level.chain = 0;
                level.ternaries += 1;
            }
            Kind::Not | Kind::Negate if before.is_some_and(|before| before.kind == token.kind) => {
                return Err(repeated(source, token));
            }
            Kind::Operator | Kind::Not | Kind::Negate => level.chain += 1,
            Kind::Operand => {}
        }
        within(source, token, "brackets inside each other", outer.len(), MAX_NESTING)?;
        within(source, token, "operators in one chain", level.chain, MAX_CHAIN)?;
        within(source, token, "ternaries after each other", level.ternaries, MAX_TERNARIES)?;
        before = Some(token);
    }
    level.opened_by.map_or(Ok(()), |token| Err(unclosed(source, &token)))
}

fn within(source: &str, token: &Token<'_>, what: &str, count: usize, most: usize) -> Result<(), Error> {
    if count <= most {
        return Ok(());
    }
    Err(Error::at(
        source,
        token.start,
        format!("there are more than {most} {what}"),
        "write several rules instead of one",
    ))
}

fn unopened(source: &str, token: &Token<'_>) -> Error {
    let message = format!("`{}` closes a bracket that is not open", token.text);
    Error::at(source, token.start, message, "close each bracket with its own kind, and only once")
}

fn unclosed(source: &str, token: &Token<'_>) -> Error {
    let message = format!("`{}` opens a bracket that is never closed", token.text);
    Error::at(source, token.start, message, "close it")
}

fn repeated(source: &str, token: &Token<'_>) -> Error {
    let message = format!("`{}` is repeated", token.text);
    Error::at(source, token.start, message, "write it once, or leave both out")
}
