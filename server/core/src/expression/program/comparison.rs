//! The evaluation of comparisons, of which most of an expression consists.

use super::{
    Context, Evaluated, Relation, Unknown,
    tree::{Comparison, TextOperator},
};

impl Comparison {
    /// The approximate cost of the evaluation: see [`Condition::cost`](super::tree::Condition::cost).
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::LabelIn(..) | Self::Score(..) => 1,
            Self::Times(..) => 2,
            // Most strings already differ in length.
            Self::Text(TextOperator::Compare(Relation::Equal | Relation::NotEqual), ..) => 3,
            Self::Text(..) => 10,
        }
    }

    #[inline]
    pub(super) fn evaluate(&self, context: &Context<'_>) -> Evaluated<bool> {
        match self {
            Self::LabelIn(field, mask) => {
                field.index(context).map(|label| mask >> label & 1 == 1).ok_or(Unknown::Missing)
            }
            Self::Score(relation, field, value) => {
                let score = field.get(context.finding).ok_or(Unknown::Missing)?;
                score.partial_cmp(value).map(|ordering| relation.holds(ordering)).ok_or(Unknown::Undefined)
            }
            Self::Text(operator, field, literal) => {
                field.get(context.finding).map(|read| operator.holds(read, literal)).ok_or(Unknown::Missing)
            }
            Self::Times(relation, linear) => linear.compare_with_zero(*relation, context),
        }
    }
}
