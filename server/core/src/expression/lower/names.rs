//! Lowers variables and fields.

use super::{
    Lowering,
    value::{Binding, Time, Value},
};
use crate::expression::{
    error::{Error, quote},
    fuzzy_match::closest_match,
    program::{
        time::Linear,
        tree::{Condition, Count, Number, Text},
    },
    schema::{Field, Variable},
    tree::{Call, Kind, Node},
};

/// The variable for the instant of the decision.
pub(super) const NOW: &str = "now";

impl Lowering<'_> {
    pub(super) fn variable(&self, part: &Node<'_>, name: &str) -> Result<Value, Error> {
        if let Some((_, bound)) = self.bindings.iter().rev().find(|(variable, _)| variable == name) {
            return Ok(match bound {
                Binding::Literal(literal) => literal.clone().into(),
                Binding::RelatedId => Value::Text(Text::RelatedId),
            });
        }
        if name == NOW {
            return Ok(Value::Timestamp(Time::Linear(Linear::now())));
        }
        Err(match Variable::from_name(name) {
            Some(variable) => self.error(part, format!("`{name}` is not a value by itself"), fields(variable)),
            None => self.unknown_variable(part, name),
        })
    }

    fn unknown_variable(&self, part: &Node<'_>, name: &str) -> Error {
        let has_field = |variable: &Variable| variable.field_names().any(|known| known.split('.').next() == Some(name));
        let hint = match Variable::ALL.into_iter().find(has_field) {
            Some(variable) => format!("write `{}.{name}`", variable.name()),
            None if name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => {
                format!("write labels in quotes: \"{name}\"")
            }
            None => format!("the variables are `finding`, `manifest` and `{NOW}`; {}", all_fields()),
        };
        self.error(part, format!("there is no variable {}", quote(name)), hint)
    }

    /// Lowers a field to a value.
    pub(super) fn field(&self, part: &Node<'_>) -> Result<Value, Error> {
        Ok(match self.named_field(part)? {
            Field::Text(field) => Value::Text(Text::Field(field)),
            Field::Score(field) => Value::Double(Number::Quantity(field)),
            Field::Time(field) => Value::Timestamp(Time::Linear(Linear::field(field))),
            Field::Label(field) => Value::Label(field),
            Field::Rated => Value::Condition(Condition::Rated),
            Field::RelatedIds => Value::RelatedIds,
            Field::InUseCount => Value::Int(Number::Quantity(Count::InUse)),
            Field::Kev => {
                return Err(self.error(
                    part,
                    "`finding.kev` is not a value by itself",
                    "write `has(finding.kev)`, or compare `finding.kev.add_time` or `finding.kev.due_time`",
                ));
            }
        })
    }

    /// Lowers `has`.
    pub(super) fn presence(&self, part: &Node<'_>, call: &Call<'_>) -> Result<Value, Error> {
        let (None, [field]) = (&call.target, call.arguments.as_slice()) else {
            return Err(self.misuse(part, call));
        };
        let Some(path) = path(field).filter(|path| path.contains('.')) else {
            return Err(self.error(field, "`has` needs a field", "write it as in `has(finding.epss)`"));
        };
        self.lookup(part, &path).map(|field| Value::Condition(Condition::IsReported(field)))
    }

    fn named_field(&self, part: &Node<'_>) -> Result<Field, Error> {
        let Some(path) = path(part) else {
            let message = "only `finding` and `manifest` have fields";
            return Err(self.error(part, message, "write it as in `finding.package.name`"));
        };
        self.lookup(part, &path)
    }

    fn lookup(&self, part: &Node<'_>, path: &str) -> Result<Field, Error> {
        let (variable, name) = path.split_once('.').unwrap_or((path, ""));
        if variable == NOW || self.bindings.iter().any(|(bound, _)| bound == variable) {
            let message = format!("{} has no fields", quote(variable));
            let hint = format!("only `finding` and `manifest` have fields; {}", all_fields());
            return Err(self.error(part, message, hint));
        }
        let variable = Variable::from_name(variable).ok_or_else(|| self.unknown_variable(part, variable))?;
        variable.field(name).ok_or_else(|| {
            let hint = match closest_field(variable, name) {
                Some(known) => format!("did you mean `{known}`? {}", fields(variable)),
                None => fields(variable),
            };
            self.error(part, format!("there is no field {}", quote(path)), hint)
        })
    }
}

/// Returns the dotted path of a field, from the variable on.
fn path(part: &Node<'_>) -> Option<String> {
    match &part.kind {
        Kind::Name(name) => Some((*name).to_owned()),
        Kind::Field(operand, field) => path(operand).map(|operand| join(&operand, field)),
        Kind::Bool(_)
        | Kind::Int(_)
        | Kind::Double(_)
        | Kind::Text(_)
        | Kind::List(_)
        | Kind::Call(_)
        | Kind::Not(_)
        | Kind::Negate(_)
        | Kind::Compute(..)
        | Kind::Compare(..)
        | Kind::In(_)
        | Kind::All(_)
        | Kind::Any(_)
        | Kind::Ternary(_) => None,
    }
}

fn join(operand: &str, field: &str) -> String {
    format!("{operand}.{field}")
}

/// Returns the field that an unknown one of a variable probably means: the same of another variable, or a similar one.
fn closest_field(variable: Variable, name: &str) -> Option<String> {
    let other = Variable::ALL.into_iter().find(|other| other.field(name).is_some());
    let meant = match other {
        Some(other) => (other, name),
        None => (variable, closest_match(name, variable.field_names())?),
    };
    Some(join(meant.0.name(), meant.1))
}

/// Lists the fields of a variable, for a hint.
fn fields(variable: Variable) -> String {
    let names: Vec<_> = variable.field_names().collect();
    format!("the fields of `{}` are {}", variable.name(), names.join(", "))
}

/// Lists the fields of all variables, for a hint.
fn all_fields() -> String {
    Variable::ALL.map(fields).join("; ")
}
