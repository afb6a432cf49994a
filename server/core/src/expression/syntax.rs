//! From a text to the parser's tree, on a thread that has the stack for it.

use std::thread;

use cel::{
    IdedExpr, ParseErrors,
    common::ast::{Expr, SourceInfo, operators},
    parser::Parser,
};

use super::{
    bounds,
    error::{Error, Position, quoted},
};

/// Enough for anything within the bounds several times over, in a debug build too. Only what is touched is ever allocated.
const STACK: usize = 64 << 20;

/// Where each part of a tree stands in the source.
pub(super) struct Places<'a> {
    source: &'a str,
    info: SourceInfo,
}

impl Places<'_> {
    /// An error about a part of the tree.
    pub(super) fn error(&self, about: &IdedExpr, message: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::at(self.source, self.start(about), message, remedy)
    }

    /// Where a part begins. The parser knows the place of its operator, so the way leads along the left.
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

/// Parses a text and hands its tree on. The tree lives and dies on the thread of the parser, since dropping it recurses too.
pub(super) fn with_tree<T: Send>(
    source: &str,
    lower: impl FnOnce(&IdedExpr, &Places<'_>) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    bounds::check(source)?;
    let gave_up = || Error::at(source, 0, "the expression could not be read", "write it in simpler terms");
    thread::scope(|scope| {
        let read = || {
            let (tree, info) =
                Parser::new().parse_with_source_info(source).map_err(|errors| refused(source, &errors))?;
            lower(&tree, &Places { source, info })
        };
        let thread = thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        let reading = thread.spawn_scoped(scope, read).map_err(|_| gave_up())?;
        reading.join().unwrap_or_else(|_| Err(gave_up()))
    })
}

/// The parser's first complaint, in our words where we know what it means.
fn refused(source: &str, errors: &ParseErrors) -> Error {
    let Some(first) = errors.errors.first() else {
        return Error::at(source, 0, "the expression could not be read", TERMS);
    };
    let at = |number: isize| usize::try_from(number).unwrap_or_default().max(1);
    let position = Position { line: at(first.pos.0), column: at(first.pos.1) };
    let complaint = first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg);
    let (message, remedy) = match complaint {
        _ if complaint.contains("'<EOF>'") && !complaint.starts_with("extraneous") => {
            ("the expression ends where more is expected".to_owned(), TERMS)
        }
        _ if complaint.contains("Recursion limit") => {
            ("brackets and `? :` are too deep inside each other".to_owned(), "write several rules instead of one")
        }
        "invalid int literal" | "invalid double literal" => {
            ("the number is too large".to_owned(), "write a whole number of 64 bits or a finite one with a point")
        }
        "invalid argument to has() macro" => {
            ("`has` takes a field of the finding".to_owned(), "write it as in `has(finding.epss)`")
        }
        "argument must be a simple name" => (
            "the first argument is no simple name".to_owned(),
            "write it as in `[\"lib\", \"bin\"].exists(x, finding.package.name.startsWith(x))`",
        ),
        "unsupported syntax '`'" | "unsupported syntax '?'" | "unsupported syntax '.?'" | "unsupported syntax '[?'" => {
            ("this spelling of a field is not supported".to_owned(), "write `finding.epss`, and `has(finding.epss)`")
        }
        _ => match complaint.split('\'').nth(1).filter(|found| !found.is_empty()) {
            Some(found) => (format!("{} is not expected here", quoted(found)), TERMS),
            None => (format!("the expression cannot be read: {}", quoted(complaint)), TERMS),
        },
    };
    Error::new(position, message, remedy)
}

const TERMS: &str = "write conditions such as `finding.cvss >= 7.0`, joined by `&&` or `||`";
