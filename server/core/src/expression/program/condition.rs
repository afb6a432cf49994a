//! The evaluation of conditions in Kleene's logic: a value that does not depend on a missing one is known without it.

use jiff::Timestamp;

use super::{
    Context, Evaluated, Relation, Unknown, both, evaluate_ternary,
    time::Linear,
    tree::{Comparison, Condition, Number, Text, TextOperator},
};
use crate::{
    expression::schema::{LabelField, ScoreField},
    finding::Finding,
    scan::Usage,
};

impl Condition {
    /// Compares two scores.
    pub(in crate::expression) fn compare_scores(
        relation: Relation,
        left: Number<ScoreField>,
        right: Number<ScoreField>,
    ) -> Self {
        match (left, right) {
            (Number::Quantity(field), Number::Literal(value)) => {
                Self::Comparison(Comparison::Score(relation, field, value))
            }
            (Number::Literal(value), Number::Quantity(field)) => {
                Self::Comparison(Comparison::Score(relation.flipped(), field, value))
            }
            (left, right) => Self::Scores(relation, left, right),
        }
    }

    /// Compares two strings.
    pub(in crate::expression) fn compare_texts(operator: TextOperator, left: Text, right: Text) -> Self {
        match (left, right) {
            (Text::Field(field), Text::Literal(literal)) => {
                Self::Comparison(Comparison::Text(operator, field, literal))
            }
            (left, right) => Self::Texts(operator, left, right),
        }
    }

    /// True if all conditions hold. Their order does not affect the result, so the cheapest comes first.
    pub(in crate::expression) fn all(mut conditions: Vec<Self>) -> Self {
        conditions.sort_by_cached_key(Self::cost);
        Self::All(conditions)
    }

    /// True if any condition holds, in the order of [`Condition::all`].
    pub(in crate::expression) fn any(mut conditions: Vec<Self>) -> Self {
        conditions.sort_by_cached_key(Self::cost);
        Self::Any(conditions)
    }

