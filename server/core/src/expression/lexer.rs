//! Splits the source into tokens, and decodes its strings.

use super::error::{Error, quote};

/// A token with its start.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// The offset of its first byte.
    pub(super) start: usize,
    /// Its source; that of a string includes the quotes, so that it equals no word or symbol.
    pub(super) text: &'a str,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A name or keyword.
    Word,
    Int,
    Double,
    /// A string, with its value.
    Text(String),
    /// An operator, bracket or separator.
    Symbol,
    /// The end of the source.
    End,
}

const SYMBOLS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ",", "!", "-", "?", ":", ".", "+", "*", "/", "%",
    "<", ">",
];

/// Operators of other languages with those of CEL, the longer ones first.
const MISTAKEN: [(&str, &str); 6] = [("=>", ">="), ("=<", "<="), ("<>", "!="), ("=", "=="), ("&", "&&"), ("|", "||")];

/// Returns all tokens of a source. The last one is its end.
pub(super) fn tokenize(source: &str) -> Result<Vec<Token<'_>>, Error> {
    let mut tokens = Vec::new();
    let mut end = 0;
    loop {
        let start = end + blank_length(after(source, end));
        let rest = after(source, start);
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { kind: Kind::End, start: end, text: "" });
            return Ok(tokens);
        };
        let word = word_length(rest);
        let (kind, length) = if after(rest, word).starts_with(['"', '\'']) && is_prefix(until(rest, word)) {
            string(source, start, word)?
        } else if first.is_ascii_digit() || first == '.' && digit_count(after(rest, 1)) > 0 {
            number(source, start)?
        } else if word > 0 {
            check_word(source, start, until(rest, word))?;
            (Kind::Word, word)
        } else {
            (Kind::Symbol, symbol_length(source, start, first)?)
        };
        tokens.push(Token { kind, start, text: until(rest, length) });
        end = start + length;
    }
}

fn after(text: &str, offset: usize) -> &str {
    text.get(offset..).unwrap_or_default()
}

fn until(text: &str, offset: usize) -> &str {
    text.get(..offset).unwrap_or(text)
}

/// Returns the length of the white space and comments at the start of a text.
fn blank_length(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']);
        if !rest.starts_with("//") {
            return text.len() - rest.len();
        }
        rest = rest.find('\n').map_or("", |end| after(rest, end));
    }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn digit_count(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

fn check_word(source: &str, start: usize, word: &str) -> Result<(), Error> {
    let instead = match word {
        "and" => "&&",
        "or" => "||",
        "not" => "!",
        _ => return Ok(()),
    };
    Err(Error::at(source, start, format!("`{word}` is not an operator"), format!("write `{instead}`")))
}

fn number(source: &str, start: usize) -> Result<(Kind, usize), Error> {
    let rest = after(source, start);
    let (kind, length) = match rest.strip_prefix("0x") {
        Some(digits) => (Kind::Int, 2 + digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len())),
        None => decimal(rest),
    };
    let suffix = word_length(after(rest, length));
    match until(after(rest, length), suffix) {
        "" if until(rest, length) != "0x" => Ok((kind, length)),
        "u" | "U" => Err(Error::at(source, start, "unsigned numbers are not supported", "omit the `u`")),
        _ => {
            let message = format!("{} is neither a number nor a name", quote(until(rest, length + suffix)));
            Err(Error::at(source, start, message, "begin names with a letter, and end numbers with a digit"))
        }
    }
}

/// Returns the kind and length of a decimal number. A point or an `e` without digits after it is no part of it.
fn decimal(text: &str) -> (Kind, usize) {
    let whole = digit_count(text);
    let mut length = whole;
    if let Some(fraction) = after(text, length).strip_prefix('.').map(digit_count).filter(|count| *count > 0) {
        length += 1 + fraction;
    }
    if let Some(exponent) = after(text, length).strip_prefix(['e', 'E']) {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digit_count(digits) > 0 {
            length += 1 + exponent.len() - digits.len() + digit_count(digits);
        }
    }
    (if length == whole { Kind::Int } else { Kind::Double }, length)
}

