//! Notes on patterns that match nothing: those that can match nothing, and those that have matched no finding seen so far.
//!
//! A note does not refuse a write: a denylist names vulnerabilities before they are seen, and new kinds of ids appear.

use scangate_core::{glob::Glob, policy::Policy, rule::Rule, vulnerability_id::is_cve, waiver::Scope};

use crate::observations::SeenNames;

/// The most patterns that one note quotes.
const MAX_QUOTED: usize = 5;
/// The longest quotation of a pattern, in characters.
const MAX_PATTERN: usize = 60;

/// Returns notes on patterns of a waiver's scope that can match nothing, one sentence each.
pub fn waiver_pattern_notes(scope: &Scope) -> Vec<String> {
    let id = scope.vulnerability.as_str();
    let id_flaw = id_flaw(id).or_else(|| case_flaw(id));
    let id_note = id_flaw.map(|flaw| can_match_nothing("vulnerability_id", id, flaw));
    let package = scope.package.as_ref().map(Glob::as_str);
    let package_flaw = package.and_then(|name| Some((name, package_flaw(name)?)));
    let package_note = package_flaw.map(|(name, flaw)| can_match_nothing("package", name, flaw));
    id_note.into_iter().chain(package_note).collect()
}

/// Returns notes on patterns of a policy's rules that can match nothing, or match none of the names seen; one sentence each.
pub fn policy_pattern_notes(policy: &Policy, seen: &SeenNames) -> Vec<String> {
    policy.rules.iter().flat_map(|rule| rule_notes(rule, seen)).collect()
}

/// True if the policy has patterns to compare with the names seen.
pub fn has_patterns(policy: &Policy) -> bool {
    policy.rules.iter().any(|rule| !rule.when.vulnerability_ids.is_empty() || !rule.when.packages.is_empty())
}

fn rule_notes(rule: &Rule, seen: &SeenNames) -> Vec<String> {
    let ids = &rule.when.vulnerability_ids;
    let mut notes = field_notes("vulnerability_ids", ids, id_flaw, |glob| seen.lacks_vulnerability(glob));
    notes.extend(field_notes("packages", &rule.when.packages, package_flaw, |glob| seen.lacks_package(glob)));
    notes.into_iter().map(|note| format!("rule {}: {note}", rule.id)).collect()
}

/// Returns notes on the patterns of one field: those with a flaw, and those that only lack a match so far.
fn field_notes(
    field: &str,
    globs: &[Glob],
    flaw: fn(&str) -> Option<&'static str>,
    is_unseen: impl Fn(&Glob) -> bool,
) -> Vec<String> {
    let flawed = globs.iter().filter_map(|glob| Some((glob.as_str(), flaw(glob.as_str())?)));
    let mut notes: Vec<String> =
        flawed.take(MAX_QUOTED).map(|(pattern, flaw)| can_match_nothing(field, pattern, flaw)).collect();
    let unseen: Vec<_> = globs.iter().filter(|glob| flaw(glob.as_str()).is_none() && is_unseen(glob)).collect();
    notes.extend(list(&unseen).map(|names| format!("this gate has seen no finding that matches {field} {names}")));
    notes
}

fn can_match_nothing(field: &str, pattern: &str, flaw: &str) -> String {
    format!("{field} {} can match nothing: {flaw}", quote(pattern))
}

fn quote(pattern: &str) -> String {
    let shown: String = pattern.chars().take(MAX_PATTERN).collect();
    let rest = if shown.len() < pattern.len() { "…" } else { "" };
    format!("{shown:?}{rest}")
}

/// Lists some of the patterns; `None` if there are none.
fn list(patterns: &[&Glob]) -> Option<String> {
    let quoted: Vec<_> = patterns.iter().take(MAX_QUOTED).map(|glob| quote(glob.as_str())).collect();
    let more = patterns.len().saturating_sub(quoted.len());
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!quoted.is_empty()).then(|| quoted.join(", ") + &rest)
}

/// Returns the reason why no id matches a pattern, without regard to case.
fn id_flaw(pattern: &str) -> Option<&'static str> {
    if pattern.trim().is_empty() {
        return Some("it is blank");
    }
    if pattern.contains(char::is_whitespace) {
        let mut rest = pattern.split_whitespace().skip(1);
        return Some(if rest.any(has_date) {
            "an id has no date; set the end of a waiver as its expire_time"
        } else {
            "ids have no white space; write one id in each pattern"
        });
    }
    if pattern.contains([',', ';', '"', '\'']) {
        return Some("write one id in each pattern, without quotes");
    }
    let is_well_formed = if is_cve(pattern) { may_be_cve(pattern) } else { may_be_ghsa(pattern) };
    (!is_well_formed).then_some("the id is malformed; write it as in CVE-2021-44228 or GHSA-jfh8-c2jp-5v3q")
}

