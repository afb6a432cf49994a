//! Parses the source into a tree: a recursive-descent parser with the precedence and associativity of CEL.
//!
//! The grammar has no macros: `has`, `exists` and `all` are calls until [`super::lower`] gives them their meaning. Parts
//! of CEL without a node here are refused at once.

use super::{
    error::{Error, quote},
    lexer::{Kind as TokenKind, Token, tokenize},
    program::{Relation, tree::Operation},
    tree::{Call, Kind, Node, height},
};

/// Maximum length of an expression, in bytes.
pub const MAX_LENGTH: usize = 2_000;
/// Maximum depth of an expression: brackets, operators of a chain, and `? :`, as far as they are nested. `&&` and `||`
/// of one chain count once. It bounds the recursion of the parser and of all work on its tree and on the program.
pub const MAX_DEPTH: usize = 64;

/// The next step for an expression that exceeds a limit.
pub(super) const SPLIT: &str = "split it into several rules";
const FORM: &str = "write conditions such as `finding.cvss >= 7.0`, combined with `&&` or `||`";
const FIELD: &str = "write `finding.epss`, and `has(finding.epss)`";

/// The words that CEL reserves for other languages.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// An operator between two operands.
#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    Relation(Relation),
    In,
    Operation(Operation),
}

impl Infix {
    fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "||" => Self::Or,
            "&&" => Self::And,
            "==" => Self::Relation(Relation::Equal),
            "!=" => Self::Relation(Relation::NotEqual),
            "<" => Self::Relation(Relation::Less),
            "<=" => Self::Relation(Relation::LessOrEqual),
            ">" => Self::Relation(Relation::Greater),
            ">=" => Self::Relation(Relation::GreaterOrEqual),
            "in" => Self::In,
            "+" => Self::Operation(Operation::Add),
            "-" => Self::Operation(Operation::Subtract),
            "*" => Self::Operation(Operation::Multiply),
            "/" => Self::Operation(Operation::Divide),
            "%" => Self::Operation(Operation::Remainder),
            _ => return None,
        })
    }

    /// Operators with a greater precedence bind first. Those of the same precedence bind from left to right.
    const fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Relation(_) | Self::In => 3,
            Self::Operation(Operation::Add | Operation::Subtract) => 4,
            Self::Operation(Operation::Multiply | Operation::Divide | Operation::Remainder) => 5,
        }
    }
}

/// Parses a source.
pub(super) fn parse(source: &str) -> Result<Node<'_>, Error> {
    if source.len() > MAX_LENGTH {
        let message = format!("the expression is {} bytes long", source.len());
        let hint = format!("use at most {MAX_LENGTH} bytes, or several rules");
        return Err(Error::at(source, 0, message, hint));
    }
    let mut tokens = tokenize(source)?.into_iter();
    let next = tokens.next().filter(|token| !matches!(token.kind, TokenKind::End)).ok_or_else(|| {
        Error::at(source, 0, "the expression is empty", "write a condition such as `finding.cvss >= 7.0`")
    })?;
    let mut parser = Parser { source, next, tokens, depth: 0 };
    let tree = parser.expression()?;
    if parser.is_at_end() { Ok(tree) } else { Err(parser.unexpected(FORM)) }
}

