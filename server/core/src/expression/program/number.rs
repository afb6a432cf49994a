//! Numbers: lengths are whole, scores are not, and the two never mix.

use std::fmt::Debug;

use super::{Facts, Gap, Known, Relation, both, choose, test::Test, text::Text};
use crate::expression::schema::ScoreField;

/// What an expression computes with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::expression) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// What can be read as a number of one kind, and how that kind computes.
pub(in crate::expression) trait Quantity {
    type Value: Copy + Debug + PartialEq + PartialOrd;

    fn read(&self, facts: &Facts<'_>) -> Known<Self::Value>;

    /// Saturates where the result is too large, and is undefined where there is none.
    fn compute(operation: Operation, left: Self::Value, right: Self::Value) -> Known<Self::Value>;

    fn negate(value: Self::Value) -> Self::Value;

    fn each_condition(&self, visit: &mut dyn FnMut(&Test));
}

/// The length of a string, in characters.
#[derive(Debug)]
pub(in crate::expression) struct Length(pub(in crate::expression) Text);

impl Quantity for Length {
    type Value = i64;

    fn read(&self, facts: &Facts<'_>) -> Known<i64> {
        self.0.read(facts).map(|text| i64::try_from(text.chars().count()).unwrap_or(i64::MAX))
    }

    fn compute(operation: Operation, left: i64, right: i64) -> Known<i64> {
        match operation {
            Operation::Add => Ok(left.saturating_add(right)),
            Operation::Subtract => Ok(left.saturating_sub(right)),
            Operation::Multiply => Ok(left.saturating_mul(right)),
            Operation::Divide | Operation::Remainder if right == 0 => Err(Gap::Undefined),
            Operation::Divide => Ok(left.saturating_div(right)),
            // The one that overflows, i64::MIN by -1, leaves nothing.
            Operation::Remainder => Ok(left.wrapping_rem(right)),
        }
    }

    fn negate(value: i64) -> i64 {
        value.saturating_neg()
    }

    fn each_condition(&self, visit: &mut dyn FnMut(&Test)) {
        self.0.each_condition(visit);
    }
}

impl Quantity for ScoreField {
    type Value = f64;

    fn read(&self, facts: &Facts<'_>) -> Known<f64> {
        ScoreField::read(*self, facts.finding).ok_or(Gap::Missing)
    }

    fn compute(operation: Operation, left: f64, right: f64) -> Known<f64> {
        let result = match operation {
            Operation::Add => left + right,
            Operation::Subtract => left - right,
            Operation::Multiply => left * right,
            Operation::Divide if right == 0.0 => return Err(Gap::Undefined),
            Operation::Divide => left / right,
            Operation::Remainder => left % right,
        };
        if result.is_nan() { Err(Gap::Undefined) } else { Ok(result) }
    }

    fn negate(value: f64) -> f64 {
        -value
    }

    fn each_condition(&self, _: &mut dyn FnMut(&Test)) {}
}

/// A number of one kind.
#[derive(Debug)]
pub(in crate::expression) enum Number<Q: Quantity> {
    Literal(Q::Value),
    Read(Q),
    Compute(Operation, Box<(Number<Q>, Number<Q>)>),
    Negate(Box<Number<Q>>),
    Choose(Box<(Test, Number<Q>, Number<Q>)>),
}

impl<Q: Quantity> Number<Q> {
    pub(super) fn compare(relation: Relation, left: &Self, right: &Self, facts: &Facts<'_>) -> Known<bool> {
        let (left, right) = both(left.read(facts), right.read(facts))?;
        left.partial_cmp(&right).map(|ordering| relation.holds(ordering)).ok_or(Gap::Undefined)
    }

    fn read(&self, facts: &Facts<'_>) -> Known<Q::Value> {
        match self {
            Self::Literal(value) => Ok(*value),
            Self::Read(quantity) => quantity.read(facts),
            Self::Compute(operation, sides) => {
                let (left, right) = both(sides.0.read(facts), sides.1.read(facts))?;
                Q::compute(*operation, left, right)
            }
            Self::Negate(number) => number.read(facts).map(Q::negate),
            Self::Choose(parts) => choose(parts.0.holds(facts), || parts.1.read(facts), || parts.2.read(facts)),
        }
    }

    /// Visits the conditions that the number depends on.
    pub(super) fn each_condition(&self, visit: &mut dyn FnMut(&Test)) {
        match self {
            Self::Literal(_) => {}
            Self::Read(quantity) => quantity.each_condition(visit),
            Self::Compute(_, sides) => {
                sides.0.each_condition(visit);
                sides.1.each_condition(visit);
            }
            Self::Negate(number) => number.each_condition(visit),
            Self::Choose(parts) => {
                visit(&parts.0);
                parts.1.each_condition(visit);
                parts.2.each_condition(visit);
            }
        }
    }
}