/// Returns the reason why an id differs from each id of its kind in case alone. Waivers compare ids exactly.
fn case_flaw(pattern: &str) -> Option<&'static str> {
    let kind = pattern.get(..5).unwrap_or(pattern);
    let is_folded = |prefix: &str| !pattern.starts_with(prefix) && kind.to_ascii_uppercase().starts_with(prefix);
    (is_folded("CVE-") || is_folded("GHSA-"))
        .then_some("waivers compare ids exactly; write CVE- and GHSA- in upper case")
}

/// True if a word has a date, such as `exp:2026-12-31`.
fn has_date(word: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let word = word.rsplit_once([':', '=']).map_or(word, |(_, date)| date);
    let mut parts = word.split('-');
    matches!((parts.next(), parts.next(), parts.next()), (Some(year), Some(month), Some(day))
        if digits(year, 4) && digits(month, 2) && digits(day.get(..2).unwrap_or(day), 2))
}

/// True if a pattern that begins as a CVE can match one: four digits, `-`, digits. Only the part before a `*` is checked.
fn may_be_cve(pattern: &str) -> bool {
    let rest = pattern.get(4..).unwrap_or_default();
    let (rest, is_whole) = rest.split_once('*').map_or((rest, true), |(head, _)| (head, false));
    let is_numeric = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match rest.split_once('-') {
        Some((year, number)) => {
            year.len() == 4 && is_numeric(year) && is_numeric(number) && !(is_whole && number.is_empty())
        }
        None => !is_whole && rest.len() <= 4 && is_numeric(rest),
    }
}

/// True if a pattern is no GHSA without `*`, or has its form: three groups of four letters or digits.
fn may_be_ghsa(pattern: &str) -> bool {
    let is_ghsa = pattern.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("GHSA-"));
    if !is_ghsa || pattern.contains('*') {
        return true;
    }
    let groups: Vec<_> = pattern.split('-').skip(1).collect();
    groups.len() == 3 && groups.iter().all(|group| group.len() == 4 && group.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Returns the reason why no package name matches a pattern.
fn package_flaw(pattern: &str) -> Option<&'static str> {
    if pattern.trim().is_empty() {
        return Some("it is blank");
    }
    if pattern.contains(char::is_whitespace) {
        return Some("package names have no white space; write one name in each pattern");
    }
    if pattern.starts_with("pkg:") {
        return Some("findings name packages without a package URL; write the name alone, as in openssl");
    }
    // A leading `@` belongs to an npm scope.
    let version = pattern.get(1..).and_then(|rest| rest.rsplit_once('@')).map(|(_, version)| version);
    version
        .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        .then_some("a package name has no version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_can_match_nothing_are_noted() {
        let cases = [
            ("CVE-2021-44228", true),
            ("cve-2021-44228", true),
            ("CVE-2021-*", true),
            ("CVE-20*", true),
            ("*", true),
            ("*-44228", true),
            ("GHSA-jfh8-c2jp-5v3q", true),
            ("GHSA-*", true),
            ("RHSA-2021:5106", true),
            ("ALAS2-2021-1704", true),
            ("MAL-*", true),
            (" ", false),
            (" CVE-2021-44228", false),
            ("CVE-2021-44228 exp:2026-12-31", false),
            ("CVE-2021-44228,CVE-2021-45046", false),
            ("CVE-2021-44228-2026-12-31", false),
            ("CVE-44228", false),
            ("CVE-2021-", false),
            ("CVE-2021", false),
            ("CVE-2021-44228x*", false),
            ("GHSA-jfh8", false),
        ];
        for (pattern, can_match) in cases {
            assert_eq!(id_flaw(pattern).is_none(), can_match, "{pattern:?}");
        }
        assert!(id_flaw("CVE-2021-44228 exp:2026-12-31").unwrap().contains("expire_time"));
        assert!(case_flaw("cve-2021-44228").is_some() && case_flaw("CVE-2021-44228").is_none());
    }

    #[test]
    fn package_patterns_with_more_than_a_name_are_noted() {
        let cases = [
            ("openssl", true),
            ("@scope/name", true),
            ("org.example:lib", true),
            ("lib*", true),
            ("\t", false),
            ("open ssl", false),
            ("pkg:npm/next", false),
            ("next@15.0.0", false),
            ("@scope/name@1", false),
        ];
        for (pattern, can_match) in cases {
            assert_eq!(package_flaw(pattern).is_none(), can_match, "{pattern:?}");
        }
    }
}