fn symbol_length(source: &str, start: usize, first: char) -> Result<usize, Error> {
    let rest = after(source, start);
    let known = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
    let mistaken = MISTAKEN.into_iter().find(|(symbol, _)| rest.starts_with(symbol));
    let (message, hint) = match (known, mistaken) {
        (Some(symbol), None) | (Some(symbol @ ("&&" | "||" | "==")), Some(_)) => return Ok(symbol.len()),
        (_, Some((symbol, instead))) => (format!("`{symbol}` is not an operator"), format!("write `{instead}`")),
        (None, None) => {
            let hint = match first {
                '‘' | '’' | '“' | '”' => "write straight quotes, as in \"text\" or 'text'",
                _ => "quote text, and remove the character elsewhere",
            };
            (format!("unexpected character {} outside a string", quote(&first.to_string())), hint.to_owned())
        }
    };
    Err(Error::at(source, start, message, hint))
}

/// True for the prefix of a string: none, `r` for raw strings, `b` for bytes, or both.
fn is_prefix(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "" | "r" | "b" | "br")
}

/// Decodes a string after a prefix of `prefix` bytes; returns its value and its length with prefix and quotes.
fn string(source: &str, start: usize, prefix: usize) -> Result<(Kind, usize), Error> {
    let rest = after(source, start);
    let (prefix, body) = (until(rest, prefix), after(rest, prefix));
    if prefix.starts_with(['b', 'B']) {
        return Err(Error::at(source, start, "bytes are not supported", "omit the `b` before the string"));
    }
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| body.starts_with(quotes)).unwrap_or("'");
    let mut value = String::new();
    let mut at = prefix.len() + quotes.len();
    loop {
        let text = after(rest, at);
        let next = text.chars().next();
        if text.starts_with(quotes) {
            return Ok((Kind::Text(value), at + quotes.len()));
        }
        at += match next {
            Some('\\') if prefix.is_empty() && text.len() > 1 => {
                let (character, length) = escape(source, start + at)?;
                value.push(character);
                length
            }
            Some('\n' | '\r') | None if quotes.len() == 1 || next.is_none() => {
                return Err(Error::at(source, start, "the string is not closed", format!("close it with {quotes}")));
            }
            // Line breaks are the same on every system.
            Some('\r') => {
                value.push('\n');
                if text.starts_with("\r\n") { 2 } else { 1 }
            }
            Some(other) => {
                value.push(other);
                other.len_utf8()
            }
            None => 0,
        };
    }
}

/// Decodes a backslash and the characters that belong to it; returns the character and the length.
fn escape(source: &str, start: usize) -> Result<(char, usize), Error> {
    let rest = after(source, start + 1);
    let escaped = rest.chars().next();
    let (digits, radix, form) = match escaped {
        Some('a') => return Ok(('\x07', 2)),
        Some('b') => return Ok(('\x08', 2)),
        Some('f') => return Ok(('\x0c', 2)),
        Some('n') => return Ok(('\n', 2)),
        Some('r') => return Ok(('\r', 2)),
        Some('t') => return Ok(('\t', 2)),
        Some('v') => return Ok(('\x0b', 2)),
        Some(same @ ('"' | '\'' | '\\' | '?' | '`')) => return Ok((same, 2)),
        Some('x' | 'X') => (rest.get(1..3), 16, r"write two hexadecimal digits, as in `\x2f`"),
        Some('u') => (rest.get(1..5), 16, r"write four hexadecimal digits of a character, as in `\u00fc`"),
        Some('U') => (rest.get(1..9), 16, r"write eight hexadecimal digits of a character, as in `\U0001f431`"),
        Some('0'..='3') => (rest.get(0..3), 8, r"write three octal digits, as in `\057`"),
        Some(_) | None => (None, 0, r#"double the backslash, or write a raw string as in r"\d+""#),
    };
    let is_number = |digits: &&str| digits.chars().all(|digit| digit.is_digit(radix));
    let number = digits.filter(is_number).and_then(|digits| u32::from_str_radix(digits, radix).ok());
    let escape_length = 1 + digits.map_or(0, str::len) + usize::from(radix == 16);
    number.and_then(char::from_u32).map(|character| (character, escape_length)).ok_or_else(|| {
        let escaped = quote(&escaped.map(String::from).unwrap_or_default());
        let message = format!("a backslash before {escaped} is not an escape sequence");
        Error::at(source, start, message, form)
    })
}
