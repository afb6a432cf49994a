//! Expressions: conditions over a finding and the use of its image, in a subset of CEL, the Common Expression Language.
//!
//! docs/expressions.md is the manual for authors. An expression is checked when it is written, so that its evaluation
//! cannot fail. [`Expression::parse`] takes these steps, each in a module of its own:
//!
//! 1. [`lexer`] splits the text into tokens.
//! 2. [`syntax`] parses them into a [`tree`] of bounded depth, so that no later recursion overflows the stack.
//! 3. [`lower`] resolves every name in the [`schema`] and checks every type. Anything outside the supported subset is
//!    refused with its position and the correct form ([`Error`]).
//! 4. [`program`] is the result: a small typed tree.
//!
//! The evaluation is fast, always has a result, and does not allocate. The one exception is a pattern, which fills a
//! bounded cache once per thread.
//!
//! * A value that the scan does not report is *missing*. A condition on it is unknown, unless the rest of the expression
//!   decides without it (Kleene's logic). If the whole expression is unknown, the filter's `when_unknown` decides.
//! * Ints saturate at the limits of 64 bits. Scores overflow to infinity. A division by zero, and infinity minus
//!   infinity, are *undefined*. Undefined propagates like missing and outweighs it. An undefined expression matches,
//!   whatever `when_unknown` is.
//! * Times are exact: see [`program::time`].
//! * A doubtful label counts as the worse one: see [`schema::LabelField::index`].
//!
//! Fields with a few values (`severity`, `fix`, `exploit`, `status`) are compared with strings. A label then reads as
//! in the API's responses and needs no further names; a misspelt label is refused, because it is checked against its
//! field.
//!
//! Time enters only as `now`, in sums of timestamps and durations. Therefore [`Expression::instants`] can list the
//! instants at which time alone may change the result for a finding.

mod error;
mod fuzzy_match;
mod lexer;
mod lower;
mod program;
mod schema;
mod syntax;
mod tree;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::program::{Context, Unknown, condition::fold_kleene, tree::Condition};
pub use self::{
    error::{Error, Position},
    syntax::{MAX_DEPTH, MAX_LENGTH},
};
use crate::{finding::Finding, scan::Usage, severity::Severity, unknown::WhenUnknown};

/// A checked condition over a finding and the use of its image.
///
/// It is cheap to clone. Two expressions are equal if their sources are equal. It is serialised as its source.
///
/// ```
/// use scangate_core::{expression::Expression, finding::Finding, scan::Usage, severity::Severity, unknown::WhenUnknown};
///
/// let finding: Finding = serde_json::from_str(
///     r#"{ "id": "CVE-2026-1", "package": { "name": "openssl" }, "severity": "HIGH", "cvss": 7.5 }"#,
/// )?;
/// let usage = Usage { in_use_count: Some(3), ..Usage::default() };
/// let now = "2026-03-01T12:00:00Z".parse()?;
/// let matches = |source: &str, when_unknown| {
///     Expression::parse(source)
///         .map(|expression| expression.matches(&finding, &usage, Severity::High, now, when_unknown))
/// };
///
/// assert!(matches("finding.cvss >= 7.0 && finding.severity >= 'HIGH'", WhenUnknown::NoMatch)?);
/// assert!(matches("manifest.in_use_count > 0 && finding.severity >= 'HIGH'", WhenUnknown::NoMatch)?);
/// // The finding has no EPSS, so `when_unknown` decides.
/// assert!(matches("finding.epss > 0.5", WhenUnknown::Match)?);
/// assert!(!matches("finding.epss > 0.5", WhenUnknown::NoMatch)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression(Arc<Checked>);

struct Checked {
    source: Box<str>,
    condition: Condition,
    depends_on_now: bool,
}

impl Expression {
    /// Parses and checks an expression, within milliseconds and without a panic for any text.
    ///
    /// ```
    /// use scangate_core::expression::Expression;
    ///
    /// let error = Expression::parse("finding.rated &&\n  finding.cvs > 7.0").unwrap_err();
    ///
    /// assert_eq!((error.position.line, error.position.column), (2, 3));
    /// assert_eq!(error.message, r#"there is no field "finding.cvs""#);
    /// assert!(error.hint.starts_with("did you mean `finding.cvss`?"));
    /// ```
    pub fn parse(source: &str) -> Result<Self, Error> {
        let condition = lower::lower(source, &syntax::parse(source)?)?;
        let depends_on_now = condition.comparisons_with_now() > 0;
        Ok(Self(Arc::new(Checked { source: source.into(), condition, depends_on_now })))
    }

    /// Returns the source.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// True if the expression holds for a finding of a manifest with this use. Unrated findings rank as `unrated_as`.
    ///
    /// If the result depends on a missing value, `when_unknown` decides. An undefined result, such as a division by
    /// zero, matches.
    pub fn matches(
        &self,
        finding: &Finding,
        usage: &Usage,
        unrated_as: Severity,
        now: Timestamp,
        when_unknown: WhenUnknown,
    ) -> bool {
        let context = Context { finding, usage, related_id: None, unrated_as, now };
        // Most expressions are conjunctions. This spares them the function for every kind of condition.
        let value = if let Condition::All(conditions) = &self.0.condition {
            fold_kleene(false, conditions, &context)
        } else {
            self.0.condition.evaluate(&context)
        };
        match value {
            Ok(known) => known,
            Err(Unknown::Missing) => when_unknown == WhenUnknown::Match,
            Err(Unknown::Undefined) => true,
        }
    }

    /// True if time alone may change the result for a finding.
    pub fn depends_on_now(&self) -> bool {
        self.0.depends_on_now
    }

    /// Passes to `out` every instant at which the result for a finding may change. Between two consecutive instants it
    /// stays the same.
    ///
    /// The instants come in no order and may repeat, and the result may stay the same at some of them.
    pub fn instants(&self, finding: &Finding, usage: &Usage, out: &mut impl FnMut(Timestamp)) {
        self.0.condition.instants(finding, usage, out);
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
