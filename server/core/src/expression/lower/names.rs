//! Variables and fields.

use cel::{
    IdedExpr,
    common::ast::{Expr, SelectExpr},
};

use super::{
    Lowering,
    value::{Time, Value},
};
use crate::expression::{
    error::{Error, quoted},
    nearest::nearest,
    program::{number::Number, test::Test, text::Text, time::Linear},
    schema::{FIELDS, Field},
};

/// The variable that stands for the finding.
pub(super) const FINDING: &str = "finding";
/// The variable that stands for the instant of the decision.
pub(super) const NOW: &str = "now";

impl Lowering<'_> {
    pub(super) fn variable(&self, part: &IdedExpr, name: &str) -> Result<Value, Error> {
        if let Some((_, literal)) = self.bindings.iter().rev().find(|(bound, _)| bound == name) {
            return Ok(literal.clone().into());
        }
        match name {
            NOW => Ok(Value::Timestamp(Time::Linear(Linear::now()))),
            FINDING => Err(self.places.error(part, "the finding is no value by itself", format!("name {}", fields()))),
            _ => Err(self.unknown_variable(part, name)),
        }
    }

    fn unknown_variable(&self, part: &IdedExpr, name: &str) -> Error {
        let is_field = |written: &str| FIELDS.iter().any(|(known, _)| known.split('.').next() == Some(written));
        let remedy = match name {
            _ if is_field(name) => format!("write `finding.{name}`"),
            _ if name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => {
                format!("write labels in quotes: \"{name}\"")
            }
            _ => format!("the variables are `{FINDING}` and `{NOW}`, and {}", fields()),
        };
        self.places.error(part, format!("there is no variable {}", quoted(name)), remedy)
    }

    /// A field as a value.
    pub(super) fn field(&self, part: &IdedExpr) -> Result<Value, Error> {
        Ok(match self.named_field(part)? {
            Field::Text(field) => Value::Text(Text::Read(field)),
            Field::Score(field) => Value::Double(Number::Read(field)),
            Field::Time(field) => Value::Timestamp(Time::Linear(Linear::field(field))),
            Field::Label(field) => Value::Label(field),
            Field::Rated => Value::Test(Test::Rated),
        })
    }

    /// Whether a field is there.
    pub(super) fn presence(&self, part: &IdedExpr, select: &SelectExpr) -> Result<Value, Error> {
        let Some(name) = path(&select.operand).map(|path| joined(&path, &select.field)) else {
            return Err(self.places.error(
                part,
                "`has` takes a field of the finding",
                "write it as in `has(finding.epss)`",
            ));
        };
        self.lookup(part, &name).map(|field| Value::Test(Test::Given(field)))
    }

    fn named_field(&self, part: &IdedExpr) -> Result<Field, Error> {
        let Some(path) = path(part) else {
            return Err(self.places.error(
                part,
                "only the finding has fields",
                "write it as in `finding.package.name`",
            ));
        };
        self.lookup(part, &path)
    }

    fn lookup(&self, part: &IdedExpr, path: &str) -> Result<Field, Error> {
        let (variable, name) = path.split_once('.').unwrap_or((path, ""));
        if variable == NOW || self.bindings.iter().any(|(bound, _)| bound == variable) {
            let message = format!("{} has no fields", quoted(variable));
            return Err(self.places.error(part, message, format!("only `{FINDING}` has some: {}", fields())));
        }
        if variable != FINDING {
            return Err(self.unknown_variable(part, variable));
        }
        Field::named(name).ok_or_else(|| {
            let suggestion = nearest(name, FIELDS.map(|(known, _)| known));
            let remedy = match suggestion {
                Some(known) => format!("did you mean `{FINDING}.{known}`? {}", fields()),
                None => fields(),
            };
            let name = format!("{FINDING}.{name}");
            self.places.error(part, format!("there is no field {}", quoted(&name)), remedy)
        })
    }
}

/// The names that lead to a field, from the variable on.
fn path(part: &IdedExpr) -> Option<String> {
    match &part.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => path(&select.operand).map(|operand| joined(&operand, &select.field)),
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => None,
    }
}

fn joined(operand: &str, field: &str) -> String {
    format!("{operand}.{field}")
}

/// All fields, for whoever misses one.
fn fields() -> String {
    let names = FIELDS.map(|(name, _)| name).join(", ");
    format!("the fields of `{FINDING}` are {names}")
}
