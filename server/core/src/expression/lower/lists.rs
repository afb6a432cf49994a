//! Lowers `in`, `exists` and `all` over lists: literals, and the related ids of the finding.

use super::{
    Lowering,
    functions::usage,
    names::NOW,
    value::{Binding, Literal, Value},
};
use crate::expression::{
    error::{Error, quote},
    program::{
        Relation,
        tree::{Comparison, Condition, Text},
    },
    schema::Variable,
    tree::{Call, Kind, Node},
};

const IN_LIST: &str = r#"write a literal list, as in `finding.package.name in ["openssl", "zlib"]`"#;

impl Lowering<'_> {
    /// Lowers `in`.
    pub(super) fn membership(&mut self, element: &Node<'_>, list: &Node<'_>) -> Result<Condition, Error> {
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
                Ok(Condition::Comparison(Comparison::LabelIn(field, mask)))
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
                Err(self.error(element, "a list is no element of a list", hint))
            }
            Value::Condition(_) | Value::Int(_) | Value::Double(_) | Value::Timestamp(_) | Value::Duration(_) => {
                self.any_equal(element, elements)
            }
        }
    }

    /// Compares numbers, times and conditions with each element.
    fn any_equal(&mut self, element: &Node<'_>, several: Vec<(&Node<'_>, Literal)>) -> Result<Condition, Error> {
        let tests = several.into_iter().map(|(part, literal)| {
            let value = self.value(element)?;
            self.compare(part, Relation::Equal, value, literal.into())
        });
        tests.collect::<Result<_, _>>().map(Condition::any)
    }

    /// Lowers `exists` and `all`: their bodies once for each element.
    pub(super) fn quantifier(&mut self, part: &Node<'_>, call: &Call<'_>) -> Result<Value, Error> {
        let (Some(list), [name, body]) = (&call.target, call.arguments.as_slice()) else {
            return Err(self.misuse(part, call));
        };
        let Kind::Name(variable) = name.kind else {
            return Err(self.error(name, "the first argument must be a simple name", usage(call.name)));
        };
        let is_all = call.name == "all";
        if variable == NOW || Variable::from_name(variable).is_some() {
            let message = format!("{} is a reserved name", quote(variable));
            return Err(self.error(name, message, "give the variable another name, such as `x`"));
        }
        if self.is_related_ids(list)? {
            let test = self.related_id_test(part, variable, body)?;
            return Ok(Value::Condition(if is_all {
                Condition::EveryRelatedId(test)
            } else {
                Condition::AnyRelatedId(test)
            }));
        }
        let mut tests = Vec::new();
        for (_, literal) in self.elements(list, usage(call.name))? {
            tests.push(self.bound(variable, Binding::Literal(literal), body)?);
        }
        Ok(Value::Condition(if is_all { Condition::all(tests) } else { Condition::any(tests) }))
    }

    /// Lowers the body of `exists` or `all` over the related ids: once, for each id at the evaluation.
    fn related_id_test(&mut self, part: &Node<'_>, variable: &str, body: &Node<'_>) -> Result<Box<Condition>, Error> {
        if self.bindings.iter().any(|(_, bound)| matches!(bound, Binding::RelatedId)) {
            let hint = "write two conditions, each over `finding.related_ids`";
            return Err(self.error(part, "the related ids are already visited by the enclosing macro", hint));
        }
        self.bound(variable, Binding::RelatedId, body).map(Box::new)
    }

    fn bound(&mut self, variable: &str, binding: Binding, body: &Node<'_>) -> Result<Condition, Error> {
        self.bindings.push((variable.to_owned(), binding));
        let test = self.condition(body);
        self.bindings.pop();
        test
    }

    /// True if a part is the list of related ids.
    fn is_related_ids(&mut self, part: &Node<'_>) -> Result<bool, Error> {
        Ok(matches!(part.kind, Kind::Field(..)) && matches!(self.value(part)?, Value::RelatedIds))
    }

    /// Returns the elements of a list, each of which must be a literal.
    fn elements<'e>(&mut self, list: &'e Node<'e>, usage: &str) -> Result<Vec<(&'e Node<'e>, Literal)>, Error> {
        let Kind::List(elements) = &list.kind else {
            let is_text = matches!(self.value(list), Ok(Value::Text(Text::Field(_))));
            let hint = if is_text { "to search a string, write `finding.title.contains(\"overflow\")`" } else { usage };
            return Err(self.error(list, "expected a list", hint));
        };
        if elements.is_empty() {
            return Err(self.error(list, "the list is empty, so no value is in it", usage));
        }
        let literals = elements.iter().map(|element| {
            let literal = self.value(element)?.into_literal();
            literal.map(|literal| (element, literal)).map_err(|_| {
                let hint = "combine comparisons with `||` instead";
                self.error(element, "a list element must be a literal", hint)
            })
        });
        literals.collect()
    }

    fn wrong_element(&self, part: &Node<'_>, expected: &str, found: &Value) -> Error {
        let message = format!("expected {expected} as an element, found {}", found.type_name());
        self.error(part, message, "list values of the same type")
    }
}
