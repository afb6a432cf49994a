//! Strings, always borrowed: from the finding or from the expression.

use super::{Facts, Gap, Known, Relation, choose, test::Test};
use crate::expression::schema::TextField;

/// Where a string comes from.
#[derive(Debug)]
pub(in crate::expression) enum Text {
    Literal(Box<str>),
    Read(TextField),
    Choose(Box<(Test, Text, Text)>),
}

/// What can be asked about two strings.
#[derive(Clone, Copy, Debug)]
pub(in crate::expression) enum TextTest {
    /// By code points, so that case matters and no language is preferred.
    Compare(Relation),
    StartsWith,
    EndsWith,
    Contains,
}

impl TextTest {
    pub(super) fn holds(self, left: &str, right: &str) -> bool {
        match self {
            // Lengths first: most strings differ there, and nothing else needs to be read then.
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
    pub(super) fn read<'a>(&'a self, facts: &Facts<'a>) -> Known<&'a str> {
        match self {
            Self::Literal(text) => Ok(text),
            Self::Read(field) => field.read(facts.finding).ok_or(Gap::Missing),
            Self::Choose(parts) => choose(parts.0.holds(facts), || parts.1.read(facts), || parts.2.read(facts)),
        }
    }

    /// Visits the conditions that the choice of the string depends on.
    pub(super) fn each_condition(&self, visit: &mut dyn FnMut(&Test)) {
        match self {
            Self::Literal(_) | Self::Read(_) => {}
            Self::Choose(parts) => {
                visit(&parts.0);
                parts.1.each_condition(visit);
                parts.2.each_condition(visit);
            }
        }
    }
}
