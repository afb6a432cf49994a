//! What an expression becomes: a small typed tree that can be evaluated without failing, and allocates nothing of its own.
//!
//! Each kind of value has a module: [`test`] for conditions, [`number`] for whole and other numbers, [`text`] for strings and
//! [`time`] for everything about `now`. Whoever builds the tree ([`super::lower`]) has checked its types; there is nothing
//! left here that could be of the wrong one.

pub(super) mod number;
pub(super) mod test;
pub(super) mod text;
pub(super) mod time;

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::{finding::Finding, severity::Severity};

/// What an expression is evaluated over.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) finding: &'a Finding,
    pub(super) unrated_as: Severity,
    pub(super) now: Timestamp,
}

/// Why there is no value. The worse one wins where both apply, so that what fails closed stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    /// The scan does not say.
    Missing,
    /// There is none in mathematics: a division by zero, infinity less infinity.
    Undefined,
}

/// A value, or why there is none.
pub(super) type Known<T> = Result<T, Gap>;

/// Two values, if both are known.
pub(super) fn both<A, B>(left: Known<A>, right: Known<B>) -> Known<(A, B)> {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (Err(gap), Ok(_)) | (Ok(_), Err(gap)) => Err(gap),
        (Err(left), Err(right)) => Err(left.max(right)),
    }
}

/// What a ternary comes to. Without a condition that is known, only what both branches agree on is.
pub(super) fn choose<T: PartialEq>(
    condition: Known<bool>,
    met: impl FnOnce() -> Known<T>,
    otherwise: impl FnOnce() -> Known<T>,
) -> Known<T> {
    match condition {
        Ok(true) => met(),
        Ok(false) => otherwise(),
        Err(gap) => match both(met(), otherwise()) {
            Ok((met, otherwise)) if met == otherwise => Ok(met),
            Ok(_) => Err(gap),
            Err(other) => Err(gap.max(other)),
        },
    }
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    /// The relation with its sides exchanged.
    pub(super) const fn flipped(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// Whether it is about which one comes first.
    pub(super) const fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    pub(super) const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}
