//! The value of a lowered part, with its type.

use crate::expression::{
    program::{
        time::Linear,
        tree::{Condition, Count, Number, Text},
    },
    schema::{LabelField, ScoreField},
};

/// The value of a lowered part.
#[derive(Debug)]
pub(super) enum Value {
    Condition(Condition),
    Int(Number<Count>),
    Double(Number<ScoreField>),
    Text(Text),
    Label(LabelField),
    RelatedIds,
    Timestamp(Time),
    Duration(Time),
}

/// A time before its comparison. A ternary of times becomes a ternary of comparisons.
#[derive(Debug)]
pub(super) enum Time {
    Linear(Linear),
    Choose(Box<(Condition, Time, Time)>),
}

/// The value of a variable of `exists` or `all`.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    Literal(Literal),
    /// An element of `finding.related_ids`, known at the evaluation.
    RelatedId,
}

/// A literal, such as an element of a list.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Timestamp(Linear),
    Duration(Linear),
}

impl Value {
    /// Returns the name of its type, with an article.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Condition(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Double(_) => "a double",
            Self::Text(_) => "a string",
            Self::Label(LabelField::Severity) => "a severity",
            Self::Label(LabelField::Fix) => "a fix label",
            Self::Label(LabelField::Exploit) => "an exploit label",
            Self::Label(LabelField::Status) => "a status",
            Self::RelatedIds => "a list",
            Self::Timestamp(_) => "a timestamp",
            Self::Duration(_) => "a duration",
        }
    }

    /// Returns an example of a comparison of this type.
    pub(super) fn example(&self) -> &'static str {
        match self {
            Self::Condition(_) => "finding.rated == true",
            Self::Int(Number::Quantity(Count::InUse)) => "manifest.in_use_count > 0",
            Self::Int(_) => "size(finding.title) > 10",
            Self::Double(_) => "finding.cvss >= 7.0",
            Self::Text(_) => r#"finding.package.name == "openssl""#,
            Self::Label(LabelField::Severity) => r#"finding.severity >= "HIGH""#,
            Self::Label(LabelField::Fix) => r#"finding.fix == "AVAILABLE""#,
            Self::Label(LabelField::Exploit) => r#"finding.exploit == "KNOWN""#,
            Self::Label(LabelField::Status) => r#"finding.status == "ACTIVE""#,
            Self::RelatedIds => r#""CVE-2026-1001" in finding.related_ids"#,
            Self::Timestamp(_) => r#"finding.publish_time < timestamp("2026-01-01T00:00:00Z")"#,
            Self::Duration(_) => r#"now - finding.publish_time > duration("168h")"#,
        }
    }

    /// Returns the literal, or the value itself if it is not one.
    pub(super) fn into_literal(self) -> Result<Literal, Self> {
        match self {
            Self::Condition(Condition::Constant(value)) => Ok(Literal::Bool(value)),
            Self::Int(Number::Literal(value)) => Ok(Literal::Int(value)),
            Self::Double(Number::Literal(value)) => Ok(Literal::Double(value)),
            Self::Text(Text::Literal(value)) => Ok(Literal::Text(value)),
            Self::Timestamp(Time::Linear(time)) if time.is_constant() => Ok(Literal::Timestamp(time)),
            Self::Duration(Time::Linear(time)) if time.is_constant() => Ok(Literal::Duration(time)),
            other @ (Self::Condition(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Label(_)
            | Self::RelatedIds
            | Self::Timestamp(_)
            | Self::Duration(_)) => Err(other),
        }
    }

    /// Converts the literal int of a pair to a double if the other value is a double. CEL would refuse `finding.cvss >=
    /// 7`, but its meaning is clear.
    pub(super) fn unify(left: Self, right: Self) -> (Self, Self) {
        match (left, right) {
            (Self::Double(left), Self::Int(Number::Literal(right))) => (Self::Double(left), as_double(right)),
            (Self::Int(Number::Literal(left)), Self::Double(right)) => (as_double(left), Self::Double(right)),
            unchanged => unchanged,
        }
    }
}

/// Converts a whole number to a double. A number beyond 32 bits stays an int, and is then refused for its type.
fn as_double(whole: i64) -> Value {
    i32::try_from(whole)
        .map_or(Value::Int(Number::Literal(whole)), |whole| Value::Double(Number::Literal(f64::from(whole))))
}

impl From<Literal> for Value {
    fn from(literal: Literal) -> Self {
        match literal {
            Literal::Bool(value) => Self::Condition(Condition::Constant(value)),
            Literal::Int(value) => Self::Int(Number::Literal(value)),
            Literal::Double(value) => Self::Double(Number::Literal(value)),
            Literal::Text(value) => Self::Text(Text::Literal(value)),
            Literal::Timestamp(time) => Self::Timestamp(Time::Linear(time)),
            Literal::Duration(time) => Self::Duration(Time::Linear(time)),
        }
    }
}
