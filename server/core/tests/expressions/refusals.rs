//! What is refused: where, why, and what would be right.

use scangate_core::expression::{Error, Expression, Position};

fn refused(source: &str) -> Error {
    match Expression::parse(source) {
        Ok(_) => panic!("{source} is accepted"),
        Err(error) => error,
    }
}

#[test]
fn every_refusal_says_where_why_and_what_would_be_right() {
    // Source, line, column, a part of the message, a part of the remedy.
    let table = [
        ("", 1, 1, "is empty", "write a condition"),
        ("  \n ", 1, 1, "is empty", "write a condition"),
        ("// nothing", 1, 1, "is empty", "write a condition"),
        ("finding.cvs > 7.0", 1, 1, "no field \"finding.cvs\"", "did you mean `finding.cvss`?"),
        ("true &&\n  finding.package.nam == 'x'", 2, 3, "no field", "did you mean `finding.package.name`?"),
        ("finding.package == 'x'", 1, 1, "no field \"finding.package\"", "package.name"),
        ("finding.cvss.value > 1.0", 1, 1, "no field \"finding.cvss.value\"", "the fields of `finding`"),
        ("has(finding.colour)", 1, 1, "no field", "the fields of `finding`"),
        ("has(now)", 1, 5, "`has` takes a field", "has(finding.epss)"),
        ("cvss > 7.0", 1, 1, "no variable \"cvss\"", "write `finding.cvss`"),
        ("finding.severity == HIGH", 1, 21, "no variable \"HIGH\"", "in quotes"),
        ("image.tag == 'x'", 1, 1, "no variable \"image\"", "`finding` and `now`"),
        ("now.year == 1", 1, 1, "\"now\" has no fields", "only `finding`"),
        ("finding == finding", 1, 1, "no value by itself", "name the fields"),
        ("finding['cvss'] > 1.0", 1, 1, "nothing is looked up in brackets", "finding.package.name"),
        ("finding.severity == 'high'", 1, 21, "is never \"high\"", "did you mean \"HIGH\"?"),
        ("finding.severity == 'UNTRIAGED'", 1, 21, "is never", "severity_label"),
        ("finding.fix in ['AVAILABLE', 'PARTIAL']", 1, 30, "is never \"PARTIAL\"", "the labels are"),
        ("finding.fix > 'NONE'", 1, 1, "have no order", "`==`, `!=` or `in`"),
        ("finding.severity == finding.severity_label", 1, 1, "a severity is compared with a string", "written out"),
        ("finding.severity == 3", 1, 1, "compared with an int", "finding.severity >= \"HIGH\""),
        ("finding.severity.startsWith('H')", 1, 1, "a string is wanted", "severity_label"),
        ("finding.title == 3", 1, 1, "a string is compared with an int", "its own type"),
        ("finding.title.size() > 7.5", 1, 1, "an int is compared with a double", "two ints or two doubles"),
        ("finding.cvss == 99999999999", 1, 1, "a double is compared with an int", "a number written with a point"),
        ("finding.rated < true", 1, 1, "no condition is less", "`&&`"),
        ("finding.rated + finding.rated == true", 1, 1, "`+` does not take a bool and a bool", "two ints"),
        ("finding.id + 'x' == 'y'", 1, 1, "`+` does not take", "not put together"),
        ("finding.cvss % 2.0 == 0.0", 1, 1, "`%` takes whole numbers", ""),
        ("size(finding.id) / 0 == 1", 1, 1, "divides by zero", ""),
        ("finding.cvss / 0 == 1.0", 1, 1, "divides by zero", ""),
        ("-finding.id == 'x'", 1, 2, "`-` takes a number", "write `!`"),
        ("!finding.cvss", 1, 2, "a condition is wanted", "compare it"),
        ("finding.cvss && true", 1, 1, "a condition is wanted", "finding.cvss >= 7.0"),
        ("true ? finding.cvss : finding.id", 1, 1, "a ternary has", "one type"),
        ("now > '2026-01-01T00:00:00Z'", 1, 1, "a timestamp is compared with a string", "timestamp("),
        ("now > duration('1h')", 1, 1, "a timestamp is compared with a duration", "subtract"),
        ("now + now > now", 1, 1, "`+` does not take", "add a duration"),
        ("2 * duration('1h') > duration('1h')", 1, 1, "`*` does not take", "add a duration"),
        ("timestamp('2026-01-01') < now", 1, 11, "is no timestamp", "RFC 3339"),
        ("timestamp('2026-13-01T00:00:00Z') < now", 1, 11, "is no timestamp", "RFC 3339"),
        ("timestamp(finding.id) < now", 1, 11, "not a string written out", "write `timestamp("),
        ("now - now > duration('7d')", 1, 22, "is no duration", "hours"),
        ("now - now > duration('1h 5m')", 1, 22, "is no duration", "units"),
        ("now - now > duration('')", 1, 22, "is no duration", "units"),
        ("now - now > duration('99999999999999999999999999999999999999999h')", 1, 22, "is no duration", "10,000 years"),
        ("finding.title.matches('(')", 1, 23, "cannot be used", "RE2"),
        ("finding.title.matches('(?=a)b')", 1, 23, "cannot be used", "look-around"),
        ("finding.title.matches('.{1000}{1000}')", 1, 23, "when compiled", "repeat less"),
        ("finding.title.lowerAscii() == 'x'", 1, 1, "no function \"lowerAscii\"", "(?i)"),
        ("finding.title.startWith('x')", 1, 1, "no function \"startWith\"", "did you mean `startsWith`?"),
        ("finding.title.startsWith()", 1, 1, "called in another way", "write `finding"),
        ("string(finding.cvss) == '7'", 1, 1, "no function \"string\"", "keep their type"),
        ("size(finding.cvss) == 7", 1, 6, "a string is wanted", ""),
        ("size([1, 2]) == 2", 1, 6, "a list is no value", "after `in`"),
        ("finding.id in finding.title", 1, 15, "a list is wanted", "contains"),
        ("finding.id in []", 1, 15, "the list is empty", ""),
        ("finding.id in ['a', 1]", 1, 21, "this element is an int", "type"),
        ("finding.id in ['a', finding.title]", 1, 21, "not written out", "`||`"),
        ("[1, 2].map(x, x * 2) == [2, 4]", 1, 1, "only `exists` and `all`", "exists"),
        ("[1, 2].exists_one(x, x == 1)", 1, 1, "only `exists` and `all`", "exists"),
        ("[1].exists(now, true)", 1, 1, "already has a meaning", "another name"),
        ("[1].exists(x, y == 1)", 1, 15, "no variable \"y\"", "finding"),
        ("[1].exists(x, x.id == 1)", 1, 15, "\"x\" has no fields", ""),
        ("finding.id == null", 1, 15, "nothing is ever null", "has("),
        ("finding.id == b'x'", 1, 15, "bytes are not supported", "leave out"),
        ("size(finding.id) == 3u", 1, 21, "unsigned", "leave out"),
        ("{'a': 1} == {'a': 1}", 1, 1, "maps and messages", ""),
        ("Finding{id: 'x'} == finding", 1, 8, "maps and messages", ""),
        ("finding.cvss > 7.0 or true", 1, 20, "`or` is no operator", "write `||`"),
        ("finding.id = 'x'", 1, 12, "`=` is no operator", "write `==`"),
        ("finding.cvss > 7.0 & true", 1, 20, "`&` is no operator", "write `&&`"),
        ("finding.cvss >", 1, 15, "ends where more is expected", ""),
        ("finding.cvss > 7.0 finding.epss > 0.1", 1, 20, "\"finding\" is not expected here", ""),
        ("(finding.cvss > 7.0", 1, 1, "never closed", "close it"),
        ("finding.cvss > 7.0)", 1, 19, "not open", ""),
        ("(finding.cvss > 7.0]", 1, 20, "not open", ""),
        ("finding.id == 'x", 1, 15, "does not end", "close it with '"),
        ("finding.id == 'x\ny'", 1, 15, "does not end", ""),
        ("finding.id == '\\d'", 1, 16, "means nothing", "raw string"),
        ("finding.id == \"a\0b\" \0", 1, 21, "means nothing outside", ""),
        ("finding.title == 'é' && é", 1, 25, "means nothing outside", "quotes"),
        ("size(finding.id) == 99999999999999999999", 1, 21, "too large", "64 bits"),
        ("finding.cvss < 1e999", 1, 16, "too large", "finite"),
        ("!!true", 1, 2, "`!` is repeated", "once"),
    ];
    let wrong = table.into_iter().filter_map(|(source, line, column, message, remedy)| {
        let error = refused(source);
        let is_right = error.message.contains(message)
            && error.hint.contains(remedy)
            && !error.hint.is_empty()
            && error.position == Position { line, column };
        (!is_right).then(|| format!("{source}\n  {error}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_too_deep_for_the_parser_says_so() {
    let deep = (0..7).fold("true".to_owned(), |inner, _| format!("({}{inner})", "true?true:".repeat(14)));

    let refused = refused(&deep);

    assert_eq!(refused.message, "brackets and `? :` are too deep inside each other");
    assert!(refused.hint.contains("several rules"));
}

#[test]
fn a_duration_that_overflows_is_too_long_and_nothing_else() {
    for duration in ["1h170141183460469231731687303715884105727ns", "-1ns170141183460469231731687303715884105727ns"] {
        let refused = Expression::parse(&format!("now - now > duration('{duration}')")).unwrap_err();
        assert!(refused.hint.contains("10,000 years") || refused.message.contains("10,000 years"), "{refused}");
    }
}
