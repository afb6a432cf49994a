//! Expressions: conditions over a finding in a part of CEL, the Common Expression Language.
//!
//! docs/expressions.md is the manual for those who write them; here is how they work.
//!
//! An expression is checked when it is written, so that it cannot fail when it is asked. [`Expression::parse`] takes a text
//! through these steps, each a module:
//!
//! 1. [`token`] and [`bounds`]: how long, deep and chained may it be? The parser would overflow its stack otherwise.
//! 2. [`syntax`]: the `cel` crate parses it, on a thread with a stack large enough; nothing else of that crate is used.
//! 3. [`lower`]: every name is looked up in the [`schema`] and every type is checked. Whatever is unknown, of the wrong type
//!    or outside of the part of CEL that is served is refused, with its position and what would be right ([`Error`]).
//! 4. [`program`]: what is left is a small typed tree.
//!
//! Evaluation takes no time worth speaking of, allocates nothing (a pattern aside, whose bounded cache is filled once per
//! thread), and always has an answer:
//!
//! * What the scan does not say is *missing*; a condition over it is unknown, unless the rest of the expression decides
//!   without it (Kleene's logic). An expression that stays unknown matches as the filter's `when_unknown` says.
//! * Lengths saturate at the bounds of 64 bits. Scores overflow to infinity. A division by zero and what comes of infinity
//!   less infinity are *undefined*: that propagates like a missing value, outweighs one, and an expression that stays
//!   undefined matches whatever `when_unknown` says.
//! * Times are exact: see [`program::time`].
//! * Where a label has to be guessed, the worse one is taken: see [`schema::LabelField::read`].
//!
//! Fields with a few values (`severity`, `fix`, `exploit`, `status`) are compared with strings, all four alike: a label reads
//! as it does in the answers of the API, needs no names beside `finding` and `now`, and a wrong one is refused all the same,
//! since it is checked against the labels of its field.
//!
//! Time enters only as `now` in sums of timestamps and durations, so that [`Expression::instants`] can say when the answer
//! for a finding may change although nothing else does.

mod bounds;
mod error;
mod lower;
mod nearest;
mod program;
mod schema;
mod syntax;
mod token;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::program::{Facts, Gap, test::Test};
pub use self::{
    bounds::{MAX_CHAIN, MAX_LENGTH, MAX_NESTING, MAX_TERNARIES, MAX_TOKENS},
    error::{Error, Position},
};
use crate::{finding::Finding, severity::Severity, unknown::WhenUnknown};

/// A condition over a finding that is known to be well-formed and of the right types. Cheap to clone; two are equal if they
/// are written alike. Serialised as its source.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression(Arc<Checked>);

struct Checked {
    source: Box<str>,
    test: Test,
    depends_on_now: bool,
}

impl Expression {
    /// Reads and checks an expression. Takes milliseconds at most and never panics, whatever the text: one that is not
    /// understood is refused.
    pub fn parse(source: &str) -> Result<Self, Error> {
        let test = syntax::with_tree(source, lower::lower)?;
        let depends_on_now = test.comparisons_with_now() > 0;
        Ok(Self(Arc::new(Checked { source: source.into(), test, depends_on_now })))
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it holds for a finding. Unrated findings rank as `unrated_as`; where the finding lacks what it takes to know,
    /// `when_unknown` is the answer, and where there is nothing to be known, such as a quotient by zero, it holds.
    pub fn matches(&self, finding: &Finding, unrated_as: Severity, now: Timestamp, when_unknown: WhenUnknown) -> bool {
        match self.0.test.holds(&Facts { finding, unrated_as, now }) {
            Ok(known) => known,
            Err(Gap::Missing) => when_unknown == WhenUnknown::Match,
            Err(Gap::Undefined) => true,
        }
    }

    /// Whether the answer for one and the same finding may change as time passes.
    pub fn depends_on_now(&self) -> bool {
        self.0.depends_on_now
    }

    /// Calls out the instants at which the answer for this finding may change, in no order, some perhaps twice: from each
    /// instant on, up to but without the next one, the answer stays as it is. At some of them nothing changes after all.
    pub fn instants(&self, finding: &Finding, out: &mut impl FnMut(Timestamp)) {
        self.0.test.instants(finding, out);
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source()).finish()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Expression {}

impl TryFrom<String> for Expression {
    type Error = Error;

    fn try_from(source: String) -> Result<Self, Error> {
        Self::parse(&source)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.source().to_owned()
    }
}
