//! Limits: hostile texts are refused in time, and every text within the limits is accepted.

use std::{
    ops::Add,
    time::{Duration, Instant},
};

use scangate_core::expression::{Expression, MAX_CHAIN, MAX_LENGTH, MAX_NESTING, MAX_TERNARIES, MAX_TOKENS};

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
    assert_refused(&format!("{}true{}", "(".repeat(200), ")".repeat(200)), "nested brackets");
    assert_refused(&"[".repeat(400), "nested brackets");
    assert_refused(&"{'a':".repeat(120), "nested brackets");
    assert_refused(&"!".repeat(400), "repeated");
    assert_refused(&"-".repeat(400), "repeated");
    assert_refused(&"! - ".repeat(400), "more than");
    assert_refused(&format!("1{} == 1", " + 1".repeat(10_000)), "bytes long");
    assert_refused(&format!("1{} == 1", "+1".repeat(240)), "operators in one chain");
    assert_refused(&format!("finding{} == 1", ".a".repeat(240)), "operators in one chain");
    assert_refused(&format!("true{}", "&&true".repeat(300)), "names, literals and operators");
    assert_refused(&format!("{}true", "true?true:".repeat(100)), "ternaries");
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
    let timed = format!("{list}.all(x, now > finding.published_at)");
    assert_refused(&timed, "compares `now`");
}

#[test]
fn texts_at_limits_are_accepted() {
    let parens = |inner: &str| format!("{}{inner}{}", "(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
    assert_accepted(&parens("true"));
    assert_accepted(&format!("{}finding.cvss > 1.0", "(true||".repeat(MAX_NESTING)).add(&")".repeat(MAX_NESTING)));
    assert_accepted(&format!("{}true{}", "!(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING)));
    assert_accepted(&format!("1{} == 1", "+1".repeat(MAX_CHAIN - 1)));
    assert_accepted(&format!("{}true", "finding.cvss > 1.0 ? true : ".repeat(MAX_TERNARIES)));
    assert_accepted(&format!("true{}", "||true".repeat((MAX_TOKENS - 1) / 2)));
    assert_accepted(&format!("true{}", "||true&&false".repeat((MAX_TOKENS - 1) / 4)));
    assert_accepted(&format!("finding.cvss > 1.0{}", " ".repeat(MAX_LENGTH - 18)));
    let many = vec!["'a'"; MAX_TOKENS / 2 - 4].join(",");
    assert_accepted(&format!("finding.id in [{many}]"));
    let sum = format!("1{}", "+1".repeat(10));
    let nested = (0..MAX_NESTING).fold(sum, |inner, _| format!("1+({inner})"));
    assert_accepted(&format!("{nested} > 1"));
}

#[test]
fn deep_expression_parses_on_thread_with_small_stack() {
    let source = format!("{}true{}", "!(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
    let small = std::thread::Builder::new().stack_size(128 << 10);
    let read = small.spawn(move || answer(&Expression::parse(&source).unwrap(), &full())).unwrap();

    assert_eq!(read.join().unwrap(), Answer::Matches);
}