struct Parser<'a> {
    source: &'a str,
    next: Token<'a>,
    /// The tokens after the next one.
    tokens: std::vec::IntoIter<Token<'a>>,
    /// The number of enclosing parts.
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Parses `a ? b : c`, or an operand of it. CEL allows a ternary without brackets only after the colon.
    fn expression(&mut self) -> Result<Node<'a>, Error> {
        let test = self.operators(0)?;
        if !self.skip("?") {
            return Ok(test);
        }
        let then = self.operators(0)?;
        if self.next.text == "?" {
            return Err(self.error("a ternary within a ternary is ambiguous", "put the inner one in brackets"));
        }
        if !self.skip(":") {
            return Err(self.unexpected("write a ternary as in `finding.rated ? 1 : 2`"));
        }
        let otherwise = self.nested(Self::expression)?;
        let height = test.height.max(then.height).max(otherwise.height);
        self.node(test.start, height + 1, Kind::Ternary(Box::new((test, then, otherwise))))
    }

    /// Parses operands and the operators between them, as long as these bind more closely than `precedence`.
    fn operators(&mut self, precedence: u8) -> Result<Node<'a>, Error> {
        let mut left = self.unary()?;
        while let Some(operator) = Infix::from_text(self.next.text).filter(|next| next.precedence() > precedence) {
            self.advance();
            let right = self.operators(operator.precedence())?;
            left = self.join(left, operator, right)?;
        }
        Ok(left)
    }

    fn join(&self, left: Node<'a>, operator: Infix, right: Node<'a>) -> Result<Node<'a>, Error> {
        let (start, height) = (left.start, left.height.max(right.height) + 1);
        let kind = match (operator, left.kind) {
            // One more condition of a chain makes it no deeper.
            (Infix::And, Kind::All(mut parts)) => {
                let height = left.height.max(right.height + 1);
                parts.push(right);
                return self.node(start, height, Kind::All(parts));
            }
            (Infix::Or, Kind::Any(mut parts)) => {
                let height = left.height.max(right.height + 1);
                parts.push(right);
                return self.node(start, height, Kind::Any(parts));
            }
            (operator, kind) => {
                let left = Node { kind, ..left };
                match operator {
                    Infix::And => Kind::All(vec![left, right]),
                    Infix::Or => Kind::Any(vec![left, right]),
                    Infix::Relation(relation) => Kind::Compare(relation, Box::new((left, right))),
                    Infix::In => Kind::In(Box::new((left, right))),
                    Infix::Operation(operation) => Kind::Compute(operation, Box::new((left, right))),
                }
            }
        };
        self.node(start, height, kind)
    }

    fn unary(&mut self) -> Result<Node<'a>, Error> {
        let (sign, start) = (self.next.text, self.next.start);
        if !matches!(sign, "!" | "-") {
            return self.member("");
        }
        self.advance();
        if self.next.text == sign {
            return Err(self.error(format!("`{sign}` is repeated"), "write it once, or omit both"));
        }
        if sign == "-" && matches!(self.next.kind, TokenKind::Int | TokenKind::Double) {
            return self.member(sign).map(|number| Node { start, ..number });
        }
        let operand = self.nested(Self::unary)?;
        let height = operand.height + 1;
        let operand = Box::new(operand);
        self.node(start, height, if sign == "!" { Kind::Not(operand) } else { Kind::Negate(operand) })
    }

    /// Parses an operand with its fields and calls. `sign` is that of a number before it.
    fn member(&mut self, sign: &str) -> Result<Node<'a>, Error> {
        let mut part = self.primary(sign)?;
        loop {
            let start = part.start;
            match self.next.text {
                "." => {
                    self.advance();
                    if !matches!(self.next.kind, TokenKind::Word) {
                        return Err(self.unexpected(FIELD));
                    }
                    let name = self.advance().text;
                    part = if self.next.text == "(" {
                        self.call(start, name, Some(part))?
                    } else {
                        self.node(start, part.height + 1, Kind::Field(Box::new(part), name))?
                    };
                }
                "[" => {
                    let hint = "write `finding.package.name`";
                    return Err(Error::at(self.source, start, "fields cannot be accessed with brackets", hint));
                }
                "{" => return Err(self.map()),
                _ => return Ok(part),
            }
        }
    }

    fn primary(&mut self, sign: &str) -> Result<Node<'a>, Error> {
        let kind = match (&self.next.kind, self.next.text) {
            (TokenKind::Word, "true") => Kind::Bool(true),
            (TokenKind::Word, "false") => Kind::Bool(false),
            (TokenKind::Word, "null") => {
                return Err(self.error("`null` is not supported", "test for a field with `has(finding.epss)`"));
            }
            (TokenKind::Word, word) if word != "in" => return self.name(),
            (TokenKind::Int | TokenKind::Double, _) => self.number(sign)?,
            (TokenKind::Text(value), _) => Kind::Text(value.clone()),
            (TokenKind::Symbol, "(") => {
                let open = self.advance();
                let inner = self.nested(Self::expression)?;
                self.close(&open, ")")?;
                return self.node(inner.start, inner.height + 1, inner.kind);
            }
            (TokenKind::Symbol, "[") => {
                let open = self.advance();
                let elements = self.items(&open, "]")?;
                return self.node(open.start, height(&elements) + 1, Kind::List(elements));
            }
            (TokenKind::Symbol, "{") => return Err(self.map()),
            (TokenKind::End, _) => return Err(self.unexpected(FORM)),
            (TokenKind::Word | TokenKind::Symbol, found) => {
                return Err(self.error(format!("a value is missing before `{found}`"), FORM));
            }
        };
        let start = self.advance().start;
        self.node(start, 1, kind)
    }

    /// Parses a name, or the call of a function without a target.
    fn name(&mut self) -> Result<Node<'a>, Error> {
        let Token { text: name, start, .. } = self.next;
        if RESERVED.contains(&name) {
            let hint = match name {
                "package" => "write `finding.package.name`",
                "if" | "else" => "write `condition ? value : other`",
                _ => "use another name",
            };
            return Err(self.error(format!("`{name}` is a reserved word"), hint));
        }
        self.advance();
        if self.next.text == "(" { self.call(start, name, None) } else { self.node(start, 1, Kind::Name(name)) }
    }

    fn number(&self, sign: &str) -> Result<Kind<'a>, Error> {
        let text = self.next.text;
        let number = match (&self.next.kind, text.strip_prefix("0x")) {
            (TokenKind::Double, _) => {
                format!("{sign}{text}").parse().ok().filter(|number: &f64| number.is_finite()).map(Kind::Double)
            }
            (_, Some(digits)) => i64::from_str_radix(&format!("{sign}{digits}"), 16).ok().map(Kind::Int),
            (_, None) => format!("{sign}{text}").parse().ok().map(Kind::Int),
        };
        let hint = "use a whole number within 64 bits, or a finite number with a decimal point";
        number.ok_or_else(|| self.error("the number is too large", hint))
    }

    fn call(&mut self, start: usize, name: &'a str, target: Option<Node<'a>>) -> Result<Node<'a>, Error> {
        let open = self.advance();
        let arguments = self.items(&open, ")")?;
        let height = height(target.iter().chain(&arguments));
        self.node(start, height + 1, Kind::Call(Call { name, target: target.map(Box::new), arguments }))
    }

    /// Parses items after an open bracket, up to the closing one. Only a list may end with a comma.
    fn items(&mut self, open: &Token<'a>, close: &str) -> Result<Vec<Node<'a>>, Error> {
        let mut items = Vec::new();
        while self.next.text != close || !items.is_empty() && close == ")" {
            items.push(self.nested(Self::expression)?);
            if !self.skip(",") {
                break;
            }
        }
        self.close(open, close).map(|()| items)
    }

    fn close(&mut self, open: &Token<'a>, close: &str) -> Result<(), Error> {
        if self.skip(close) {
            return Ok(());
        }
        if !self.is_at_end() {
            return Err(self.unexpected(FORM));
        }
        Err(Error::at(self.source, open.start, format!("`{}` is never closed", open.text), "add the closing bracket"))
    }

    /// Parses a part within another one.
    fn nested(&mut self, parse: fn(&mut Self) -> Result<Node<'a>, Error>) -> Result<Node<'a>, Error> {
        self.depth += 1;
        self.check_depth(self.depth)?;
        let part = parse(self)?;
        self.depth -= 1;
        Ok(part)
    }

    fn node(&self, start: usize, height: usize, kind: Kind<'a>) -> Result<Node<'a>, Error> {
        self.check_depth(height)?;
        Ok(Node { start, height, kind })
    }

    fn check_depth(&self, depth: usize) -> Result<(), Error> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(self.error(format!("the expression is more than {MAX_DEPTH} levels deep"), SPLIT))
    }

    /// Takes the next token if it is this symbol.
    fn skip(&mut self, symbol: &str) -> bool {
        let found = self.next.text == symbol;
        if found {
            self.advance();
        }
        found
    }

    /// Takes the next token. The end stays the next one.
    fn advance(&mut self) -> Token<'a> {
        let end = Token { kind: TokenKind::End, start: self.next.start, text: "" };
        std::mem::replace(&mut self.next, self.tokens.next().unwrap_or(end))
    }

    /// Creates an error about the next token.
    fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::at(self.source, self.next.start, message, hint)
    }

    fn map(&self) -> Error {
        self.error("maps and messages are not supported", "compare the fields one by one")
    }

    fn is_at_end(&self) -> bool {
        matches!(self.next.kind, TokenKind::End)
    }

    /// Creates an error about a token that cannot stand here.
    fn unexpected(&self, hint: &str) -> Error {
        let found = self.next.text;
        if self.is_at_end() {
            return self.error("the expression is incomplete", hint);
        }
        if matches!(found, ")" | "]" | "}") {
            let message = format!("`{found}` does not match an open bracket");
            return self.error(message, "close each bracket once, with its own kind");
        }
        let hint = match found {
            "AND" => "write `&&`",
            "OR" => "write `||`",
            _ => hint,
        };
        self.error(format!("unexpected {}", quote(found)), hint)
    }
}
