//! The evaluation of numbers.

use super::{
    Context, Evaluated, Relation, Unknown, both, evaluate_ternary,
    tree::{Condition, Count, Number, Operation, Quantity},
};
use crate::expression::schema::ScoreField;

impl Quantity for Count {
    type Value = i64;

    fn evaluate(&self, context: &Context<'_>) -> Evaluated<i64> {
        Ok(match self {
            Self::Length(text) => saturate(text.evaluate(context)?.chars().count()),
            Self::RelatedIds => saturate(context.finding.related_ids.len()),
            Self::InUse => saturate(context.usage.in_use_count.ok_or(Unknown::Missing)?),
        })
    }

    fn compute(operation: Operation, left: i64, right: i64) -> Evaluated<i64> {
        match operation {
            Operation::Add => Ok(left.saturating_add(right)),
            Operation::Subtract => Ok(left.saturating_sub(right)),
            Operation::Multiply => Ok(left.saturating_mul(right)),
            Operation::Divide | Operation::Remainder if right == 0 => Err(Unknown::Undefined),
            Operation::Divide => Ok(left.saturating_div(right)),
            // The only overflow, i64::MIN % -1, gives 0.
            Operation::Remainder => Ok(left.wrapping_rem(right)),
        }
    }

    fn negate(value: i64) -> i64 {
        value.saturating_neg()
    }

    fn visit_conditions(&self, visit: &mut dyn FnMut(&Condition)) {
        match self {
            Self::Length(text) => text.visit_conditions(visit),
            Self::RelatedIds | Self::InUse => {}
        }
    }
}

/// Converts a count to an int; a greater one becomes the greatest int.
fn saturate(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

impl Quantity for ScoreField {
    type Value = f64;

    fn evaluate(&self, context: &Context<'_>) -> Evaluated<f64> {
        ScoreField::get(*self, context.finding).ok_or(Unknown::Missing)
    }

    fn compute(operation: Operation, left: f64, right: f64) -> Evaluated<f64> {
        let result = match operation {
            Operation::Add => left + right,
            Operation::Subtract => left - right,
            Operation::Multiply => left * right,
            Operation::Divide if right == 0.0 => return Err(Unknown::Undefined),
            Operation::Divide => left / right,
            Operation::Remainder => left % right,
        };
        if result.is_nan() { Err(Unknown::Undefined) } else { Ok(result) }
    }

    fn negate(value: f64) -> f64 {
        -value
    }

    fn visit_conditions(&self, _: &mut dyn FnMut(&Condition)) {}
}

impl<Q: Quantity> Number<Q> {
    pub(super) fn compare(relation: Relation, left: &Self, right: &Self, context: &Context<'_>) -> Evaluated<bool> {
        let (left, right) = both(left.evaluate(context), right.evaluate(context))?;
        left.partial_cmp(&right).map(|ordering| relation.holds(ordering)).ok_or(Unknown::Undefined)
    }

    fn evaluate(&self, context: &Context<'_>) -> Evaluated<Q::Value> {
        match self {
            Self::Literal(value) => Ok(*value),
            Self::Quantity(quantity) => quantity.evaluate(context),
            Self::Compute(operation, sides) => {
                let (left, right) = both(sides.0.evaluate(context), sides.1.evaluate(context))?;
                Q::compute(*operation, left, right)
            }
            Self::Negate(number) => number.evaluate(context).map(Q::negate),
            Self::Choose(parts) => {
                evaluate_ternary(parts.0.evaluate(context), || parts.1.evaluate(context), || parts.2.evaluate(context))
            }
        }
    }

    /// Visits the conditions that select the number.
    pub(super) fn visit_conditions(&self, visit: &mut dyn FnMut(&Condition)) {
        match self {
            Self::Literal(_) => {}
            Self::Quantity(quantity) => quantity.visit_conditions(visit),
            Self::Compute(_, sides) => {
                sides.0.visit_conditions(visit);
                sides.1.visit_conditions(visit);
            }
            Self::Negate(number) => number.visit_conditions(visit),
            Self::Choose(parts) => {
                visit(&parts.0);
                parts.1.visit_conditions(visit);
                parts.2.visit_conditions(visit);
            }
        }
    }
}
