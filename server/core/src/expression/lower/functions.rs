//! Lowers functions: string tests, `size`, and time literals.

use regex::{Regex, RegexBuilder};

use super::{
    Lowering, MAX_PATTERNS, time_literal,
    value::{Time, Value},
};
use crate::expression::{
    error::{Error, quote},
    fuzzy_match::closest_match,
    program::{
        time::Linear,
        tree::{Condition, Count, Number, Text, TextOperator},
    },
    tree::{Call, Node},
};

/// Maximum size of a compiled pattern, in bytes. It bounds the time for each character of a text.
const MAX_PATTERN: usize = 64 << 10;
/// Maximum size of the cache that a pattern fills while it runs, in bytes.
const MAX_PATTERN_CACHE: usize = 256 << 10;

const FUNCTIONS: [&str; 10] =
    ["startsWith", "endsWith", "contains", "matches", "size", "has", "exists", "all", "timestamp", "duration"];

impl Lowering<'_> {
    pub(super) fn function(&mut self, part: &Node<'_>, call: &Call<'_>) -> Result<Value, Error> {
        let test = match call.name {
            "startsWith" => TextOperator::StartsWith,
            "endsWith" => TextOperator::EndsWith,
            "contains" => TextOperator::Contains,
            "matches" => return self.pattern(part, call),
            "size" => return self.size(part, call),
            "timestamp" => {
                let nanoseconds = self.time_literal(part, call, time_literal::parse_timestamp)?;
                return Ok(Value::Timestamp(Time::Linear(Linear::constant(nanoseconds))));
            }
            "duration" => {
                let nanoseconds = self.time_literal(part, call, time_literal::parse_duration)?;
                return Ok(Value::Duration(Time::Linear(Linear::constant(nanoseconds))));
            }
            "has" => return self.presence(part, call),
            "exists" | "all" => return self.quantifier(part, call),
            "map" | "filter" | "exists_one" => {
                let message = "of the list macros, only `exists` and `all` are supported";
                return Err(self.error(part, message, usage("exists")));
            }
            name => return Err(self.unknown_function(part, name)),
        };
        let (Some(target), [argument]) = (&call.target, call.arguments.as_slice()) else {
            return Err(self.misuse(part, call));
        };
        Ok(Value::Condition(Condition::compare_texts(test, self.text(target)?, self.text(argument)?)))
    }

    pub(super) fn text(&mut self, part: &Node<'_>) -> Result<Text, Error> {
        let value = self.value(part)?;
        self.expect_text(part, value)
    }

    fn expect_text(&self, part: &Node<'_>, value: Value) -> Result<Text, Error> {
        let type_name = value.type_name();
        let hint = match value {
            Value::Text(text) => return Ok(text),
            Value::Label(_) => {
                "compare labels with `==`, `!=` or `in`; `finding.severity_label` is ECR's own label as a string"
            }
            Value::RelatedIds => "test each id, as in `finding.related_ids.exists(id, id.startsWith(\"CVE-\"))`",
            Value::Condition(_) | Value::Int(_) | Value::Double(_) | Value::Timestamp(_) | Value::Duration(_) => {
                "use a string such as `finding.package.name`"
            }
        };
        Err(self.error(part, format!("expected a string, found {type_name}"), hint))
    }

    fn pattern(&mut self, part: &Node<'_>, call: &Call<'_>) -> Result<Value, Error> {
        let (target, pattern) = match (&call.target, call.arguments.as_slice()) {
            (Some(target), [pattern]) => (&**target, pattern),
            (None, [target, pattern]) => (target, pattern),
            _ => return Err(self.misuse(part, call)),
        };
        let text = self.text(target)?;
        let Text::Literal(source) = self.text(pattern)? else {
            let hint = r#"write it as in `finding.id.matches("^CVE-2026-")`, or use `contains`"#;
            return Err(self.error(pattern, "the pattern of `matches` must be a string literal", hint));
        };
        self.pattern_count += 1;
        if self.pattern_count > MAX_PATTERNS {
            let message = format!("the expression has more than {MAX_PATTERNS} patterns");
            let hint = r#"combine them as in `matches("^(CVE|GHSA)-")`, or use `contains`"#;
            return Err(self.error(pattern, message, hint));
        }
        let compiled = self.compile_pattern(pattern, &source)?;
        Ok(Value::Condition(Condition::Matches(text, Box::new(compiled))))
    }

    fn compile_pattern(&self, part: &Node<'_>, pattern: &str) -> Result<Regex, Error> {
        let mut builder = RegexBuilder::new(pattern);
        let built = builder.size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN_CACHE).build();
        built.map_err(|error| {
            if let regex::Error::CompiledTooBig(_) = error {
                let message = format!("the compiled pattern is larger than {MAX_PATTERN} bytes");
                let hint = "use fewer repetitions, ASCII classes such as [0-9], or `contains`";
                return self.error(part, message, hint);
            }
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("invalid pattern {}: {reason}", quote(pattern));
            let hint = "use RE2 syntax, which has no look-around and no back-references";
            self.error(part, message, hint)
        })
    }

    fn size(&mut self, part: &Node<'_>, call: &Call<'_>) -> Result<Value, Error> {
        match (&call.target, call.arguments.as_slice()) {
            (Some(target), []) => self.length(target),
            (None, [target]) => self.length(target),
            _ => Err(self.misuse(part, call)),
        }
    }

    fn length(&mut self, part: &Node<'_>) -> Result<Value, Error> {
        let value = self.value(part)?;
        let length = if matches!(value, Value::RelatedIds) {
            Count::RelatedIds
        } else {
            Count::Length(self.expect_text(part, value)?)
        };
        Ok(Value::Int(Number::Quantity(length)))
    }

    /// Parses the only argument as a time; returns nanoseconds.
    fn time_literal(
        &mut self,
        part: &Node<'_>,
        call: &Call<'_>,
        parse: fn(&str) -> Result<i128, &'static str>,
    ) -> Result<i128, Error> {
        let (None, [argument]) = (&call.target, call.arguments.as_slice()) else {
            return Err(self.misuse(part, call));
        };
        let Value::Text(Text::Literal(text)) = self.value(argument)? else {
            let message = format!("the argument of `{}` must be a string literal", call.name);
            return Err(self.error(argument, message, usage(call.name)));
        };
        parse(&text).map_err(|hint| self.error(argument, format!("{} is not a {}", quote(&text), call.name), hint))
    }

    pub(super) fn misuse(&self, part: &Node<'_>, call: &Call<'_>) -> Error {
        self.error(part, format!("wrong arguments for `{}`", call.name), usage(call.name))
    }

    fn unknown_function(&self, part: &Node<'_>, name: &str) -> Error {
        let all = format!("the functions are {}", FUNCTIONS.join(", "));
        let hint = match name {
            "lowerAscii" | "upperAscii" => {
                r#"ignore case with a pattern, as in `finding.title.matches("(?i)overflow")`"#.to_owned()
            }
            "string" | "int" | "uint" | "double" | "bytes" | "bool" | "dyn" | "type" => {
                "types cannot be converted; write a literal of the expected type".to_owned()
            }
            _ if name.starts_with("get") => {
                r#"compare times as a whole, as in `now - finding.publish_time > duration("168h")`"#.to_owned()
            }
            _ => match closest_match(name, FUNCTIONS) {
                Some(known) => format!("did you mean `{known}`? {all}"),
                None => all,
            },
        };
        self.error(part, format!("there is no function {}", quote(name)), hint)
    }
}

/// Returns the correct use of a function.
pub(super) fn usage(name: &str) -> &'static str {
    match name {
        "startsWith" => r#"write `finding.package.name.startsWith("lib")`"#,
        "endsWith" => r#"write `finding.package.name.endsWith("-dev")`"#,
        "contains" => r#"write `finding.title.contains("overflow")`"#,
        "matches" => r#"write `finding.id.matches("^CVE-2026-")`"#,
        "size" => "write `size(finding.title)`",
        "timestamp" => r#"write `timestamp("2026-01-01T00:00:00Z")`"#,
        "duration" => r#"write `duration("168h")`"#,
        "has" => "write `has(finding.epss)`",
        _ => r#"write `["lib", "bin"].exists(x, finding.package.name.startsWith(x))`"#,
    }
}
