//! Parses a text into the parser's tree, on a thread with a large enough stack.

use std::thread;

use cel::{
    IdedExpr, ParseErrors,
    common::ast::{Expr, SourceInfo, operators},
    parser::Parser,
};

use super::{
    error::{Error, Position, quote},
    limits::{self, SPLIT},
};

/// The stack of the parser's thread, in bytes: several times the need of any text within the limits, even in a debug
/// build. Only touched pages are allocated.
const STACK: usize = 64 << 20;

/// The position of each part of a tree in the source.
pub(super) struct SourceMap<'a> {
    source: &'a str,
    info: SourceInfo,
}

impl SourceMap<'_> {
    /// Creates an error about a part of the tree.
    pub(super) fn error(&self, about: &IdedExpr, message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::at(self.source, self.start(about), message, hint)
    }

    /// Returns the start of a part. The parser records the position of its operator, so the search descends to the
    /// left.
    fn start(&self, part: &IdedExpr) -> usize {
        match &part.expr {
            Expr::Select(select) if !select.test => self.start(&select.operand),
            Expr::Comprehension(comprehension) => self.start(&comprehension.iter_range),
            Expr::Call(call) => match (&call.target, call.args.as_slice()) {
                (Some(target), _) => self.start(target),
                (None, [left, ..]) if is_infix(&call.func_name) => self.start(left),
                (None, _) => self.before_bracket(part.id, &call.func_name),
            },
            Expr::Select(_) => self.before_bracket(part.id, operators::HAS),
            Expr::Unspecified | Expr::Ident(_) | Expr::List(_) | Expr::Literal(_) | Expr::Map(_) | Expr::Struct(_) => {
                self.offset(part.id)
            }
        }
    }

    fn before_bracket(&self, id: u64, name: &str) -> usize {
        let bracket = self.offset(id);
        let start = bracket.saturating_sub(name.len());
        if self.source.get(start..bracket) == Some(name) { start } else { bracket }
    }

    fn offset(&self, id: u64) -> usize {
        self.info.offset_for(id).and_then(|(start, _)| usize::try_from(start).ok()).unwrap_or_default()
    }
}

fn is_infix(function: &str) -> bool {
    function.starts_with('_') || function == operators::IN
}

/// Parses a text and lowers its tree. The tree never leaves the parser's thread, because dropping it recurses too.
pub(super) fn parse_with<T: Send>(
    source: &str,
    lower: impl FnOnce(&IdedExpr, &SourceMap<'_>) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    limits::check(source)?;
    let failed = || Error::at(source, 0, "the expression could not be parsed", "simplify it");
    thread::scope(|scope| {
        let parse = || {
            let (tree, info) =
                Parser::new().parse_with_source_info(source).map_err(|errors| to_error(source, &errors))?;
            lower(&tree, &SourceMap { source, info })
        };
        let thread = thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        let parsing = thread.spawn_scoped(scope, parse).map_err(|_| failed())?;
        parsing.join().unwrap_or_else(|_| Err(failed()))
    })
}

/// Converts the parser's first error.
fn to_error(source: &str, errors: &ParseErrors) -> Error {
    let Some(first) = errors.errors.first() else {
        return Error::at(source, 0, "the expression could not be parsed", FORM);
    };
    let at = |number: isize| usize::try_from(number).unwrap_or_default().max(1);
    let position = Position { line: at(first.pos.0), column: at(first.pos.1) };
    let (message, hint) = explain(first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg));
    Error::new(position, message, hint)
}

/// Returns a message and a hint for an error of the parser.
fn explain(parser_message: &str) -> (String, &'static str) {
    let (message, hint) = match parser_message {
        _ if parser_message.contains("'<EOF>'") && !parser_message.starts_with("extraneous") => {
            ("the expression is incomplete", FORM)
        }
        _ if parser_message.contains("Recursion limit") => ("brackets and `? :` are nested too deeply", SPLIT),
        "invalid int literal" | "invalid double literal" => {
            ("the number is too large", "use a whole number within 64 bits, or a finite number with a decimal point")
        }
        "invalid argument to has() macro" => ("`has` needs a field", "write it as in `has(finding.epss)`"),
        "argument must be a simple name" => (
            "the first argument must be a simple name",
            "write it as in `[\"lib\", \"bin\"].exists(x, finding.package.name.startsWith(x))`",
        ),
        "unsupported syntax '`'" | "unsupported syntax '?'" | "unsupported syntax '.?'" | "unsupported syntax '[?'" => {
            ("this field syntax is not supported", "write `finding.epss`, and `has(finding.epss)`")
        }
        _ => return (unexpected(parser_message), FORM),
    };
    (message.to_owned(), hint)
}

fn unexpected(parser_message: &str) -> String {
    match parser_message.split('\'').nth(1).filter(|found| !found.is_empty()) {
        Some(found) => format!("unexpected {}", quote(found)),
        None => format!("the expression could not be parsed: {}", quote(parser_message)),
    }
}

const FORM: &str = "write conditions such as `finding.cvss >= 7.0`, combined with `&&` or `||`";
