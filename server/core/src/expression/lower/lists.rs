//! Lowers `in`, `exists` and `all` over lists: literals, and the related ids of the finding.

use cel::{
    IdedExpr,
    common::ast::{ComprehensionExpr, Expr, LiteralValue},
};

use super::{
    Lowering,
    names::NOW,
    value::{Binding, Literal, Value},
};
use crate::expression::{
    error::{Error, quote},
    program::{
        Relation,
        tree::{Condition, Text},
    },
    schema::Variable,
};

const IN_LIST: &str = r#"write a literal list, as in `finding.package.name in ["openssl", "zlib"]`"#;

impl Lowering<'_> {
    /// Lowers `in`.
    pub(super) fn membership(&mut self, element: &IdedExpr, list: &IdedExpr) -> Result<Condition, Error> {
        if self.is_related_ids(list)? {
            return self.text(element).map(Condition::IsRelatedId);
        }
        let elements = self.elements(list, IN_LIST)?;
        match self.value(element)? {
            Value::Label(field) => {
                let mut mask = 0;
                for (part, literal) in elements {
                    let Literal::Text(label) = literal else {
                        let value = Value::from(literal);
                        return Err(self.wrong_element(part, Value::Label(field).type_name(), &value));
                    };
                    mask |= 1 << self.label_index(part, field, &label)?;
                }
                Ok(Condition::LabelIn(field, mask))
            }
            Value::Text(text) => {
                let texts = elements.into_iter().map(|(part, literal)| {
                    if let Literal::Text(text) = literal {
                        Ok(text)
                    } else {
                        Err(self.wrong_element(part, "a string", &literal.into()))
                    }
                });
                Ok(Condition::OneOf(text, texts.collect::<Result<_, _>>()?))
            }
            Value::RelatedIds => {
                let hint = r#"write the id before `in`, as in `"CVE-2026-1001" in finding.related_ids`"#;
                Err(self.source_map.error(element, "a list is no element of a list", hint))
            }
            Value::Condition(_) | Value::Int(_) | Value::Double(_) | Value::Timestamp(_) | Value::Duration(_) => {
                self.any_equal(element, elements)
            }
        }
    }

    /// Compares numbers, times and conditions with each element.
    fn any_equal(&mut self, element: &IdedExpr, several: Vec<(&IdedExpr, Literal)>) -> Result<Condition, Error> {
        let tests = several.into_iter().map(|(part, literal)| {
            let value = self.value(element)?;
            self.compare(part, Relation::Equal, value, literal.into())
        });
        tests.collect::<Result<_, _>>().map(Condition::any)
    }

    /// Lowers `exists` and `all`: their bodies once for each element.
    pub(super) fn quantifier(&mut self, part: &IdedExpr, quantifier: &ComprehensionExpr) -> Result<Value, Error> {
        let usage = r#"write it as in `["lib", "bin"].exists(x, finding.package.name.startsWith(x))`"#;
        let (is_all, body) = match (&quantifier.accu_init.expr, &quantifier.loop_step.expr) {
            (Expr::Literal(LiteralValue::Boolean(init)), Expr::Call(step)) => (**init, step.args.get(1)),
            _ => (false, None),
        };
        let Some(body) = body else {
            return Err(self.source_map.error(
                part,
                "of the list macros, only `exists` and `all` are supported",
                usage,
            ));
        };
        let variable = quantifier.iter_var.as_str();
        if variable == NOW || Variable::from_name(variable).is_some() {
            let message = format!("{} is a reserved name", quote(variable));
            return Err(self.source_map.error(part, message, "give the variable another name, such as `x`"));
        }
        if self.is_related_ids(&quantifier.iter_range)? {
            let test = self.related_id_test(part, variable, body)?;
            return Ok(Value::Condition(if is_all {
                Condition::EveryRelatedId(test)
            } else {
                Condition::AnyRelatedId(test)
            }));
        }
        let mut tests = Vec::new();
        for (_, literal) in self.elements(&quantifier.iter_range, usage)? {
            tests.push(self.bound(variable, Binding::Literal(literal), body)?);
        }
        Ok(Value::Condition(if is_all { Condition::all(tests) } else { Condition::any(tests) }))
    }

    /// Lowers the body of `exists` or `all` over the related ids: once, for each id at the evaluation.
    fn related_id_test(&mut self, part: &IdedExpr, variable: &str, body: &IdedExpr) -> Result<Box<Condition>, Error> {
        if self.bindings.iter().any(|(_, bound)| matches!(bound, Binding::RelatedId)) {
            let hint = "write two conditions, each over `finding.related_ids`";
            return Err(self.source_map.error(
                part,
                "the related ids are already visited by the enclosing macro",
                hint,
            ));
        }
        self.bound(variable, Binding::RelatedId, body).map(Box::new)
    }

    fn bound(&mut self, variable: &str, binding: Binding, body: &IdedExpr) -> Result<Condition, Error> {
        self.bindings.push((variable.to_owned(), binding));
        let test = self.condition(body);
        self.bindings.pop();
        test
    }

    /// True if a part is the list of related ids.
    fn is_related_ids(&mut self, part: &IdedExpr) -> Result<bool, Error> {
        let is_field = matches!(&part.expr, Expr::Select(select) if !select.test);
        Ok(is_field && matches!(self.value(part)?, Value::RelatedIds))
    }

    /// Returns the elements of a list, each of which must be a literal.
    fn elements<'e>(&mut self, list: &'e IdedExpr, usage: &str) -> Result<Vec<(&'e IdedExpr, Literal)>, Error> {
        let Expr::List(literal) = &list.expr else {
            let is_text = matches!(self.value(list), Ok(Value::Text(Text::Field(_))));
            let hint = if is_text { "to search a string, write `finding.title.contains(\"overflow\")`" } else { usage };
            return Err(self.source_map.error(list, "expected a list", hint));
        };
        if literal.elements.is_empty() {
            return Err(self.source_map.error(list, "the list is empty, so no value is in it", usage));
        }
        let literals = literal.elements.iter().map(|element| {
            let literal = self.value(element)?.into_literal();
            literal.map(|literal| (element, literal)).map_err(|_| {
                let hint = "combine comparisons with `||` instead";
                self.source_map.error(element, "a list element must be a literal", hint)
            })
        });
        literals.collect()
    }

    fn wrong_element(&self, part: &IdedExpr, expected: &str, found: &Value) -> Error {
        let message = format!("expected {expected} as an element, found {}", found.type_name());
        self.source_map.error(part, message, "list values of the same type")
    }
}
