//! Functions: the tests of strings, `size`, and the literals of time.

use cel::{IdedExpr, common::ast::CallExpr};
use regex::{Regex, RegexBuilder};

use super::{
    Lowering, MAX_PATTERNS, moment,
    value::{Time, Value},
};
use crate::expression::{
    error::{Error, quoted},
    nearest::nearest,
    program::{
        number::{Length, Number},
        test::Test,
        text::{Text, TextTest},
        time::Linear,
    },
};

/// Largest compiled pattern, in bytes. Its size bounds the time that each character of a text can cost.
const MAX_PATTERN: usize = 64 << 10;
/// Largest cache that a pattern fills while it runs, in bytes.
const MAX_PATTERN_CACHE: usize = 256 << 10;

const FUNCTIONS: [&str; 10] =
    ["startsWith", "endsWith", "contains", "matches", "size", "has", "exists", "all", "timestamp", "duration"];

impl Lowering<'_> {
    pub(super) fn function(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Value, Error> {
        let test = match call.func_name.as_str() {
            "startsWith" => TextTest::StartsWith,
            "endsWith" => TextTest::EndsWith,
            "contains" => TextTest::Contains,
            "matches" => return self.pattern(part, call),
            "size" => return self.size(part, call),
            "timestamp" => {
                let nanoseconds = self.written(part, call, moment::timestamp)?;
                return Ok(Value::Timestamp(Time::Linear(Linear::constant(nanoseconds))));
            }
            "duration" => {
                let nanoseconds = self.written(part, call, moment::duration)?;
                return Ok(Value::Duration(Time::Linear(Linear::constant(nanoseconds))));
            }
            name => return Err(self.unknown_function(part, name)),
        };
        let (Some(target), [argument]) = (&call.target, call.args.as_slice()) else {
            return Err(self.misused(part, call));
        };
        Ok(Value::Test(Test::texts(test, self.text(target)?, self.text(argument)?)))
    }

    fn text(&mut self, part: &IdedExpr) -> Result<Text, Error> {
        let value = self.value(part)?;
        let kind = value.kind();
        let remedy = match value {
            Value::Text(text) => return Ok(text),
            Value::Label(_) => "compare labels by `==`, `!=` or `in`; what ECR wrote is `finding.severity_label`",
            Value::Test(_) | Value::Int(_) | Value::Double(_) | Value::Timestamp(_) | Value::Duration(_) => {
                "ask strings only, such as `finding.package.name`"
            }
        };
        Err(self.places.error(part, format!("a string is wanted here, and this is {kind}"), remedy))
    }

    fn pattern(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Value, Error> {
        let (target, pattern) = match (&call.target, call.args.as_slice()) {
            (Some(target), [pattern]) => (&**target, pattern),
            (None, [target, pattern]) => (target, pattern),
            _ => return Err(self.misused(part, call)),
        };
        let text = self.text(target)?;
        let Text::Literal(written) = self.text(pattern)? else {
            let remedy = r#"write it out as in `finding.id.matches("^CVE-2026-")`, or use `contains`"#;
            return Err(self.places.error(pattern, "the pattern of `matches` is not a string written out", remedy));
        };
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            let message = format!("the expression has more than {MAX_PATTERNS} patterns");
            let remedy = r#"join them as in `matches("^(CVE|GHSA)-")`, or use `contains`"#;
            return Err(self.places.error(pattern, message, remedy));
        }
        let compiled = self.compiled(pattern, &written)?;
        Ok(Value::Test(Test::Matches(text, Box::new(compiled))))
    }

    fn compiled(&self, part: &IdedExpr, written: &str) -> Result<Regex, Error> {
        let mut builder = RegexBuilder::new(written);
        let built = builder.size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN_CACHE).build();
        built.map_err(|error| {
            if let regex::Error::CompiledTooBig(_) = error {
                let message = format!("the pattern is more than {MAX_PATTERN} bytes when compiled");
                let remedy = "repeat less within it, write ASCII classes such as [0-9], or use `contains`";
                return self.places.error(part, message, remedy);
            }
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("the pattern {} cannot be used: {reason}", quoted(written));
            let remedy = "write it in the syntax of RE2, which has no look-around and no back-references";
            self.places.error(part, message, remedy)
        })
    }

    fn size(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Value, Error> {
        match (&call.target, call.args.as_slice()) {
            (Some(text), []) => Ok(Value::Int(Number::Read(Length(self.text(text)?)))),
            (None, [text]) => Ok(Value::Int(Number::Read(Length(self.text(text)?)))),
            _ => Err(self.misused(part, call)),
        }
    }

    /// The nanoseconds that the only argument spells.
    fn written(
        &mut self,
        part: &IdedExpr,
        call: &CallExpr,
        read: fn(&str) -> Result<i128, &'static str>,
    ) -> Result<i128, Error> {
        let (None, [argument]) = (&call.target, call.args.as_slice()) else {
            return Err(self.misused(part, call));
        };
        let Value::Text(Text::Literal(text)) = self.value(argument)? else {
            let message = format!("the argument of `{}` is not a string written out", call.func_name);
            return Err(self.places.error(argument, message, usage(&call.func_name)));
        };
        read(&text).map_err(|remedy| {
            self.places.error(argument, format!("{} is no {}", quoted(&text), call.func_name), remedy)
        })
    }

    fn misused(&self, part: &IdedExpr, call: &CallExpr) -> Error {
        self.places.error(part, format!("`{}` is called in another way", call.func_name), usage(&call.func_name))
    }

    fn unknown_function(&self, part: &IdedExpr, name: &str) -> Error {
        let all = format!("the functions are {}", FUNCTIONS.join(", "));
        let remedy = match name {
            "has" | "exists" | "all" => usage(name).to_owned(),
            "lowerAscii" | "upperAscii" => {
                r#"ignore case by a pattern, as in `finding.title.matches("(?i)overflow")`"#.to_owned()
            }
            "string" | "int" | "uint" | "double" | "bytes" | "bool" | "dyn" | "type" => {
                "values keep their type: write a literal of the type that is wanted".to_owned()
            }
            _ if name.starts_with("get") => {
                r#"compare times as a whole, as in `now - finding.published_at > duration("168h")`"#.to_owned()
            }
            _ => match nearest(name, FUNCTIONS) {
                Some(known) => format!("did you mean `{known}`? {all}"),
                None => all,
            },
        };
        self.places.error(part, format!("there is no function {}", quoted(name)), remedy)
    }
}

/// How a function is used rightly.
fn usage(name: &str) -> &'static str {
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
