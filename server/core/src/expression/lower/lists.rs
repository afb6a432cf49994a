//! Lists, which are always written out: what is `in` them, and what holds for one or all of their elements.

use cel::{
    IdedExpr,
    common::ast::{ComprehensionExpr, Expr, LiteralValue},
};

use super::{
    Lowering,
    names::{FINDING, NOW},
    value::{Literal, Value},
};
use crate::expression::{
    error::{Error, quoted},
    program::{Relation, test::Test, text::Text},
};

const IN_LIST: &str = r#"write the list out, as in `finding.package.name in ["openssl", "zlib"]`"#;

impl Lowering<'_> {
    /// Whether a value is one of a list.
    pub(super) fn membership(&mut self, element: &IdedExpr, list: &IdedExpr) -> Result<Test, Error> {
        let elements = self.elements(list, IN_LIST)?;
        match self.value(element)? {
            Value::Label(field) => {
                let mut mask = 0;
                for (part, literal) in elements {
                    let Literal::Text(label) = literal else {
                        let value = Value::from(literal);
                        return Err(self.unlike(part, Value::Label(field).kind(), &value));
                    };
                    mask |= 1 << self.label(part, field, &label)?;
                }
                Ok(Test::Labelled(field, mask))
            }
            Value::Text(text) => {
                let texts = elements.into_iter().map(|(part, literal)| {
                    if let Literal::Text(text) = literal {
                        Ok(text)
                    } else {
                        Err(self.unlike(part, "a string", &literal.into()))
                    }
                });
                Ok(Test::OneOf(text, texts.collect::<Result<_, _>>()?))
            }
            Value::Test(_) | Value::Int(_) | Value::Double(_) | Value::Timestamp(_) | Value::Duration(_) => {
                self.one_of_several(element, elements)
            }
        }
    }

    /// Numbers, times and conditions are compared one by one.
    fn one_of_several(&mut self, element: &IdedExpr, several: Vec<(&IdedExpr, Literal)>) -> Result<Test, Error> {
        let tests = several.into_iter().map(|(part, literal)| {
            let value = self.value(element)?;
            self.compared(part, Relation::Equal, value, literal.into())
        });
        tests.collect::<Result<_, _>>().map(Test::any)
    }

    /// `exists` and `all`: their bodies once for each element.
    pub(super) fn quantifier(&mut self, part: &IdedExpr, quantifier: &ComprehensionExpr) -> Result<Value, Error> {
        let usage = r#"write it as in `["lib", "bin"].exists(x, finding.package.name.startsWith(x))`"#;
        let (combined, body): (fn(Vec<Test>) -> Test, _) =
            match (&quantifier.accu_init.expr, &quantifier.loop_step.expr) {
                (Expr::Literal(LiteralValue::Boolean(init)), Expr::Call(step)) => {
                    let combined = if **init { Test::all } else { Test::any };
                    (combined, step.args.get(1))
                }
                _ => (Test::any, None),
            };
        let Some(body) = body else {
            return Err(self.places.error(
                part,
                "of the macros over lists, only `exists` and `all` are supported",
                usage,
            ));
        };
        let variable = quantifier.iter_var.as_str();
        if variable == FINDING || variable == NOW {
            let message = format!("{} already has a meaning", quoted(variable));
            return Err(self.places.error(part, message, "give the variable another name, such as `x`"));
        }
        let mut tests = Vec::new();
        for (_, literal) in self.elements(&quantifier.iter_range, usage)? {
            self.bindings.push((variable.to_owned(), literal));
            let test = self.test(body);
            self.bindings.pop();
            tests.push(test?);
        }
        Ok(Value::Test(combined(tests)))
    }

    /// The elements of a list, each a literal.
    fn elements<'e>(&mut self, list: &'e IdedExpr, usage: &str) -> Result<Vec<(&'e IdedExpr, Literal)>, Error> {
        let Expr::List(written) = &list.expr else {
            let is_text = matches!(self.value(list), Ok(Value::Text(Text::Read(_))));
            let remedy =
                if is_text { "to look into a string, write `finding.title.contains(\"overflow\")`" } else { usage };
            return Err(self.places.error(list, "a list is wanted here", remedy));
        };
        if written.elements.is_empty() {
            return Err(self.places.error(list, "the list is empty, so that nothing is ever in it", usage));
        }
        let literals = written.elements.iter().map(|element| {
            let literal = self.value(element)?.into_literal();
            literal.map(|literal| (element, literal)).map_err(|other| {
                let message = format!("an element of a list is {} that is not written out", other.kind());
                self.places.error(element, message, "join comparisons by `||` instead")
            })
        });
        literals.collect()
    }

    fn unlike(&self, part: &IdedExpr, wanted: &str, found: &Value) -> Error {
        let message = format!("{wanted} is looked for, and this element is {}", found.kind());
        self.places.error(part, message, "list values of the type that is looked for")
    }
}
