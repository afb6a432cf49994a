//! Limits: hostile texts are refused in time, and every text within the limits is accepted.

use std::{
    ops::Add,
    time::{Duration, Instant},
};

use scangate_core::expression::{Expression, MAX_DEPTH, MAX_LENGTH};

use crate::fixtures::{Answer, answer, bare, full};

/// Far more than a parse takes in a debug build on a busy machine, and far less than an unbounded one.
const TIMEOUT: Duration = Duration::from_secs(10);

#[track_caller]
fn assert_refused(source: &str, reason: &str) {
    let start = Instant::now();
    let error = Expression::parse(source).unwrap_err();
    assert!(start.elapsed() < TIMEOUT, "took {:?}", start.elapsed());
    assert!(error.message.contains(reason), "{error}");
    assert!(error.to_string().len() < 2_000, "{error}");
}

#[track_caller]
fn assert_accepted(source: &str) {
    let start = Instant::now();
    let expression = Expression::parse(source).unwrap_or_else(|error| panic!("{error}\n{source}"));
    for finding in [full(), bare()] {
        answer(&expression, &finding);
    }
    drop(expression);
    assert!(start.elapsed() < TIMEOUT, "took {:?}", start.elapsed());
}

#[test]
fn hostile_texts_are_refused_before_parsing() {
    assert_refused(&"(".repeat(1_000_000), "bytes long");
    assert_refused(&"(".repeat(1_900), "more than");
    assert_refused(&format!("{}true{}", "(".repeat(200), ")".repeat(200)), "levels deep");
    assert_refused(&"[".repeat(400), "levels deep");
    assert_refused(&"a(".repeat(400), "levels deep");
    assert_refused(&"{'a':".repeat(120), "maps and messages");
    assert_refused(&"!".repeat(400), "repeated");
    assert_refused(&"-".repeat(400), "repeated");
    assert_refused(&"! - ".repeat(400), "more than");
    assert_refused(&format!("1{} == 1", " + 1".repeat(10_000)), "bytes long");
    assert_refused(&format!("1{} == 1", "+1".repeat(240)), "levels deep");
    assert_refused(&format!("finding{} == 1", ".a".repeat(240)), "levels deep");
    assert_refused(&format!("finding{} == 1", ".a()".repeat(240)), "levels deep");
    assert_refused(&format!("{}true", "true?true:".repeat(100)), "levels deep");
    assert_refused(&format!("finding.id == '{}'", "x".repeat(10_000)), "bytes long");
    assert_refused(&format!("size(finding.id) == {}", "9".repeat(1_900)), "too large");
    assert_refused(&format!("finding.cvss < 1{}.0", "0".repeat(1_900)), "too large");
    assert_refused(&"\0".repeat(1_000), "unexpected character");
    assert_refused(&"\u{202e}".repeat(500), "unexpected character");
    assert_refused(&format!("finding.{} == 1", "x".repeat(1_900)), "no field");
    assert_refused(&format!("finding.id == 1 // {}", "x".repeat(1_900)), "cannot compare");
}

#[test]
fn regex_bombs_are_refused_by_their_size() {
    for pattern in ["(a{1000}){1000}", "((a*)*)*{500}{500}", "\\\\pL{1000}", "(?i)\\\\w{200}", ".{0,65535}"] {
        assert_refused(&format!("finding.title.matches('{pattern}')"), "pattern");
    }
    let deep = format!("finding.title.matches('{}a{}')", "(".repeat(900), ")".repeat(900));
    assert_refused(&deep, "pattern");
    // A backtracking engine would need exponential time.
    let slow = Expression::parse("finding.title.matches('^(a+)+$')").unwrap();
    let finding = scangate_core::finding::Finding { title: Some("a".repeat(100_000).add("b").into()), ..full() };
    let start = Instant::now();
    assert_eq!(answer(&slow, &finding), Answer::DoesNot);
    assert!(start.elapsed() < TIMEOUT);
}

#[test]
fn expanded_quantifiers_are_limited() {
    let list = format!("[{}]", vec!["1"; 40].join(","));
    let nested = format!("{list}.all(x, {list}.all(y, {list}.all(z, x == y && y == z)))");
    assert_refused(&nested, "parts");
    let patterns = format!("{list}.all(x, finding.id.matches('a'))");
    assert_refused(&patterns, "more than 8 patterns");
    let timed = format!("{list}.all(x, now > finding.publish_time)");
    assert_refused(&timed, "compares `now`");
}

/// Expressions of the greatest depth, one of each recursive form; `extra` levels deeper than that.
fn deepest(extra: usize) -> Vec<String> {
    let depth = MAX_DEPTH + extra;
    let wrapped = |open: &str, inner: &str, close: &str, levels_each: usize, levels_inner: usize| {
        let count = (depth - levels_inner) / levels_each;
        let rest = (depth - levels_inner) % levels_each;
        let inner = format!("{}{inner}{}", "(".repeat(rest), ")".repeat(rest));
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    };
    vec![
        wrapped("(", "true", ")", 1, 1),
        wrapped("!(", "true", ")", 2, 1),
        wrapped("(true||", "false", ")", 2, 1),
        wrapped("(true==", "false", ")", 2, 1),
        wrapped("(false!=", "true", ")", 2, 1),
        wrapped("(true?", "false", ":true)", 2, 1),
        wrapped("true?false:", "false", "", 1, 1),
        format!("{} > 1", wrapped("1+(", "1", ")", 2, 2)),
        format!("{} > 1", wrapped("", "1", "+1", 1, 2)),
        format!("{} < 1.0", wrapped("-(", "finding.cvss", ")", 2, 3)),
        format!("now < {}", wrapped("", "now", "+duration('1h')", 1, 3)),
        wrapped("['a'].all(x,", "false", ")", 1, 2),
        wrapped("!(", &format!("finding.id.matches('{}a{}')", "(".repeat(240), ")".repeat(240)), ")", 2, 3),
        wrapped("['a'].all(x,!(", "finding.id==x", "))", 3, 3),
        format!("({}) == 'a'", wrapped("finding.id.contains(true?'a':(", "finding.title", "))?'a':'b'", 4, 4)),
    ]
}

#[test]
fn texts_at_limits_are_accepted() {
    for source in deepest(0).iter().filter(|source| source.len() <= MAX_LENGTH) {
        assert_accepted(source);
    }
    assert_accepted(&format!("true{}", "||true".repeat(330)));
    assert_accepted(&format!("true{}", "||true&&false".repeat(150)));
    assert_accepted(&format!("finding.cvss > 1.0{}", " ".repeat(MAX_LENGTH - 18)));
    assert_accepted(&format!("finding.id in [{}]", vec!["'a'"; 490].join(",")));
}

#[test]
fn deeper_texts_are_refused() {
    for source in deepest(1).iter().filter(|source| source.len() <= MAX_LENGTH) {
        assert_refused(source, "levels deep");
    }
}

/// Half the stack of the server's threads. A debug build needs several times that of a release build.
const SMALL_STACK: usize = 1 << 20;

#[test]
fn deepest_expressions_need_no_large_stack() {
    let small = std::thread::Builder::new().stack_size(SMALL_STACK);
    let all = small.spawn(|| deepest(0).iter().for_each(|source| assert_accepted(source))).unwrap();

    all.join().unwrap();
}
