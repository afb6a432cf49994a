//! Times as a linear form, `a·now + b·first_observe_time + c·publish_time + … + d`, in nanoseconds.
//!
//! All arithmetic on timestamps and durations reduces to this form, so a comparison changes at one instant that can be
//! computed. Within the limits below it is exact in 128 bits, without saturation or overflow.

use jiff::Timestamp;

use super::{Context, Evaluated, Relation, Unknown};
use crate::{expression::schema::TimeField, finding::Finding, scan::Usage};

/// Maximum factor of each part. Timestamps lie within 2^69 ns of 1970, so no sum comes near 2^127.
const MAX_FACTOR: i32 = 1_000;
/// Maximum absolute value of the constant, in nanoseconds.
const MAX_CONSTANT: i128 = 1 << 100;

/// A sum of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::expression) struct Linear {
    now: i32,
    /// The factors of the fields, in the order of [`TimeField::ALL`].
    factors: [i32; TimeField::ALL.len()],
    /// The fields that must be known, a bit each in the same order. A field whose occurrences cancel out is among them.
    required: u8,
    constant: i128,
}

impl Linear {
    /// Creates a fixed time or duration, in nanoseconds.
    pub(in crate::expression) const fn constant(constant: i128) -> Self {
        Self { now: 0, factors: [0; TimeField::ALL.len()], required: 0, constant }
    }

    pub(in crate::expression) const fn now() -> Self {
        Self { now: 1, ..Self::constant(0) }
    }

    pub(in crate::expression) fn field(field: TimeField) -> Self {
        let factors = TimeField::ALL.map(|other| i32::from(other == field));
        Self { factors, required: 1 << field as u8, ..Self::constant(0) }
    }

    /// True if it depends neither on `now` nor on a field.
    pub(in crate::expression) fn is_constant(&self) -> bool {
        *self == Self::constant(self.constant)
    }

    pub(in crate::expression) fn plus(self, other: Self) -> Option<Self> {
        self.combine(other, 1)
    }

    pub(in crate::expression) fn minus(self, other: Self) -> Option<Self> {
        self.combine(other, -1)
    }

    /// Returns `None` beyond the limits within which the arithmetic is exact.
    fn combine(self, other: Self, sign: i32) -> Option<Self> {
        let sum = Self {
            now: self.now + sign * other.now,
            factors: std::array::from_fn(|index| self.factors[index] + sign * other.factors[index]),
            required: self.required | other.required,
            constant: self.constant + i128::from(sign) * other.constant,
        };
        let mut factors = sum.factors.iter().chain([&sum.now]);
        let is_exact = factors.all(|factor| factor.abs() <= MAX_FACTOR) && sum.constant.abs() <= MAX_CONSTANT;
        is_exact.then_some(sum)
    }

    pub(super) fn depends_on_now(&self) -> bool {
        self.now != 0
    }

    /// A call, so that its many numbers stay out of the registers of the loop over conditions.
    #[inline(never)]
    pub(super) fn compare_with_zero(&self, relation: Relation, context: &Context<'_>) -> Evaluated<bool> {
        let now = if self.now == 0 { 0 } else { i128::from(self.now) * context.now.as_nanosecond() };
        let sum = self.without_now(context.finding, context.usage)? + now;
        Ok(relation.holds(sum.cmp(&0)))
    }

    fn without_now(&self, finding: &Finding, usage: &Usage) -> Evaluated<i128> {
        let mut microseconds = 0;
        let mut required = self.required;
        while required != 0 {
            let index = required.trailing_zeros() as usize;
            let time = TimeField::ALL[index].get(finding, usage).ok_or(Unknown::Missing)?;
            microseconds += i128::from(self.factors[index]) * i128::from(time.as_microsecond());
            required &= required - 1;
        }
        Ok(self.constant + microseconds * 1_000)
    }

    /// Visits the instants around which the sum changes its sign: the first at or past zero, and the next one.
    pub(super) fn instants(&self, finding: &Finding, usage: &Usage, out: &mut dyn FnMut(Timestamp)) {
        let Ok(rest) = self.without_now(finding, usage) else {
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
