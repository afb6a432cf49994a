//! Refusals: the position, the message and the hint of each.

use scangate_core::expression::{Error, Expression, Position};

/// A source, the line and the column of its fault, a part of the message, and a part of the hint.
const REFUSALS: &[(&str, usize, usize, &str, &str)] = &[
    ("", 1, 1, "is empty", "write a condition"),
    ("  \n ", 1, 1, "is empty", "write a condition"),
    ("// nothing", 1, 1, "is empty", "write a condition"),
    ("finding.cvs > 7.0", 1, 1, "no field \"finding.cvs\"", "did you mean `finding.cvss`?"),
    ("true &&\n  finding.package.nam == 'x'", 2, 3, "no field", "did you mean `finding.package.name`?"),
    ("finding.package == 'x'", 1, 1, "no field \"finding.package\"", "package.name"),
    ("finding.cvss.value > 1.0", 1, 1, "no field \"finding.cvss.value\"", "the fields of `finding`"),
    ("has(finding.colour)", 1, 1, "no field", "the fields of `finding`"),
    ("has(now)", 1, 5, "`has` needs a field", "has(finding.epss)"),
    ("cvss > 7.0", 1, 1, "no variable \"cvss\"", "write `finding.cvss`"),
    ("finding.severity == HIGH", 1, 21, "no variable \"HIGH\"", "in quotes"),
    ("image.tag == 'x'", 1, 1, "no variable \"image\"", "`finding`, `manifest` and `now`"),
    ("now.year == 1", 1, 1, "\"now\" has no fields", "only `finding` and `manifest` have fields"),
    ("finding == finding", 1, 1, "not a value by itself", "the fields"),
    ("finding['cvss'] > 1.0", 1, 1, "accessed with brackets", "finding.package.name"),
    ("finding.severity == 'high'", 1, 21, "\"high\" is not a label", "did you mean \"HIGH\"?"),
    ("finding.severity == 'UNTRIAGED'", 1, 21, "is not a label", "severity_label"),
    ("finding.fix in ['AVAILABLE', 'PARTIAL']", 1, 30, "\"PARTIAL\" is not a label", "the labels are"),
    ("finding.fix > 'NONE'", 1, 1, "have no order", "`==`, `!=` or `in`"),
    ("finding.severity == finding.severity_label", 1, 1, "cannot compare a severity with a string", "a literal label"),
    ("finding.severity == 3", 1, 1, "a severity with an int", "finding.severity >= \"HIGH\""),
    ("finding.severity.startsWith('H')", 1, 1, "expected a string", "severity_label"),
    ("finding.title == 3", 1, 1, "cannot compare a string with an int", "the same type"),
    ("finding.title.size() > 7.5", 1, 1, "cannot compare an int with a double", "two ints or two doubles"),
    ("finding.cvss == 99999999999", 1, 1, "cannot compare a double with an int", "a number with a decimal point"),
    ("finding.rated < true", 1, 1, "conditions have no order", "`&&`"),
    ("finding.rated + finding.rated == true", 1, 1, "`+` cannot be applied to a bool and a bool", "two ints"),
    ("finding.id + 'x' == 'y'", 1, 1, "`+` cannot be applied", "cannot be concatenated"),
    ("finding.cvss % 2.0 == 0.0", 1, 1, "`%` needs whole numbers", ""),
    ("size(finding.id) / 0 == 1", 1, 1, "division by zero", ""),
    ("finding.cvss / 0 == 1.0", 1, 1, "division by zero", ""),
    ("-finding.id == 'x'", 1, 2, "`-` needs a number", "write `!`"),
    ("!finding.cvss", 1, 2, "expected a condition", "compare it"),
    ("finding.cvss && true", 1, 1, "expected a condition", "finding.cvss >= 7.0"),
    ("true ? finding.cvss : finding.id", 1, 1, "a ternary differ in type", "the same type"),
    ("now > '2026-01-01T00:00:00Z'", 1, 1, "cannot compare a timestamp with a string", "timestamp("),
    ("now > duration('1h')", 1, 1, "cannot compare a timestamp with a duration", "subtract"),
    ("now + now > now", 1, 1, "`+` cannot be applied", "add a duration"),
    ("2 * duration('1h') > duration('1h')", 1, 1, "`*` cannot be applied", "add a duration"),
    ("timestamp('2026-01-01') < now", 1, 11, "is not a timestamp", "RFC 3339"),
    ("timestamp('2026-13-01T00:00:00Z') < now", 1, 11, "is not a timestamp", "RFC 3339"),
    ("timestamp(finding.id) < now", 1, 11, "must be a string literal", "write `timestamp("),
    ("now - now > duration('7d')", 1, 22, "is not a duration", "hours"),
    ("now - now > duration('1h 5m')", 1, 22, "is not a duration", "units"),
    ("now - now > duration('')", 1, 22, "is not a duration", "units"),
    ("now - now > duration('99999999999999999999999999999999999999999h')", 1, 22, "is not a duration", "10,000 years"),
    ("finding.title.matches('(')", 1, 23, "invalid pattern", "RE2"),
    ("finding.title.matches('(?=a)b')", 1, 23, "invalid pattern", "look-around"),
    ("finding.title.matches('.{1000}{1000}')", 1, 23, "compiled pattern", "fewer repetitions"),
    ("finding.title.lowerAscii() == 'x'", 1, 1, "no function \"lowerAscii\"", "(?i)"),
    ("finding.title.startWith('x')", 1, 1, "no function \"startWith\"", "did you mean `startsWith`?"),
    ("finding.title.startsWith()", 1, 1, "wrong arguments", "write `finding"),
    ("string(finding.cvss) == '7'", 1, 1, "no function \"string\"", "cannot be converted"),
    ("size(finding.cvss) == 7", 1, 6, "expected a string", ""),
    ("size([1, 2]) == 2", 1, 6, "a list is not a value", "after `in`"),
    ("finding.id in finding.title", 1, 15, "expected a list", "contains"),
    ("finding.id in []", 1, 15, "the list is empty", ""),
    ("finding.id in ['a', 1]", 1, 21, "found an int", "type"),
    ("finding.id in ['a', finding.title]", 1, 21, "must be a literal", "`||`"),
    ("[1, 2].map(x, x * 2) == [2, 4]", 1, 1, "only `exists` and `all`", "exists"),
    ("[1, 2].exists_one(x, x == 1)", 1, 1, "only `exists` and `all`", "exists"),
    ("[1].exists(now, true)", 1, 12, "is a reserved name", "another name"),
    ("[1].exists(x, y == 1)", 1, 15, "no variable \"y\"", "finding"),
    ("[1].exists(x, x.id == 1)", 1, 15, "\"x\" has no fields", ""),
    ("finding.id == null", 1, 15, "`null` is not supported", "has("),
    ("finding.id == b'x'", 1, 15, "bytes are not supported", "omit"),
    ("size(finding.id) == 3u", 1, 21, "unsigned", "omit"),
    ("{'a': 1} == {'a': 1}", 1, 1, "maps and messages", ""),
    ("Finding{id: 'x'} == finding", 1, 8, "maps and messages", ""),
    ("finding.cvss > 7.0 or true", 1, 20, "`or` is not an operator", "write `||`"),
    ("finding.id = 'x'", 1, 12, "`=` is not an operator", "write `==`"),
    ("finding.cvss > 7.0 & true", 1, 20, "`&` is not an operator", "write `&&`"),
    ("finding.cvss >", 1, 15, "is incomplete", ""),
    ("finding.cvss > 7.0 finding.epss > 0.1", 1, 20, "unexpected \"finding\"", ""),
    ("(finding.cvss > 7.0", 1, 1, "never closed", "closing bracket"),
    ("finding.cvss > 7.0)", 1, 19, "does not match", ""),
    ("(finding.cvss > 7.0]", 1, 20, "does not match", ""),
    ("finding.id == 'x", 1, 15, "is not closed", "close it with '"),
    ("finding.id == 'x\ny'", 1, 15, "is not closed", ""),
    ("finding.id == '\\d'", 1, 16, "not an escape sequence", "raw string"),
    ("finding.id == \"a\0b\" \0", 1, 21, "outside a string", ""),
    ("finding.title == 'é' && é", 1, 25, "outside a string", "quote text"),
    ("size(finding.id) == 99999999999999999999", 1, 21, "too large", "64 bits"),
    ("finding.cvss < 1e999", 1, 16, "too large", "finite"),
    ("finding.related_ids", 1, 1, "expected a condition, found a list", "in finding.related_ids"),
    ("finding.related_ids == 'CVE-1'", 1, 1, "cannot compare a list with a string", "in finding.related_ids"),
    ("finding.related_ids.startsWith('CVE-')", 1, 1, "expected a string, found a list", "exists"),
    ("finding.related_ids in ['CVE-1']", 1, 1, "a list is no element", "before `in`"),
    ("finding.related_ids.all(a, finding.related_ids.exists(b, a == b))", 1, 28, "already visited", "two conditions"),
    ("finding.kev", 1, 1, "`finding.kev` is not a value", "has(finding.kev)"),
    ("manifest.in_use_cont > 0", 1, 1, "no field \"manifest.in_use_cont\"", "did you mean `manifest.in_use_count`?"),
    ("manifest.digest == 'x'", 1, 1, "no field \"manifest.digest\"", "the fields of `manifest` are in_use_count"),
    ("manifest.cvss > 7.0", 1, 1, "no field \"manifest.cvss\"", "did you mean `finding.cvss`?"),
    ("has(finding.in_use_count)", 1, 1, "no field", "did you mean `manifest.in_use_count`?"),
    ("in_use_count > 0", 1, 1, "no variable \"in_use_count\"", "write `manifest.in_use_count`"),
    ("manifest == manifest", 1, 1, "`manifest` is not a value", "the fields of `manifest`"),
    ("has(manifest)", 1, 5, "`has` needs a field", "has(finding.epss)"),
    ("manifest.in_use_count", 1, 1, "expected a condition, found an int", "manifest.in_use_count > 0"),
    ("manifest.in_use_count > 0.5", 1, 1, "cannot compare an int with a double", "two ints"),
    ("manifest.last_in_use_at > 3", 1, 1, "cannot compare a timestamp with an int", "the same type"),
    ("[1].exists(manifest, true)", 1, 12, "is a reserved name", "another name"),
    ("!!true", 1, 2, "`!` is repeated", "once"),
];

