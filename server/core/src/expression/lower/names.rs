//! Lowers variables and fields.

use cel::{
    IdedExpr,
    common::ast::{Expr, SelectExpr},
};

use super::{
    Lowering,
    value::{Binding, Time, Value},
};
use crate::expression::{
    error::{Error, quote},
    fuzzy_match::closest_match,
    program::{
        time::Linear,
        tree::{Condition, Number, Text},
    },
    schema::{FIELDS, Field},
};

/// The variable for the finding.
pub(super) const FINDING: &str = "finding";
/// The variable for the instant of the decision.
pub(super) const NOW: &str = "now";

impl Lowering<'_> {
    pub(super) fn variable(&self, part: &IdedExpr, name: &str) -> Result<Value, Error> {
        if let Some((_, bound)) = self.bindings.iter().rev().find(|(variable, _)| variable == name) {
            return Ok(match bound {
                Binding::Literal(literal) => literal.clone().into(),
                Binding::RelatedId => Value::Text(Text::RelatedId),
            });
        }
        match name {
            NOW => Ok(Value::Timestamp(Time::Linear(Linear::now()))),
            FINDING => Err(self.source_map.error(part, "`finding` is not a value by itself", fields())),
            _ => Err(self.unknown_variable(part, name)),
        }
    }

    fn unknown_variable(&self, part: &IdedExpr, name: &str) -> Error {
        let is_field = |name: &str| FIELDS.iter().any(|(known, _)| known.split('.').next() == Some(name));
        let hint = match name {
            _ if is_field(name) => format!("write `finding.{name}`"),
            _ if name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => {
                format!("write labels in quotes: \"{name}\"")
            }
            _ => format!("the variables are `{FINDING}` and `{NOW}`, and {}", fields()),
        };
        self.source_map.error(part, format!("there is no variable {}", quote(name)), hint)
    }

    /// Lowers a field to a value.
    pub(super) fn field(&self, part: &IdedExpr) -> Result<Value, Error> {
        Ok(match self.named_field(part)? {
            Field::Text(field) => Value::Text(Text::Field(field)),
            Field::Score(field) => Value::Double(Number::Quantity(field)),
            Field::Time(field) => Value::Timestamp(Time::Linear(Linear::field(field))),
            Field::Label(field) => Value::Label(field),
            Field::Rated => Value::Condition(Condition::Rated),
            Field::RelatedIds => Value::RelatedIds,
            Field::Kev => {
                return Err(self.source_map.error(
                    part,
                    "`finding.kev` is not a value by itself",
                    "write `has(finding.kev)`, or compare `finding.kev.added_at` or `finding.kev.due_at`",
                ));
            }
        })
    }

    /// Lowers `has`.
    pub(super) fn presence(&self, part: &IdedExpr, select: &SelectExpr) -> Result<Value, Error> {
        let Some(name) = path(&select.operand).map(|path| join(&path, &select.field)) else {
            return Err(self.source_map.error(
                part,
                "`has` needs a field of the finding",
                "write it as in `has(finding.epss)`",
            ));
        };
        self.lookup(part, &name).map(|field| Value::Condition(Condition::IsReported(field)))
    }

    fn named_field(&self, part: &IdedExpr) -> Result<Field, Error> {
        let Some(path) = path(part) else {
            return Err(self.source_map.error(
                part,
                "only `finding` has fields",
                "write it as in `finding.package.name`",
            ));
        };
        self.lookup(part, &path)
    }

    fn lookup(&self, part: &IdedExpr, path: &str) -> Result<Field, Error> {
        let (variable, name) = path.split_once('.').unwrap_or((path, ""));
        if variable == NOW || self.bindings.iter().any(|(bound, _)| bound == variable) {
            let message = format!("{} has no fields", quote(variable));
            return Err(self.source_map.error(part, message, format!("only `{FINDING}` has fields; {}", fields())));
        }
        if variable != FINDING {
            return Err(self.unknown_variable(part, variable));
        }
        Field::from_name(name).ok_or_else(|| {
            let suggestion = closest_match(name, FIELDS.map(|(known, _)| known));
            let hint = match suggestion {
                Some(known) => format!("did you mean `{FINDING}.{known}`? {}", fields()),
                None => fields(),
            };
            let name = format!("{FINDING}.{name}");
            self.source_map.error(part, format!("there is no field {}", quote(&name)), hint)
        })
    }
}

/// Returns the dotted path of a field, from the variable on.
fn path(part: &IdedExpr) -> Option<String> {
    match &part.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => path(&select.operand).map(|operand| join(&operand, &select.field)),
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

fn join(operand: &str, field: &str) -> String {
    format!("{operand}.{field}")
}

/// Lists all fields, for a hint.
fn fields() -> String {
    let names = FIELDS.map(|(name, _)| name).join(", ");
    format!("the fields of `{FINDING}` are {names}")
}
