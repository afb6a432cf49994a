//! Lowers the parser's tree to a [program](super::program). Every name is resolved and every type is checked here,
//! once.
//!
//! [`names`] handles variables and fields; [`operators`], [`arithmetic`], [`compare`], [`functions`] and [`lists`]
//! handle the rest of the language. Everything else is refused with its position and the correct form.

mod arithmetic;
mod compare;
mod functions;
mod lists;
mod names;
mod operators;
mod time_literal;
mod value;

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue},
};

use self::value::{Binding, Literal, Value};
use super::{error::Error, limits::SPLIT, program::tree::Condition, syntax::SourceMap};

/// Maximum number of parts of a program. The bodies of `exists` and `all` count once for each element.
const MAX_PARTS: usize = 2_000;
/// Maximum number of patterns, each of which may cost more than all other parts.
const MAX_PATTERNS: usize = 8;
/// Maximum number of comparisons with `now`: the whole expression is evaluated again at each of their instants.
const MAX_NOW_COMPARISONS: usize = 16;

/// Checks and lowers a tree, which must be a condition.
pub(super) fn lower(tree: &IdedExpr, source_map: &SourceMap<'_>) -> Result<Condition, Error> {
    let test = Lowering { source_map, bindings: Vec::new(), part_count: 0, pattern_count: 0 }.condition(tree)?;
    if test.comparisons_with_now() > MAX_NOW_COMPARISONS {
        let message = format!("the expression compares `now` more than {MAX_NOW_COMPARISONS} times");
        return Err(source_map.error(tree, message, SPLIT));
    }
    Ok(test)
}

/// The state of a lowering.
struct Lowering<'a> {
    source_map: &'a SourceMap<'a>,
    /// The values of the variables of the enclosing `exists` and `all`, innermost last.
    bindings: Vec<(String, Binding)>,
    part_count: usize,
    pattern_count: usize,
}

impl Lowering<'_> {
    /// Lowers a part that must be a condition.
    fn condition(&mut self, part: &IdedExpr) -> Result<Condition, Error> {
        let value = self.value(part)?;
        let (type_name, example) = (value.type_name(), value.example());
        if let Value::Condition(test) = value {
            return Ok(test);
        }
        let message = format!("expected a condition, found {type_name}");
        Err(self.source_map.error(part, message, format!("compare it, as in `{example}`")))
    }

    /// Lowers any part.
    fn value(&mut self, part: &IdedExpr) -> Result<Value, Error> {
        self.part_count += 1;
        if self.part_count > MAX_PARTS {
            let message = format!("the expression expands to more than {MAX_PARTS} parts");
            return Err(self.source_map.error(part, message, "shorten the lists of `exists` and `all`"));
        }
        match &part.expr {
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Ident(name) => self.variable(part, name),
            Expr::Select(select) if select.test => self.presence(part, select),
            Expr::Select(_) => self.field(part),
            Expr::Call(call) => self.call(part, call),
            Expr::Comprehension(comprehension) => self.quantifier(part, comprehension),
            Expr::List(_) => Err(self.source_map.error(
                part,
                "a list is not a value by itself",
                "write it after `in`, or before `.exists` or `.all`",
            )),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.source_map.error(part, "maps and messages are not supported", "compare the fields one by one"))
            }
        }
    }

    fn literal(&self, part: &IdedExpr, literal: &LiteralValue) -> Result<Value, Error> {
        let refused = |message, hint| Err(self.source_map.error(part, message, hint));
        let literal = match literal {
            LiteralValue::Boolean(value) => Literal::Bool(**value),
            LiteralValue::Int(value) => Literal::Int(**value),
            LiteralValue::Double(value) => Literal::Double(**value),
            LiteralValue::String(value) => Literal::Text(value.inner().into()),
            LiteralValue::UInt(_) => return refused("unsigned numbers are not supported", "omit the `u`"),
            LiteralValue::Bytes(_) => return refused("bytes are not supported", "omit the `b` before the string"),
            LiteralValue::Null => {
                return refused("`null` is not supported", "test for a field with `has(finding.epss)`");
            }
        };
        Ok(literal.into())
    }
}
