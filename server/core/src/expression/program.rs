//! The program of an expression: a small typed [`tree`] whose evaluation cannot fail and does not allocate.
//!
//! The evaluation of each kind of value has a module: [`comparison`], [`condition`], [`number`], [`text`], and [`time`] for times and
//! `now`. [`super::lower`] builds the tree and checks its types, so no value here can have a wrong type.

mod comparison;
pub(super) mod condition;
mod number;
mod text;
pub(super) mod time;
pub(super) mod tree;

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::{finding::Finding, scan::Usage, severity::Severity};

/// The input of an evaluation.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) finding: &'a Finding,
    /// The use of the manifest whose scan reports the finding.
    pub(super) usage: &'a Usage,
    /// The related id at which the body of `exists` or `all` over `finding.related_ids` is evaluated.
    pub(super) related_id: Option<&'a str>,
    pub(super) unrated_as: Severity,
    pub(super) now: Timestamp,
}

/// The reason why a value is unknown. If both apply, the greater one wins, so that the result still fails closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unknown {
    /// The scan does not report it.
    Missing,
    /// It is mathematically undefined: a division by zero, or infinity minus infinity.
    Undefined,
}

/// A value, or the reason why it is unknown.
pub(super) type Evaluated<T> = Result<T, Unknown>;

/// Returns both values, if both are known.
pub(super) fn both<A, B>(left: Evaluated<A>, right: Evaluated<B>) -> Evaluated<(A, B)> {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (Err(unknown), Ok(_)) | (Ok(_), Err(unknown)) => Err(unknown),
        (Err(left), Err(right)) => Err(left.max(right)),
    }
}

/// Evaluates a ternary. If the condition is unknown, the value is known only if both branches agree.
pub(super) fn evaluate_ternary<T: PartialEq>(
    condition: Evaluated<bool>,
    then: impl FnOnce() -> Evaluated<T>,
    otherwise: impl FnOnce() -> Evaluated<T>,
) -> Evaluated<T> {
    match condition {
        Ok(true) => then(),
        Ok(false) => otherwise(),
        Err(unknown) => match both(then(), otherwise()) {
            Ok((then, otherwise)) if then == otherwise => Ok(then),
            Ok(_) => Err(unknown),
            Err(other) => Err(unknown.max(other)),
        },
    }
}

/// A relation between two values: the set of the orderings at which it holds, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal = 0b010,
    NotEqual = 0b101,
    Less = 0b001,
    LessOrEqual = 0b011,
    Greater = 0b100,
    GreaterOrEqual = 0b110,
}

impl Relation {
    /// Returns the relation with its sides exchanged.
    pub(super) const fn flipped(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// True for a relation that needs an order.
    pub(super) const fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    pub(super) const fn holds(self, ordering: Ordering) -> bool {
        let bit = match ordering {
            Ordering::Less => 0b001,
            Ordering::Equal => 0b010,
            Ordering::Greater => 0b100,
        };
        self as u8 & bit != 0
    }
}
