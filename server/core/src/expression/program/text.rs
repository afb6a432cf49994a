//! The evaluation of strings.

use super::{
    Context, Evaluated, Relation, Unknown, evaluate_ternary,
    tree::{Condition, Text, TextOperator},
};

impl TextOperator {
    pub(super) fn holds(self, left: &str, right: &str) -> bool {
        match self {
            // Equality compares the lengths first, and most strings differ there.
            Self::Compare(Relation::Equal) => left == right,
            Self::Compare(Relation::NotEqual) => left != right,
            Self::Compare(relation) => relation.holds(left.cmp(right)),
            Self::StartsWith => left.starts_with(right),
            Self::EndsWith => left.ends_with(right),
            Self::Contains => left.contains(right),
        }
    }
}

impl Text {
    pub(super) fn evaluate<'a>(&'a self, context: &Context<'a>) -> Evaluated<&'a str> {
        match self {
            Self::Literal(text) => Ok(text),
            Self::Field(field) => field.get(context.finding).ok_or(Unknown::Missing),
            Self::RelatedId => context.related_id.ok_or(Unknown::Missing),
            Self::Choose(parts) => {
                evaluate_ternary(parts.0.evaluate(context), || parts.1.evaluate(context), || parts.2.evaluate(context))
            }
        }
    }

    /// Visits the conditions that select the string.
    pub(super) fn visit_conditions(&self, visit: &mut dyn FnMut(&Condition)) {
        match self {
            Self::Literal(_) | Self::Field(_) | Self::RelatedId => {}
            Self::Choose(parts) => {
                visit(&parts.0);
                parts.1.visit_conditions(visit);
                parts.2.visit_conditions(visit);
            }
        }
    }
}
