//! Times as a linear form, `a·now + b·first_observed_at + c·published_at + d`, in nanoseconds.
//!
//! All arithmetic of timestamps and durations comes to that, so that a comparison of two of them turns over at one instant
//! that can be computed. Within the bounds below it is exact in 128 bits: nothing saturates and nothing overflows.

use jiff::Timestamp;

use super::{Facts, Gap, Known, Relation};
use crate::{expression::schema::TimeField, finding::Finding};

/// How often each part may occur. No timestamp is further than 2^69 ns from 1970, so that no sum comes near 2^127.
const MAX_FACTOR: i64 = 1_000;
/// Furthest constant, in nanoseconds.
const MAX_CONSTANT: i128 = 1 << 100;

/// A sum of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::expression) struct Linear {
    now: i64,
    first_observed_at: Term,
    published_at: Term,
    constant: i128,
}

/// How often a field occurs. A field that is taken and taken away again must still be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Term {
    factor: i64,
    is_needed: bool,
}

impl Term {
    const ONE: Self = Self { factor: 1, is_needed: true };

    fn plus(self, other: Self, sign: i64) -> Self {
        Self { factor: self.factor + sign * other.factor, is_needed: self.is_needed || other.is_needed }
    }

    fn read(self, field: TimeField, finding: &Finding) -> Known<i128> {
        if !self.is_needed {
            return Ok(0);
        }
        let time = field.read(finding).ok_or(Gap::Missing)?;
        Ok(i128::from(self.factor) * time.as_nanosecond())
    }
}

impl Linear {
    /// A fixed time or span, in nanoseconds.
    pub(in crate::expression) const fn constant(constant: i128) -> Self {
        const NEVER: Term = Term { factor: 0, is_needed: false };
        Self { now: 0, first_observed_at: NEVER, published_at: NEVER, constant }
    }

    pub(in crate::expression) const fn now() -> Self {
        Self { now: 1, ..Self::constant(0) }
    }

    pub(in crate::expression) const fn field(field: TimeField) -> Self {
        let nothing = Self::constant(0);
        match field {
            TimeField::FirstObservedAt => Self { first_observed_at: Term::ONE, ..nothing },
            TimeField::PublishedAt => Self { published_at: Term::ONE, ..nothing },
        }
    }

    /// Whether it is written out in full.
    pub(in crate::expression) fn is_constant(&self) -> bool {
        *self == Self::constant(self.constant)
    }

    pub(in crate::expression) fn plus(self, other: Self) -> Option<Self> {
        self.combined(other, 1)
    }

    pub(in crate::expression) fn minus(self, other: Self) -> Option<Self> {
        self.combined(other, -1)
    }

    /// Nothing where it leaves the bounds within which all is exact.
    fn combined(self, other: Self, sign: i64) -> Option<Self> {
        let sum = Self {
            now: self.now + sign * other.now,
            first_observed_at: self.first_observed_at.plus(other.first_observed_at, sign),
            published_at: self.published_at.plus(other.published_at, sign),
            constant: self.constant + i128::from(sign) * other.constant,
        };
        let factors = [sum.now, sum.first_observed_at.factor, sum.published_at.factor];
        let is_exact = factors.iter().all(|factor| factor.abs() <= MAX_FACTOR) && sum.constant.abs() <= MAX_CONSTANT;
        is_exact.then_some(sum)
    }

    pub(super) fn depends_on_now(&self) -> bool {
        self.now != 0
    }

    pub(super) fn compare_with_zero(&self, relation: Relation, facts: &Facts<'_>) -> Known<bool> {
        let now = if self.now == 0 { 0 } else { i128::from(self.now) * facts.now.as_nanosecond() };
        let sum = self.without_now(facts.finding)? + now;
        Ok(relation.holds(sum.cmp(&0)))
    }

    fn without_now(&self, finding: &Finding) -> Known<i128> {
        let first_observed_at = self.first_observed_at.read(TimeField::FirstObservedAt, finding)?;
        let published_at = self.published_at.read(TimeField::PublishedAt, finding)?;
        Ok(self.constant + first_observed_at + published_at)
    }

    /// The instants around which the sum changes its sign: the first at which it is zero or past it, and the one after.
    pub(super) fn instants(&self, finding: &Finding, out: &mut dyn FnMut(Timestamp)) {
        let Ok(rest) = self.without_now(finding) else {
            return;
        };
        if self.now == 0 {
            return;
        }
        let factor = i128::from(self.now);
        let root = if factor > 0 { (-rest).div_euclid(factor) } else { rest.div_euclid(-factor) };
        for instant in [root, root + 1] {
            if let Ok(instant) = Timestamp::from_nanosecond(instant) {
                out(instant);
            }
        }
    }
}
