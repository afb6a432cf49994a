//! The typed tree of a checked expression. Its nodes refer to each other, so all of them are defined here.

use std::fmt::Debug;

use regex::Regex;

use super::{Context, Evaluated, Relation, time::Linear};
use crate::expression::schema::{Field, LabelField, ScoreField, TextField};

/// A condition: a node whose value is true, false or unknown.
#[derive(Debug)]
pub(in crate::expression) enum Condition {
    Constant(bool),
    Rated,
    /// True if the scan reports the field. Unknown for an entry in CISA's catalogue that may not have been read.
    IsReported(Field),
    Comparison(Comparison),
    Counts(Relation, Number<Count>, Number<Count>),
    Scores(Relation, Number<ScoreField>, Number<ScoreField>),
    Texts(TextOperator, Text, Text),
    OneOf(Text, Box<[Box<str>]>),
    Matches(Text, Box<Regex>),
    /// True if the text is one of the related ids.
    IsRelatedId(Text),
    /// Over the related ids: true if the condition holds for one of them.
    AnyRelatedId(Box<Condition>),
    /// Over the related ids: true if the condition holds for all of them.
    EveryRelatedId(Box<Condition>),
    /// True if both sides have the same truth value.
    Equivalent(Box<(Condition, Condition)>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Choose(Box<(Condition, Condition, Condition)>),
}

/// A comparison of fields with fixed values. Most conditions are one, and it has no other conditions as parts.
#[derive(Debug)]
pub(in crate::expression) enum Comparison {
    /// True if the field has one of the labels whose bits are set.
    LabelIn(LabelField, u8),
    Score(Relation, ScoreField, f64),
    Text(TextOperator, TextField, Box<str>),
    /// A comparison of a time, or of a difference of times, with zero.
    Times(Relation, Linear),
}

/// A string, always borrowed from the finding or from the expression.
#[derive(Debug)]
pub(in crate::expression) enum Text {
    Literal(Box<str>),
    Field(TextField),
    /// The related id that `exists` or `all` has reached.
    RelatedId,
    Choose(Box<(Condition, Text, Text)>),
}

/// A comparison of two strings.
#[derive(Clone, Copy, Debug)]
pub(in crate::expression) enum TextOperator {
    /// Compares by code points: case matters, and no language is preferred.
    Compare(Relation),
    StartsWith,
    EndsWith,
    Contains,
}

/// A number of one kind.
#[derive(Debug)]
pub(in crate::expression) enum Number<Q: Quantity> {
    Literal(Q::Value),
    Quantity(Q),
    Compute(Operation, Box<(Number<Q>, Number<Q>)>),
    Negate(Box<Number<Q>>),
    Choose(Box<(Condition, Number<Q>, Number<Q>)>),
}

/// An arithmetic operation on two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::expression) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A kind of number: its source and its arithmetic. Counts are whole numbers, scores are not, and the two never mix.
pub(in crate::expression) trait Quantity {
    type Value: Copy + Debug + PartialEq + PartialOrd;

    fn evaluate(&self, context: &Context<'_>) -> Evaluated<Self::Value>;

    /// Saturates on overflow; [`Unknown::Undefined`](super::Unknown::Undefined) if there is no result.
    fn compute(operation: Operation, left: Self::Value, right: Self::Value) -> Evaluated<Self::Value>;

    fn negate(value: Self::Value) -> Self::Value;

    fn visit_conditions(&self, visit: &mut dyn FnMut(&Condition));
}

/// A whole number.
#[derive(Debug)]
pub(in crate::expression) enum Count {
    /// The length of a string, in characters.
    Length(Text),
    /// The number of related ids.
    RelatedIds,
    /// The number of tasks and pods that run the manifest.
    InUse,
}
