//! From the parser's tree to a [program](super::program): every name is looked up and every type is checked, here and once.
//!
//! [`names`] knows the variables and fields, [`operators`], [`arithmetic`], [`compare`], [`functions`] and [`lists`] the rest of the language.
//! What none of them knows is refused, with its place and what would be right.

mod arithmetic;
mod compare;
mod functions;
mod lists;
mod moment;
mod names;
mod operators;
mod value;

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue},
};

use self::value::{Literal, Value};
use super::{error::Error, program::test::Test, syntax::Places};

/// Most parts of a program, the bodies of `exists` and `all` counted once for each element.
const MAX_PARTS: usize = 2_000;
/// Most patterns, each of which may cost more than all the rest.
const MAX_PATTERNS: usize = 8;
/// Most comparisons with `now`: at each of its instants the whole expression is asked again.
const MAX_TIMED: usize = 16;

/// Checks a tree, which must be a condition, and lowers it.
pub(super) fn lower(tree: &IdedExpr, places: &Places<'_>) -> Result<Test, Error> {
    let test = Lowering { places, bindings: Vec::new(), parts: 0, patterns: 0 }.test(tree)?;
    if test.comparisons_with_now() > MAX_TIMED {
        let message = format!("`now` is compared with more than {MAX_TIMED} times");
        return Err(places.error(tree, message, "write several rules instead of one"));
    }
    Ok(test)
}

/// A tree on its way.
struct Lowering<'a> {
    places: &'a Places<'a>,
    /// What the variables of the surrounding `exists` and `all` stand for, innermost last.
    bindings: Vec<(String, Literal)>,
    parts: usize,
    patterns: usize,
}

impl Lowering<'_> {
    /// A part that must be a condition.
    fn test(&mut self, part: &IdedExpr) -> Result<Test, Error> {
        let value = self.value(part)?;
        let (kind, compared) = (value.kind(), value.compared());
        if let Value::Test(test) = value {
            return Ok(test);
        }
        let message = format!("a condition is wanted here, and this is {kind}");
        Err(self.places.error(part, message, format!("compare it, as in `{compared}`")))
    }

    /// Any part.
    fn value(&mut self, part: &IdedExpr) -> Result<Value, Error> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            let message = format!("the expression comes to more than {MAX_PARTS} parts");
            return Err(self.places.error(part, message, "shorten the lists that `exists` and `all` go through"));
        }
        match &part.expr {
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Ident(name) => self.variable(part, name),
            Expr::Select(select) if select.test => self.presence(part, select),
            Expr::Select(_) => self.field(part),
            Expr::Call(call) => self.call(part, call),
            Expr::Comprehension(comprehension) => self.quantifier(part, comprehension),
            Expr::List(_) => Err(self.places.error(
                part,
                "a list is no value by itself",
                "write it after `in`, or before `.exists` or `.all`",
            )),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Err(self.places.error(
                part,
                "maps and messages are not supported",
                "compare the fields of the finding one by one",
            )),
        }
    }

    fn literal(&self, part: &IdedExpr, literal: &LiteralValue) -> Result<Value, Error> {
        let refused = |message, remedy| Err(self.places.error(part, message, remedy));
        let literal = match literal {
            LiteralValue::Boolean(value) => Literal::Bool(**value),
            LiteralValue::Int(value) => Literal::Int(**value),
            LiteralValue::Double(value) => Literal::Double(**value),
            LiteralValue::String(value) => Literal::Text(value.inner().into()),
            LiteralValue::UInt(_) => return refused("unsigned numbers are not supported", "leave out the `u`"),
            LiteralValue::Bytes(_) => return refused("bytes are not supported", "leave out the `b` before the string"),
            LiteralValue::Null => {
                return refused("nothing is ever null here", "ask for a field by `has(finding.epss)`");
            }
        };
        Ok(literal.into())
    }
}
