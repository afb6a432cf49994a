//! A lexer that is exact enough to count tokens: it separates strings and comments from their content.

use super::error::{Error, quote};

/// The effect of a token on the depth of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, number or string.
    Operand,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// `,`.
    Comma,
    /// `&&` or `||`.
    Logic,
    /// `!`.
    Not,
    /// A `-` without an operand before it.
    Negate,
    /// `?`.
    Question,
    /// `:`.
    Colon,
    /// Any other operator, `in` and `.` included.
    Operator,
}

/// A token with its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) text: &'a str,
}

/// Returns all tokens of a text.
pub(super) fn tokenize(source: &str) -> Result<Vec<Token<'_>>, Error> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut start = 0;
    loop {
        start += trivia_length(source.get(start..).unwrap_or_default());
        let rest = source.get(start..).unwrap_or_default();
        let Some(first) = rest.chars().next() else {
            return Ok(tokens);
        };
        let follows_operand = tokens.last().is_some_and(|last| matches!(last.kind, Kind::Operand | Kind::Close));
        let (kind, length) = match string_length(source, start)? {
            Some(length) => (Kind::Operand, length),
            None if first.is_ascii_alphanumeric() || first == '_' => lex_word(source, start)?,
            None => lex_symbol(source, start, follows_operand)?,
        };
        let text = rest.get(..length).unwrap_or(rest);
        tokens.push(Token { kind, start, text });
        start += text.len();
    }
}

/// Returns the length of the white space and comments at the start of a text.
fn trivia_length(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']);
        if !rest.starts_with("//") {
            return text.len() - rest.len();
        }
        rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or_default();
    }
}

/// Returns the length of a string literal with its prefix and quotes; `None` if no string starts here.
fn string_length(source: &str, start: usize) -> Result<Option<usize>, Error> {
    let rest = source.get(start..).unwrap_or_default();
    let prefix = rest.find(['"', '\'']).and_then(|quote| rest.get(..quote)).unwrap_or(rest);
    let Some(raw) = is_raw(prefix) else {
        return Ok(None);
    };
    let body = rest.get(prefix.len()..).unwrap_or_default();
    let Some(quote) = [r#"""""#, "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote)) else {
        return Ok(None);
    };
    let mut at = quote.len();
    while let Some(next) = body.get(at..).and_then(|rest| rest.chars().next()) {
        if body.get(at..).is_some_and(|rest| rest.starts_with(quote)) {
            return Ok(Some(prefix.len() + at + quote.len()));
        }
        if next == '\\' && !raw {
            at += escape_length(source, start + prefix.len() + at)?;
        } else if matches!(next, '\n' | '\r') && quote.len() == 1 {
            break;
        } else {
            at += next.len_utf8();
        }
    }
    Err(Error::at(source, start, "the string is not closed", format!("close it with {quote}")))
}

/// True for the prefix of a raw string; `None` if the text is not a prefix of a string.
fn is_raw(prefix: &str) -> Option<bool> {
    match prefix {
        "" | "b" | "B" => Some(false),
        "r" | "R" | "br" | "bR" | "Br" | "BR" => Some(true),
        _ => None,
    }
}

/// Returns the length of a backslash and the escaped character.
fn escape_length(source: &str, start: usize) -> Result<usize, Error> {
    let escaped = source.get(start + 1..).and_then(|rest| rest.chars().next());
    match escaped {
        Some(
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' | 'x' | 'X' | 'u' | 'U' | '0'..='3',
        ) => Ok(2),
        Some(other) => {
            let message = format!("a backslash before {} is not an escape sequence", quote(&other.to_string()));
            let hint = r#"double the backslash, or write a raw string as in r"\d+""#;
            Err(Error::at(source, start, message, hint))
        }
        None => Ok(1),
    }
}

fn lex_word(source: &str, start: usize) -> Result<(Kind, usize), Error> {
    let rest = source.get(start..).unwrap_or_default();
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or(rest);
    let instead = match word {
        "in" => return Ok((Kind::Operator, length)),
        "and" => "&&",
        "or" => "||",
        "not" => "!",
        _ if word.starts_with(|c: char| c.is_ascii_digit()) && !is_number(word) => {
            let message = format!("{} is neither a number nor a name", quote(word));
            return Err(Error::at(source, start, message, "begin names with a letter, and end numbers with a digit"));
        }
        _ => return Ok((Kind::Operand, length)),
    };
    Err(Error::at(source, start, format!("`{word}` is not an operator"), format!("write `{instead}`")))
}

/// True if the parser accepts the word as a number, or as the part of a number before a sign or a point.
fn is_number(word: &str) -> bool {
    let unsigned = word.strip_suffix(['u', 'U']).unwrap_or(word);
    let is_hexadecimal =
        unsigned.strip_prefix("0x").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit()));
    let (digits, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, ""));
    is_hexadecimal || [digits, exponent].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()))
}

fn lex_symbol(source: &str, start: usize, follows_operand: bool) -> Result<(Kind, usize), Error> {
    let rest = source.get(start..).unwrap_or_default();
    match rest.get(..2).unwrap_or_default() {
        "&&" | "||" => return Ok((Kind::Logic, 2)),
        "==" | "!=" | "<=" | ">=" => return Ok((Kind::Operator, 2)),
        _ => {}
    }
    let first = rest.chars().next().unwrap_or_default();
    let kind = match first {
        '(' | '[' | '{' => Kind::Open,
        ')' | ']' | '}' => Kind::Close,
        ',' => Kind::Comma,
        '!' => Kind::Not,
        '-' if !follows_operand => Kind::Negate,
        '?' => Kind::Question,
        ':' => Kind::Colon,
        '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' => Kind::Operator,
        _ => return Err(unexpected_symbol(source, start, first)),
    };
    Ok((kind, 1))
}

fn unexpected_symbol(source: &str, start: usize, symbol: char) -> Error {
    if matches!(symbol, '=' | '&' | '|') {
        let hint = format!("write `{symbol}{symbol}`");
        return Error::at(source, start, format!("`{symbol}` is not an operator"), hint);
    }
    let message = format!("unexpected character {} outside a string", quote(&symbol.to_string()));
    Error::at(source, start, message, "quote text, and remove the character elsewhere")
}
