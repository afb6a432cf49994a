//! The tokens of a text, just finely enough to count them: strings and comments are told from what they hold.

use super::error::{Error, quoted};

/// What a token does to the depth of the tree.
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
    /// A `-` that follows no operand.
    Negate,
    /// `?`.
    Question,
    /// `:`.
    Colon,
    /// Any other operator, `in` and `.` included.
    Operator,
}

/// A token and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) text: &'a str,
}

/// All tokens of a text.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Error> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut start = 0;
    loop {
        start += blank(source.get(start..).unwrap_or_default());
        let rest = source.get(start..).unwrap_or_default();
        let Some(first) = rest.chars().next() else {
            return Ok(tokens);
        };
        let follows_operand = tokens.last().is_some_and(|last| matches!(last.kind, Kind::Operand | Kind::Close));
        let (kind, length) = match string(source, start)? {
            Some(length) => (Kind::Operand, length),
            None if first.is_ascii_alphanumeric() || first == '_' => word(source, start)?,
            None => symbol(source, start, follows_operand)?,
        };
        let text = rest.get(..length).unwrap_or(rest);
        tokens.push(Token { kind, start, text });
        start += text.len();
    }
}

/// Length of the white space and comments at the beginning of a text.
fn blank(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']);
        if !rest.starts_with("//") {
            return text.len() - rest.len();
        }
        rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or_default();
    }
}

/// Length of the string that begins here, with its prefix and quotes.
fn string(source: &str, start: usize) -> Result<Option<usize>, Error> {
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
            at += escape(source, start + prefix.len() + at)?;
        } else if matches!(next, '\n' | '\r') && quote.len() == 1 {
            break;
        } else {
            at += next.len_utf8();
        }
    }
    Err(Error::at(source, start, "a string begins here and does not end", format!("close it with {quote}")))
}

/// Whether what stands before a quote takes backslashes as they are; nothing where it is no prefix of a string.
fn is_raw(prefix: &str) -> Option<bool> {
    match prefix {
        "" | "b" | "B" => Some(false),
        "r" | "R" | "br" | "bR" | "Br" | "BR" => Some(true),
        _ => None,
    }
}

/// Length of a backslash and what it escapes.
fn escape(source: &str, start: usize) -> Result<usize, Error> {
    let escaped = source.get(start + 1..).and_then(|rest| rest.chars().next());
    match escaped {
        Some(
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' | 'x' | 'X' | 'u' | 'U' | '0'..='3',
        ) => Ok(2),
        Some(other) => {
            let message = format!("a backslash before {} means nothing", quoted(&other.to_string()));
            let remedy = r#"double the backslash, or write a raw string as in r"\d+""#;
            Err(Error::at(source, start, message, remedy))
        }
        None => Ok(1),
    }
}

fn word(source: &str, start: usize) -> Result<(Kind, usize), Error> {
    let rest = source.get(start..).unwrap_or_default();
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or(rest);
    let instead = match word {
        "in" => return Ok((Kind::Operator, length)),
        "and" => "&&",
        "or" => "||",
        "not" => "!",
        _ if word.starts_with(|c: char| c.is_ascii_digit()) && !is_number(word) => {
            let message = format!("{} is neither a number nor a name", quoted(word));
            return Err(Error::at(source, start, message, "begin names with a letter, and end numbers with a digit"));
        }
        _ => return Ok((Kind::Operand, length)),
    };
    Err(Error::at(source, start, format!("`{word}` is no operator"), format!("write `{instead}`")))
}

/// Whether the parser takes this for a number, or the part of one before a sign or a point.
fn is_number(word: &str) -> bool {
    let unsigned = word.strip_suffix(['u', 'U']).unwrap_or(word);
    let is_hexadecimal =
        unsigned.strip_prefix("0x").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit()));
    let (digits, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, ""));
    is_hexadecimal || [digits, exponent].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()))
}

fn symbol(source: &str, start: usize, follows_operand: bool) -> Result<(Kind, usize), Error> {
    let rest = source.get(start..).unwrap_or_default();
    let two = rest.get(..2).unwrap_or_default();
    if matches!(two, "&&" | "||") {
        return Ok((Kind::Logic, 2));
    }
    if matches!(two, "==" | "!=" | "<=" | ">=") {
        return Ok((Kind::Operator, 2));
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
        '=' | '&' | '|' => {
            return Err(Error::at(
                source,
                start,
                format!("`{first}` is no operator"),
                format!("write `{first}{first}`"),
            ));
        }
        _ => {
            let message = format!("{} means nothing outside a string", quoted(&first.to_string()));
            return Err(Error::at(source, start, message, "put text into quotes, and leave it out elsewhere"));
        }
    };
    Ok((kind, 1))
}
