//! Conditions, in Kleene's logic: what does not depend on a missing value is known without it.

use jiff::Timestamp;
use regex::Regex;

use super::{
    Facts, Gap, Known, Relation, both, choose,
    number::{Length, Number},
    text::{Text, TextTest},
    time::Linear,
};
use crate::expression::schema::{Field, LabelField, ScoreField, TextField};

/// A condition.
#[derive(Debug)]
pub(in crate::expression) enum Test {
    Constant(bool),
    Rated,
    Given(Field),
    /// Whether the field bears one of the labels whose bits are set.
    Labelled(LabelField, u8),
    Lengths(Relation, Number<Length>, Number<Length>),
    /// How a score relates to a number that is written out.
    Score(Relation, ScoreField, f64),
    Scores(Relation, Number<ScoreField>, Number<ScoreField>),
    /// What a field is to a string that is written out.
    Text(TextTest, TextField, Box<str>),
    Texts(TextTest, Text, Text),
    OneOf(Text, Box<[Box<str>]>),
    Matches(Text, Box<Regex>),
    /// How a time, or a span of it, relates to zero.
    Times(Relation, Linear),
    /// Whether both are true or both false.
    Same(Box<(Test, Test)>),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
    Choose(Box<(Test, Test, Test)>),
}

impl Test {
    /// How two scores relate.
    pub(in crate::expression) fn scores(
        relation: Relation,
        left: Number<ScoreField>,
        right: Number<ScoreField>,
    ) -> Self {
        match (left, right) {
            (Number::Read(field), Number::Literal(value)) => Self::Score(relation, field, value),
            (Number::Literal(value), Number::Read(field)) => Self::Score(relation.flipped(), field, value),
            (left, right) => Self::Scores(relation, left, right),
        }
    }

    /// What one string is to another.
    pub(in crate::expression) fn texts(test: TextTest, left: Text, right: Text) -> Self {
        match (left, right) {
            (Text::Read(field), Text::Literal(literal)) => Self::Text(test, field, literal),
            (left, right) => Self::Texts(test, left, right),
        }
    }

    /// Whether all hold. In which order they are asked makes no difference to the answer: so the cheapest decides first.
    pub(in crate::expression) fn all(mut tests: Vec<Self>) -> Self {
        tests.sort_by_cached_key(Self::cost);
        Self::All(tests)
    }

    /// Whether any holds; in the order of [`Test::all`].
    pub(in crate::expression) fn any(mut tests: Vec<Self>) -> Self {
        tests.sort_by_cached_key(Self::cost);
        Self::Any(tests)
    }

    /// What asking it costs, roughly: a field of the finding itself is cheap, the bytes of a string lie elsewhere.
    fn cost(&self) -> u32 {
        match self {
            Self::Constant(_) | Self::Rated | Self::Given(_) | Self::Labelled(..) | Self::Score(..) => 1,
            Self::Scores(..) | Self::Times(..) => 2,
            // Most strings differ in length already.
            Self::Text(TextTest::Compare(Relation::Equal | Relation::NotEqual), ..) => 3,
            Self::Text(..) | Self::OneOf(..) => 10,
            Self::Texts(..) => 20,
            Self::Lengths(..) => 40,
            Self::Matches(..) => 100,
            Self::Not(test) => test.cost(),
            Self::Same(sides) => sides.0.cost().saturating_add(sides.1.cost()),
            Self::All(tests) | Self::Any(tests) => tests.iter().map(Self::cost).fold(1, u32::saturating_add),
            Self::Choose(parts) => parts.0.cost().saturating_add(parts.1.cost()).saturating_add(parts.2.cost()),
        }
    }