fn refused(source: &str) -> Error {
    match Expression::parse(source) {
        Ok(_) => panic!("{source} is accepted"),
        Err(error) => error,
    }
}

#[test]
fn refusals_have_position_message_and_hint() {
    for (source, line, column, message, hint) in REFUSALS {
        let error = refused(source);

        assert_eq!(error.position, Position { line: *line, column: *column }, "{source}\n  {error}");
        assert!(error.message.contains(message), "{source}\n  {error}");
        assert!(error.hint.contains(hint) && !error.hint.is_empty(), "{source}\n  {error}");
    }
}

#[test]
fn nesting_beyond_parser_is_refused_with_hint() {
    let deep = (0..7).fold("true".to_owned(), |inner, _| format!("({}{inner})", "true?true:".repeat(14)));

    let refused = refused(&deep);

    assert_eq!(refused.message, "brackets and `? :` are nested too deeply");
    assert!(refused.hint.contains("several rules"));
}

#[test]
fn overflowing_duration_is_refused_as_too_long() {
    for duration in ["1h170141183460469231731687303715884105727ns", "-1ns170141183460469231731687303715884105727ns"] {
        let refused = Expression::parse(&format!("now - now > duration('{duration}')")).unwrap_err();
        assert!(refused.hint.contains("10,000 years") || refused.message.contains("10,000 years"), "{refused}");
    }
}
