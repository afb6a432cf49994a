//! Every example of the manual is what the manual says.

use std::{collections::BTreeMap, fs, path::Path};

use scangate_core::{expression::Expression, finding::Finding};

use crate::given::{Answer, answer};

/// A fenced block and the quoted line that follows it.
struct Block<'a> {
    language: &'a str,
    text: String,
    said: &'a str,
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
            blocks.push(Block { language, text: text.join("\n"), said: "" });
        } else if let Some(said) = line.strip_prefix("> ") {
            blocks.last_mut().unwrap().said = said;
        }
    }
    blocks
}

/// `matches A, B; unknown for C`, as the manual writes it.
fn described(answers: &[(String, Answer)]) -> String {
    let named = |wanted: Answer| {
        let names = answers.iter().filter(|(_, answer)| *answer == wanted).map(|(name, _)| format!("`{name}`"));
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
fn every_example_of_the_manual_matches_what_it_says() {
    let manual = manual();
    let blocks = blocks(&manual);
    let given = blocks.iter().find(|block| block.language == "json").unwrap();
    let findings: BTreeMap<String, Finding> = serde_json::from_str(&given.text).unwrap();
    let order = ["openssl", "left-pad", "zlib", "linux"];
    let examples: Vec<_> = blocks.iter().filter(|block| block.language == "cel").collect();
    assert!(examples.len() > 10 && findings.len() == order.len());

    for example in examples {
        let expression = Expression::parse(&example.text).unwrap_or_else(|error| panic!("{error}\n{}", example.text));
        let answers = order.map(|name| (name.to_owned(), answer(&expression, &findings[name])));

        assert_eq!(described(&answers), example.said, "{}", example.text);
    }
}

#[test]
fn every_refusal_of_the_manual_is_as_it_says() {
    let manual = manual();
    let blocks = blocks(&manual);
    let examples: Vec<_> = blocks.iter().filter(|block| block.language == "cel-refused").collect();
    assert!(examples.len() > 5);

    for example in examples {
        let error = Expression::parse(&example.text).unwrap_err();

        assert_eq!(format!("{}: {}", error.position, error.message), example.said, "{}", example.text);
        assert!(!error.hint.is_empty());
    }
}
