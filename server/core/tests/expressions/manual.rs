//! The examples of the manual behave as the manual describes them.

use std::{collections::BTreeMap, fs, path::Path};

use scangate_core::{expression::Expression, finding::Finding, scan::Usage};
use scangate_test_fixtures::noon;

use crate::fixtures::{Answer, answer_at};

/// A fenced block and the quoted line that follows it.
struct Block<'a> {
    language: &'a str,
    text: String,
    expected: &'a str,
}

fn manual() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/expressions.md")).unwrap()
}

fn blocks(manual: &str) -> Vec<Block<'_>> {
    let mut lines = manual.lines();
    let mut blocks: Vec<Block<'_>> = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { language, text: text.join("\n"), expected: "" });
        } else if let Some(expected) = line.strip_prefix("> ") {
            blocks.last_mut().unwrap().expected = expected;
        }
    }
    blocks
}

/// Renders results as the manual does: `matches A, B; unknown for C`.
fn render(answers: &[(String, Answer)]) -> String {
    let named = |expected: Answer| {
        let names = answers.iter().filter(|(_, answer)| *answer == expected).map(|(name, _)| format!("`{name}`"));
        names.collect::<Vec<_>>().join(", ")
    };
    let (matching, unknown) = (named(Answer::Matches), named(Answer::Unknown));
    let matching = if matching.is_empty() { "none".to_owned() } else { matching };
    if unknown.is_empty() {
        format!("matches {matching}")
    } else {
        format!("matches {matching}; unknown for {unknown}")
    }
}

#[test]
fn manual_examples_match_as_described() {
    let manual = manual();
    let blocks = blocks(&manual);
    let data: Vec<_> = blocks.iter().filter(|block| block.language == "json").collect();
    let [findings, usages] = data.as_slice() else { panic!("expected findings and uses, found {} blocks", data.len()) };
    let findings: BTreeMap<String, Finding> = serde_json::from_str(&findings.text).unwrap();
    let usages: BTreeMap<String, Usage> = serde_json::from_str(&usages.text).unwrap();
    let order = ["openssl", "left-pad", "zlib", "linux"];
    let examples: Vec<_> = blocks.iter().filter(|block| block.language == "cel").collect();
    assert!(examples.len() > 10 && findings.len() == order.len());

    for example in examples {
        let expression = Expression::parse(&example.text).unwrap_or_else(|error| panic!("{error}\n{}", example.text));
        let answers = order.map(|name| {
            let usage = usages.get(name).copied().unwrap_or_default();
            (name.to_owned(), answer_at(&expression, &findings[name], &usage, noon()))
        });

        assert_eq!(render(&answers), example.expected, "{}", example.text);
    }
}

#[test]
fn manual_refusals_are_as_described() {
    let manual = manual();
    let blocks = blocks(&manual);
    let examples: Vec<_> = blocks.iter().filter(|block| block.language == "cel-refused").collect();
    assert!(examples.len() > 5);

    for example in examples {
        let error = Expression::parse(&example.text).unwrap_err();

        assert_eq!(format!("{}: {}", error.position, error.message), example.expected, "{}", example.text);
        assert!(!error.hint.is_empty());
    }
}