    pub(in crate::expression) fn holds(&self, facts: &Facts<'_>) -> Known<bool> {
        match self {
            Self::Constant(known) => Ok(*known),
            Self::Rated => Ok(Field::Label(LabelField::Severity).is_given(facts.finding)),
            Self::Given(field) => Ok(field.is_given(facts.finding)),
            Self::Labelled(field, mask) => field.read(facts).map(|label| mask >> label & 1 == 1).ok_or(Gap::Missing),
            Self::Lengths(relation, left, right) => Number::compare(*relation, left, right, facts),
            Self::Score(relation, field, value) => {
                let score = field.read(facts.finding).ok_or(Gap::Missing)?;
                score.partial_cmp(value).map(|ordering| relation.holds(ordering)).ok_or(Gap::Undefined)
            }
            Self::Scores(relation, left, right) => Number::compare(*relation, left, right, facts),
            Self::Text(test, field, literal) => {
                field.read(facts.finding).map(|read| test.holds(read, literal)).ok_or(Gap::Missing)
            }
            Self::Texts(test, left, right) => {
                both(left.read(facts), right.read(facts)).map(|(left, right)| test.holds(left, right))
            }
            Self::OneOf(text, several) => text.read(facts).map(|text| several.iter().any(|one| **one == *text)),
            Self::Matches(text, pattern) => text.read(facts).map(|text| pattern.is_match(text)),
            Self::Times(relation, linear) => linear.compare_with_zero(*relation, facts),
            Self::Same(sides) => both(sides.0.holds(facts), sides.1.holds(facts)).map(|(left, right)| left == right),
            Self::Not(test) => test.holds(facts).map(|known| !known),
            Self::All(tests) => dominated_by(false, tests, facts),
            Self::Any(tests) => dominated_by(true, tests, facts),
            Self::Choose(parts) => choose(parts.0.holds(facts), || parts.1.holds(facts), || parts.2.holds(facts)),
        }
    }

    /// How often it compares `now` with anything.
    pub(in crate::expression) fn comparisons_with_now(&self) -> usize {
        let mut count = 0;
        self.each_time(&mut |linear| count += usize::from(linear.depends_on_now()));
        count
    }

    /// Every instant at which it may become another.
    pub(in crate::expression) fn instants(&self, finding: &crate::finding::Finding, out: &mut dyn FnMut(Timestamp)) {
        self.each_time(&mut |linear| linear.instants(finding, out));
    }

    fn each_time(&self, visit: &mut dyn FnMut(&Linear)) {
        match self {
            Self::Times(_, linear) => visit(linear),
            Self::Lengths(_, left, right) => {
                left.each_condition(&mut |test| test.each_time(visit));
                right.each_condition(&mut |test| test.each_time(visit));
            }
            Self::Scores(_, left, right) => {
                left.each_condition(&mut |test| test.each_time(visit));
                right.each_condition(&mut |test| test.each_time(visit));
            }
            Self::Texts(_, left, right) => {
                left.each_condition(&mut |test| test.each_time(visit));
                right.each_condition(&mut |test| test.each_time(visit));
            }
            Self::OneOf(text, _) | Self::Matches(text, _) => text.each_condition(&mut |test| test.each_time(visit)),
            Self::Same(sides) => {
                sides.0.each_time(visit);
                sides.1.each_time(visit);
            }
            Self::Not(test) => test.each_time(visit),
            Self::All(tests) | Self::Any(tests) => tests.iter().for_each(|test| test.each_time(visit)),
            Self::Choose(parts) => {
                parts.0.each_time(visit);
                parts.1.each_time(visit);
                parts.2.each_time(visit);
            }
            Self::Constant(_)
            | Self::Rated
            | Self::Given(_)
            | Self::Labelled(..)
            | Self::Score(..)
            | Self::Text(..) => {}
        }
    }
}

/// One known `verdict` decides; otherwise a gap, the worst of them; otherwise the opposite.
fn dominated_by(verdict: bool, tests: &[Test], facts: &Facts<'_>) -> Known<bool> {
    let mut gap = None;
    for test in tests {
        match test.holds(facts) {
            Ok(known) if known == verdict => return Ok(verdict),
            Ok(_) => {}
            Err(another) => gap = gap.max(Some(another)),
        }
    }
    gap.map_or(Ok(!verdict), Err)
}
