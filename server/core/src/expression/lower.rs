//! Lowers the parser's tree to a [program](super::program). Every name is resolved and every type is checked here,
//! once.
//!
//! [`names`] handles variables and fields; [`arithmetic`], [`compare`], [`functions`], [`lists`] and [`ternary`] handle
//! the rest of the language. Everything else is refused with its position and the correct form.

mod arithmetic;
mod compare;
mod functions;
mod lists;
mod names;
mod ternary;
mod time_literal;
mod value;

use self::value::{Binding, Value};
use super::{
    error::Error,
    program::tree::{Condition, Number, Text},
    syntax::SPLIT,
    tree::{Kind, Node},
};

/// Maximum number of parts of a program. The bodies of `exists` and `all` count once for each element.
const MAX_PARTS: usize = 2_000;
/// Maximum number of patterns, each of which may cost more than all other parts.
const MAX_PATTERNS: usize = 8;
/// Maximum number of comparisons with `now`: the whole expression is evaluated again at each of their instants.
const MAX_NOW_COMPARISONS: usize = 16;

/// Checks and lowers the tree of a source, which must be a condition.
pub(super) fn lower(source: &str, tree: &Node<'_>) -> Result<Condition, Error> {
    let mut lowering = Lowering { source, bindings: Vec::new(), part_count: 0, pattern_count: 0 };
    let test = lowering.condition(tree)?;
    if test.comparisons_with_now() > MAX_NOW_COMPARISONS {
        let message = format!("the expression compares `now` more than {MAX_NOW_COMPARISONS} times");
        return Err(lowering.error(tree, message, SPLIT));
    }
    Ok(test)
}

/// The state of a lowering.
struct Lowering<'a> {
    source: &'a str,
    /// The values of the variables of the enclosing `exists` and `all`, innermost last.
    bindings: Vec<(String, Binding)>,
    part_count: usize,
    pattern_count: usize,
}

impl Lowering<'_> {
    /// Creates an error about a part.
    fn error(&self, about: &Node<'_>, message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::at(self.source, about.start, message, hint)
    }

    /// Lowers a part that must be a condition.
    fn condition(&mut self, part: &Node<'_>) -> Result<Condition, Error> {
        let value = self.value(part)?;
        let (type_name, example) = (value.type_name(), value.example());
        if let Value::Condition(test) = value {
            return Ok(test);
        }
        let message = format!("expected a condition, found {type_name}");
        Err(self.error(part, message, format!("compare it, as in `{example}`")))
    }

    /// Lowers any part.
    fn value(&mut self, part: &Node<'_>) -> Result<Value, Error> {
        self.part_count += 1;
        if self.part_count > MAX_PARTS {
            let message = format!("the expression expands to more than {MAX_PARTS} parts");
            return Err(self.error(part, message, "shorten the lists of `exists` and `all`"));
        }
        match &part.kind {
            Kind::Bool(value) => Ok(Value::Condition(Condition::Constant(*value))),
            Kind::Int(value) => Ok(Value::Int(Number::Literal(*value))),
            Kind::Double(value) => Ok(Value::Double(Number::Literal(*value))),
            Kind::Text(value) => Ok(Value::Text(Text::Literal(value.as_str().into()))),
            Kind::Name(name) => self.variable(part, name),
            Kind::Field(..) => self.field(part),
            Kind::Call(call) => self.function(part, call),
            Kind::Not(test) => Ok(Value::Condition(Condition::Not(Box::new(self.condition(test)?)))),
            Kind::Negate(number) => self.negation(number),
            Kind::Compute(operation, sides) => self.arithmetic(part, *operation, &sides.0, &sides.1),
            Kind::Compare(relation, sides) => self.comparison(part, *relation, &sides.0, &sides.1),
            Kind::In(sides) => self.membership(&sides.0, &sides.1).map(Value::Condition),
            Kind::All(tests) => self.conditions(tests).map(Condition::all).map(Value::Condition),
            Kind::Any(tests) => self.conditions(tests).map(Condition::any).map(Value::Condition),
            Kind::Ternary(parts) => self.ternary(part, &parts.0, &parts.1, &parts.2),
            Kind::List(_) => {
                let hint = "write it after `in`, or before `.exists` or `.all`";
                Err(self.error(part, "a list is not a value by itself", hint))
            }
        }
    }

    fn conditions(&mut self, parts: &[Node<'_>]) -> Result<Vec<Condition>, Error> {
        parts.iter().map(|part| self.condition(part)).collect()
    }
}
