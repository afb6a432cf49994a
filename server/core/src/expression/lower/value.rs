//! What a part of an expression comes to, and of which type it is.

use crate::expression::{
    program::{
        number::{Length, Number},
        test::Test,
        text::Text,
        time::Linear,
    },
    schema::{LabelField, ScoreField},
};

/// A lowered part.
#[derive(Debug)]
pub(super) enum Value {
    Test(Test),
    Int(Number<Length>),
    Double(Number<ScoreField>),
    Text(Text),
    Label(LabelField),
    Timestamp(Time),
    Duration(Time),
}

/// A time whose comparisons are not made yet: a choice between two becomes a choice between two comparisons.
#[derive(Debug)]
pub(super) enum Time {
    Linear(Linear),
    Choose(Box<(Test, Time, Time)>),
}

/// What can be written out in full: an element of a list.
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
    /// Its type, with an article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Test(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Double(_) => "a double",
            Self::Text(_) => "a string",
            Self::Label(LabelField::Severity) => "a severity",
            Self::Label(LabelField::Fix) => "a fix label",
            Self::Label(LabelField::Exploit) => "an exploit label",
            Self::Label(LabelField::Status) => "a status",
            Self::Timestamp(_) => "a timestamp",
            Self::Duration(_) => "a duration",
        }
    }

    /// How a value of its type is compared rightly.
    pub(super) fn compared(&self) -> &'static str {
        match self {
            Self::Test(_) => "finding.rated == true",
            Self::Int(_) => "size(finding.title) > 10",
            Self::Double(_) => "finding.cvss >= 7.0",
            Self::Text(_) => r#"finding.package.name == "openssl""#,
            Self::Label(LabelField::Severity) => r#"finding.severity >= "HIGH""#,
            Self::Label(LabelField::Fix) => r#"finding.fix == "AVAILABLE""#,
            Self::Label(LabelField::Exploit) => r#"finding.exploit == "KNOWN""#,
            Self::Label(LabelField::Status) => r#"finding.status == "ACTIVE""#,
            Self::Timestamp(_) => r#"finding.published_at < timestamp("2026-01-01T00:00:00Z")"#,
            Self::Duration(_) => r#"now - finding.published_at > duration("168h")"#,
        }
    }

    /// The literal that it is, if it is one.
    pub(super) fn into_literal(self) -> Result<Literal, Self> {
        match self {
            Self::Test(Test::Constant(value)) => Ok(Literal::Bool(value)),
            Self::Int(Number::Literal(value)) => Ok(Literal::Int(value)),
            Self::Double(Number::Literal(value)) => Ok(Literal::Double(value)),
            Self::Text(Text::Literal(value)) => Ok(Literal::Text(value)),
            Self::Timestamp(Time::Linear(time)) if time.is_constant() => Ok(Literal::Timestamp(time)),
            Self::Duration(Time::Linear(time)) if time.is_constant() => Ok(Literal::Duration(time)),
            other @ (Self::Test(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Label(_)
            | Self::Timestamp(_)
            | Self::Duration(_)) => Err(other),
        }
    }

    /// Two values of one type, a whole number written out being a double where the other one is: CEL would not compare
    /// them, and nobody means anything else by `finding.cvss >= 7`.
    pub(super) fn agreeing(left: Self, right: Self) -> (Self, Self) {
        match (left, right) {
            (Self::Double(left), Self::Int(Number::Literal(right))) => (Self::Double(left), as_double(right)),
            (Self::Int(Number::Literal(left)), Self::Double(right)) => (as_double(left), Self::Double(right)),
            unchanged => unchanged,
        }
    }
}

/// The double that is this whole number; one too large to be sure of stays as it is, and is refused as of the wrong type.
fn as_double(whole: i64) -> Value {
    i32::try_from(whole)
        .map_or(Value::Int(Number::Literal(whole)), |whole| Value::Double(Number::Literal(f64::from(whole))))
}

impl From<Literal> for Value {
    fn from(literal: Literal) -> Self {
        match literal {
            Literal::Bool(value) => Self::Test(Test::Constant(value)),
            Literal::Int(value) => Self::Int(Number::Literal(value)),
            Literal::Double(value) => Self::Double(Number::Literal(value)),
            Literal::Text(value) => Self::Text(Text::Literal(value)),
            Literal::Timestamp(time) => Self::Timestamp(Time::Linear(time)),
            Literal::Duration(time) => Self::Duration(Time::Linear(time)),
        }
    }
}
