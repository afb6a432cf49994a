//! Hostile texts are refused soon; what is within the bounds is read, however deep.

use std::{
    ops::Add,
    time::{Duration, Instant},
};

use scangate_core::expression::{Expression, MAX_CHAIN, MAX_LENGTH, MAX_NESTING, MAX_TERNARIES, MAX_TOKENS};

use crate::given::{Answer, answer, bare, full};

/// Far more than it takes, in a debug build on a busy machine; far less than anything that runs away.
const SOON: Duration = Duration::from_secs(10);

#[track_caller]
fn refused_soon(source: &str, why: &str) {
    let start = Instant::now();
    let error = Expression::parse(source).unwrap_err();
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
    assert!(error.message.contains(why), "{error}");
    assert!(error.to_string().len() < 2_000, "{error}");
}

#[track_caller]
fn accepted_soon(source: &str) {
    let start = Instant::now();
    let expression = Expression::parse(source).unwrap_or_else(|error| panic!("{error}\n{source}"));
    for finding in [full(), bare()] {
        answer(&expression, &finding);
    }
    drop(expression);
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
}

#[test]
fn hostile_texts_are_refused_before_they_are_read() {
    refused_soon(&"(".repeat(1_000_000), "bytes long");
    refused_soon(&"(".repeat(1_900), "more than");
    refused_soon(&format!("{}true{}", "(".repeat(200), ")".repeat(200)), "nested brackets");
    refused_soon(&"[".repeat(400), "nested brackets");
    refused_soon(&"{'a':".repeat(120), "nested brackets");
    refused_soon(&"!".repeat(400), "repeated");
    refused_soon(&"-".repeat(400), "repeated");
    refused_soon(&"! - ".repeat(400), "more than");
    refused_soon(&format!("1{} == 1", " + 1".repeat(10_000)), "bytes long");
    refused_soon(&format!("1{} == 1", "+1".repeat(240)), "operators in one chain");
    refused_soon(&format!("finding{} == 1", ".a".repeat(240)), "operators in one chain");
    refused_soon(&format!("true{}", "&&true".repeat(300)), "names, literals and operators");
    refused_soon(&format!("{}true", "true?true:".repeat(100)), "ternaries");
    refused_soon(&format!("finding.id == '{}'", "x".repeat(10_000)), "bytes long");
    refused_soon(&format!("size(finding.id) == {}", "9".repeat(1_900)), "too large");
    refused_soon(&format!("finding.cvss < 1{}.0", "0".repeat(1_900)), "too large");
    refused_soon(&"\0".repeat(1_000), "unexpected character");
    refused_soon(&"\u{202e}".repeat(500), "unexpected character");
    refused_soon(&format!("finding.{} == 1", "x".repeat(1_900)), "no field");
    refused_soon(&format!("finding.id == 1 // {}", "x".repeat(1_900)), "cannot compare");
}

#[test]
fn regex_bombs_are_refused_by_their_size() {
    for pattern in ["(a{1000}){1000}", "((a*)*)*{500}{500}", "\\\\pL{1000}", "(?i)\\\\w{200}", ".{0,65535}"] {
        refused_soon(&format!("finding.title.matches('{pattern}')"), "pattern");
    }
    let deep = format!("finding.title.matches('{}a{}')", "(".repeat(900), ")".repeat(900));
    refused_soon(&deep, "pattern");
    // Backtracking would take for ever; there is none.
    let slow = Expression::parse("finding.title.matches('^(a+)+$')").unwrap();
    let finding = scangate_core::finding::Finding { title: Some("a".repeat(100_000).add("b").into()), ..full() };
    let start = Instant::now();
    assert_eq!(answer(&slow, &finding), Answer::DoesNot);
    assert!(start.elapsed() < SOON);
}

#[test]
fn bodies_times_elements_are_bounded() {
    let list = format!("[{}]", vec!["1"; 40].join(","));
    let nested = format!("{list}.all(x, {list}.all(y, {list}.all(z, x == y && y == z)))");
    refused_soon(&nested, "parts");
    let patterns = format!("{list}.all(x, finding.id.matches('a'))");
    refused_soon(&patterns, "more than 8 patterns");
    let timed = format!("{list}.all(x, now > finding.published_at)");
    refused_soon(&timed, "compares `now`");
}

#[test]
fn what_reaches_the_bounds_is_read() {
    let parens = |inner: &str| format!("{}{inner}{}", "(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
    accepted_soon(&parens("true"));
    accepted_soon(&format!("{}finding.cvss > 1.0", "(true||".repeat(MAX_NESTING)).add(&")".repeat(MAX_NESTING)));
    accepted_soon(&format!("{}true{}", "!(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING)));
    accepted_soon(&format!("1{} == 1", "+1".repeat(MAX_CHAIN - 1)));
    accepted_soon(&format!("{}true", "finding.cvss > 1.0 ? true : ".repeat(MAX_TERNARIES)));
    accepted_soon(&format!("true{}", "||true".repeat((MAX_TOKENS - 1) / 2)));
    accepted_soon(&format!("true{}", "||true&&false".repeat((MAX_TOKENS - 1) / 4)));
    accepted_soon(&format!("finding.cvss > 1.0{}", " ".repeat(MAX_LENGTH - 18)));
    let many = vec!["'a'"; MAX_TOKENS / 2 - 4].join(",");
    accepted_soon(&format!("finding.id in [{many}]"));
    let sum = format!("1{}", "+1".repeat(10));
    let nested = (0..MAX_NESTING).fold(sum, |inner, _| format!("1+({inner})"));
    accepted_soon(&format!("{nested} > 1"));
}

#[test]
fn an_expression_is_read_on_a_thread_with_little_stack() {
    let source = format!("{}true{}", "!(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
    let small = std::thread::Builder::new().stack_size(128 << 10);
    let read = small.spawn(move || answer(&Expression::parse(&source).unwrap(), &full())).unwrap();

    assert_eq!(read.join().unwrap(), Answer::Matches);
}