    /// The approximate cost of the evaluation: a field within the finding is cheap, a string needs an indirection.
    fn cost(&self) -> u32 {
        match self {
            Self::Constant(_) | Self::Rated | Self::IsReported(_) => 1,
            Self::Comparison(comparison) => comparison.cost(),
            Self::Scores(..) => 2,
            Self::OneOf(..) | Self::IsRelatedId(_) => 10,
            Self::Texts(..) => 20,
            Self::Counts(..) => 40,
            Self::Matches(..) => 100,
            Self::Not(condition) => condition.cost(),
            // Most findings have no related id, or one.
            Self::AnyRelatedId(condition) | Self::EveryRelatedId(condition) => condition.cost().saturating_add(2),
            Self::Equivalent(sides) => sides.0.cost().saturating_add(sides.1.cost()),
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.iter().map(Self::cost).fold(1, u32::saturating_add)
            }
            Self::Choose(parts) => parts.0.cost().saturating_add(parts.1.cost()).saturating_add(parts.2.cost()),
        }
    }

    pub(in crate::expression) fn evaluate(&self, context: &Context<'_>) -> Evaluated<bool> {
        match self {
            Self::Constant(known) => Ok(*known),
            Self::Rated => Ok(LabelField::Severity.is_reported(context.finding)),
            Self::IsReported(field) if field.is_unread(context.finding) => Err(Unknown::Missing),
            Self::IsReported(field) => Ok(field.is_reported(context.finding, context.usage)),
            Self::Comparison(_) => fold_kleene(false, std::slice::from_ref(self), context),
            Self::Counts(relation, left, right) => Number::compare(*relation, left, right, context),
            Self::Scores(relation, left, right) => Number::compare(*relation, left, right, context),
            Self::Texts(condition, left, right) => {
                both(left.evaluate(context), right.evaluate(context)).map(|(left, right)| condition.holds(left, right))
            }
            Self::OneOf(text, several) => text.evaluate(context).map(|text| several.iter().any(|one| **one == *text)),
            Self::Matches(text, pattern) => text.evaluate(context).map(|text| pattern.is_match(text)),
            Self::IsRelatedId(text) => {
                text.evaluate(context).map(|text| context.finding.related_ids.iter().any(|id| **id == *text))
            }
            Self::AnyRelatedId(condition) => fold_related_ids(true, condition, context),
            Self::EveryRelatedId(condition) => fold_related_ids(false, condition, context),
            Self::Equivalent(sides) => {
                both(sides.0.evaluate(context), sides.1.evaluate(context)).map(|(left, right)| left == right)
            }
            Self::Not(condition) => condition.evaluate(context).map(|known| !known),
            Self::All(conditions) => fold_kleene(false, conditions, context),
            Self::Any(conditions) => fold_kleene(true, conditions, context),
            Self::Choose(parts) => {
                evaluate_ternary(parts.0.evaluate(context), || parts.1.evaluate(context), || parts.2.evaluate(context))
            }
        }
    }

    /// Returns the number of comparisons with `now`.
    pub(in crate::expression) fn comparisons_with_now(&self) -> usize {
        let mut count = 0;
        self.visit_times(&mut |linear| count += usize::from(linear.depends_on_now()));
        count
    }

    /// Visits every instant at which the value may change.
    pub(in crate::expression) fn instants(&self, finding: &Finding, usage: &Usage, out: &mut dyn FnMut(Timestamp)) {
        self.visit_times(&mut |linear| linear.instants(finding, usage, out));
    }

    fn visit_times(&self, visit: &mut dyn FnMut(&Linear)) {
        match self {
            Self::Comparison(Comparison::Times(_, linear)) => visit(linear),
            Self::Counts(_, left, right) => {
                for number in [left, right] {
                    number.visit_conditions(&mut |condition| condition.visit_times(visit));
                }
            }
            Self::Scores(_, left, right) => {
                for number in [left, right] {
                    number.visit_conditions(&mut |condition| condition.visit_times(visit));
                }
            }
            Self::Texts(_, left, right) => {
                for text in [left, right] {
                    text.visit_conditions(&mut |condition| condition.visit_times(visit));
                }
            }
            Self::OneOf(text, _) | Self::Matches(text, _) | Self::IsRelatedId(text) => {
                text.visit_conditions(&mut |condition| condition.visit_times(visit));
            }
            Self::Equivalent(sides) => {
                for side in [&sides.0, &sides.1] {
                    side.visit_times(visit);
                }
            }
            Self::Not(condition) | Self::AnyRelatedId(condition) | Self::EveryRelatedId(condition) => {
                condition.visit_times(visit);
            }
            Self::All(conditions) | Self::Any(conditions) => {
                for condition in conditions {
                    condition.visit_times(visit);
                }
            }
            Self::Choose(parts) => {
                for part in [&parts.0, &parts.1, &parts.2] {
                    part.visit_times(visit);
                }
            }
            Self::Constant(_) | Self::Rated | Self::IsReported(_) | Self::Comparison(_) => {}
        }
    }
}

fn fold_related_ids(verdict: bool, condition: &Condition, context: &Context<'_>) -> Evaluated<bool> {
    let contexts = context.finding.related_ids.iter().map(|id| Context { related_id: Some(id), ..*context });
    fold(verdict, contexts.map(|context| condition.evaluate(&context)))
}

/// Compiled once, so that the comparisons are part of its loop: a call would cost more than most of them.
#[inline(never)]
pub(in crate::expression) fn fold_kleene(
    verdict: bool,
    conditions: &[Condition],
    context: &Context<'_>,
) -> Evaluated<bool> {
    let evaluate = |condition: &Condition| {
        if let Condition::Comparison(comparison) = condition {
            comparison.evaluate(context)
        } else {
            condition.evaluate(context)
        }
    };
    fold(verdict, conditions.iter().map(evaluate))
}

/// Folds values in Kleene's logic: one known `verdict` decides, else the worst unknown, else the opposite.
fn fold(verdict: bool, values: impl Iterator<Item = Evaluated<bool>>) -> Evaluated<bool> {
    let mut unknown = None;
    for value in values {
        match value {
            Ok(known) if known == verdict => return Ok(verdict),
            Ok(_) => {}
            Err(other) => unknown = unknown.max(Some(other)),
        }
    }
    unknown.map_or(Ok(!verdict), Err)
}
