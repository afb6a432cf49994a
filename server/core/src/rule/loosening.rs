//! The comparison of two versions of a rule: the fields by which the later one is less strict.

use super::{Condition, Effect, Grace, Rule};
use crate::{glob::Glob, package_name, rule::FixFilter, unknown::WhenUnknown};

impl Rule {
    /// Returns the fields by which another rule may be less strict than this one. Empty: every manifest that breaks this rule
    /// breaks the other one with at least the same effect.
    pub(crate) fn loosened_by(&self, other: &Self) -> Vec<String> {
        let fields = [
            (other.allowed_count > self.allowed_count, "allowed_count"),
            (self.effect == Effect::Deny && other.effect == Effect::Warn, "effect"),
            (other.waivable && !self.waivable, "waivable"),
            (grants_more(self.grace, other.grace), "grace"),
        ];
        let fields = fields.into_iter().filter(|(is_looser, _)| *is_looser).map(|(_, field)| field.to_owned());
        fields.chain(self.when.narrowed_by(&other.when).map(|field| format!("when.{field}"))).collect()
    }
}

impl Condition {
    /// Returns the fields by which another condition may exclude findings that this one matches.
    fn narrowed_by<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'static str> + 'a {
        let managers = |one: &String, other: &String| one.eq_ignore_ascii_case(other);
        let fields = [
            (is_higher(self.min_severity, other.min_severity), "min_severity"),
            (!includes(&other.severities, &self.severities, PartialEq::eq), "severities"),
            (other.fix != FixFilter::Any && other.fix != self.fix, "fix"),
            (is_higher(self.min_cvss, other.min_cvss), "min_cvss"),
            (is_higher(self.min_epss, other.min_epss), "min_epss"),
            (other.exploit_known && !self.exploit_known, "exploit"),
            (
                !includes(&other.vulnerability_ids, &self.vulnerability_ids, Glob::covers_ignoring_case),
                "vulnerability_ids",
            ),
            (!includes(&other.packages, &self.packages, package_name::may_cover), "packages"),
            (!includes(&other.package_managers, &self.package_managers, managers), "package_managers"),
            (other.expression.is_some() && other.expression != self.expression, "expression"),
            (
                other.when_unknown == WhenUnknown::NoMatch
                    && self.when_unknown == WhenUnknown::Match
                    && other.asks_for_optional_fields(),
                "when_unknown",
            ),
        ];
        fields.into_iter().filter_map(|(is_narrower, field)| is_narrower.then_some(field))
    }

    /// True if a condition needs a field that a finding can lack.
    fn asks_for_optional_fields(&self) -> bool {
        let Self {
            min_cvss, min_epss, exploit_known, vulnerability_ids, packages, package_managers, expression, ..
        } = self;
        min_cvss.is_some()
            || min_epss.is_some()
            || *exploit_known
            || !vulnerability_ids.is_empty()
            || !packages.is_empty()
            || !package_managers.is_empty()
            || expression.is_some()
    }
}

/// True if a minimum is raised, or new.
fn is_higher<T: PartialOrd>(old: Option<T>, new: Option<T>) -> bool {
    new.is_some_and(|new| old.is_none_or(|old| new > old))
}

/// True if each entry of the narrow list is covered by one of the wide list; an empty list admits everything.
fn includes<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|entry| wide.iter().any(|wide| covers(wide, entry))))
}

/// True if a grace period may excuse more findings, or for longer.
fn grants_more(old: Option<Grace>, new: Option<Grace>) -> bool {
    new.is_some_and(|new| old.is_none_or(|old| new.clock != old.clock || new.period > old.period))
}
