//! Lowers comparisons, and checks that the types of both sides agree.

use super::{
    Lowering,
    value::{Time, Value},
};
use crate::expression::{
    error::{Error, quote},
    fuzzy_match::closest_match,
    program::{
        Relation,
        time::Linear,
        tree::{Comparison, Condition, Text, TextOperator},
    },
    schema::{Field, LabelField},
    tree::Node,
};

impl Lowering<'_> {
    pub(super) fn comparison(
        &mut self,
        part: &Node<'_>,
        relation: Relation,
        left: &Node<'_>,
        right: &Node<'_>,
    ) -> Result<Value, Error> {
        let (left_value, right_value) = (self.value(left)?, self.value(right)?);
        let test = match (left_value, right_value) {
            (Value::Label(field), Value::Text(Text::Literal(label))) => {
                self.compare_label(part, right, field, relation, &label)
            }
            (Value::Text(Text::Literal(label)), Value::Label(field)) => {
                self.compare_label(part, left, field, relation.flipped(), &label)
            }
            (left_value, right_value) => self.compare(part, relation, left_value, right_value),
        };
        test.map(Value::Condition)
    }

    /// Compares two values that are not a label and its literal.
    pub(super) fn compare(
        &self,
        part: &Node<'_>,
        relation: Relation,
        left: Value,
        right: Value,
    ) -> Result<Condition, Error> {
        match Value::unify(left, right) {
            (Value::Condition(left), Value::Condition(right)) => self.compare_conditions(part, relation, left, right),
            (Value::Int(left), Value::Int(right)) => Ok(Condition::Counts(relation, left, right)),
            (Value::Double(left), Value::Double(right)) => Ok(Condition::compare_scores(relation, left, right)),
            (Value::Text(left), Value::Text(right)) => {
                Ok(Condition::compare_texts(TextOperator::Compare(relation), left, right))
            }
            (Value::Timestamp(left), Value::Timestamp(right)) | (Value::Duration(left), Value::Duration(right)) => {
                self.compare_times(part, relation, left, right)
            }
            (left, right) => {
                let message = format!("cannot compare {} with {}", left.type_name(), right.type_name());
                Err(self.error(part, message, hint(&left, &right)))
            }
        }
    }

    fn compare_conditions(
        &self,
        part: &Node<'_>,
        relation: Relation,
        left: Condition,
        right: Condition,
    ) -> Result<Condition, Error> {
        let same = Condition::Equivalent(Box::new((left, right)));
        match relation {
            Relation::Equal => Ok(same),
            Relation::NotEqual => Ok(Condition::Not(Box::new(same))),
            Relation::Less | Relation::LessOrEqual | Relation::Greater | Relation::GreaterOrEqual => {
                Err(self.error(part, "conditions have no order", "combine conditions with `&&` and `||`"))
            }
        }
    }

    /// Compares two times. A ternary of times becomes a ternary of comparisons.
    fn compare_times(&self, part: &Node<'_>, relation: Relation, left: Time, right: Time) -> Result<Condition, Error> {
        match (left, right) {
            (Time::Linear(left), Time::Linear(right)) => {
                let difference = left.minus(right).ok_or_else(|| {
                    let hint = "use times and durations of less than 10,000 years, and fewer of them";
                    self.error(part, "the time is out of range", hint)
                })?;
                Ok(Condition::Comparison(Comparison::Times(relation, difference)))
            }
            (Time::Choose(parts), Time::Linear(right)) => self.compare_choice(part, relation, *parts, right),
            (Time::Linear(left), Time::Choose(parts)) => self.compare_choice(part, relation.flipped(), *parts, left),
            (Time::Choose(_), Time::Choose(_)) => Err(self.two_choices(part)),
        }
    }

    fn compare_choice(
        &self,
        part: &Node<'_>,
        relation: Relation,
        (test, then, otherwise): (Condition, Time, Time),
        with: Linear,
    ) -> Result<Condition, Error> {
        let then = self.compare_times(part, relation, then, Time::Linear(with))?;
        let otherwise = self.compare_times(part, relation, otherwise, Time::Linear(with))?;
        Ok(Condition::Choose(Box::new((test, then, otherwise))))
    }

    fn compare_label(
        &self,
        part: &Node<'_>,
        literal: &Node<'_>,
        field: LabelField,
        relation: Relation,
        label: &str,
    ) -> Result<Condition, Error> {
        if relation.is_order() && !field.is_ordered() {
            let message = format!("the labels of `finding.{}` have no order", Field::Label(field).name());
            return Err(self.error(part, message, "compare with `==`, `!=` or `in`"));
        }
        let chosen = self.label_index(literal, field, label)?;
        let positions = (0_u8..).zip(field.labels());
        let mask = positions
            .filter(|(position, _)| relation.holds(position.cmp(&chosen)))
            .fold(0, |mask, (bit, _)| mask | 1 << bit);
        Ok(Condition::Comparison(Comparison::LabelIn(field, mask)))
    }

    /// Returns the index of a label among the labels of its field.
    pub(super) fn label_index(&self, literal: &Node<'_>, field: LabelField, label: &str) -> Result<u8, Error> {
        let labels = field.labels();
        let position = (0_u8..).zip(labels).find(|(_, known)| **known == label).map(|(position, _)| position);
        position.ok_or_else(|| {
            let name = Field::Label(field).name();
            let all = labels.join(", ");
            let hint = match closest_match(label, labels.iter().copied()) {
                Some(known) => format!("did you mean \"{known}\"? The labels are {all}"),
                None => format!("the labels are {all}{}", label_hint(field)),
            };
            self.error(literal, format!("{} is not a label of `finding.{name}`", quote(label)), hint)
        })
    }
}

/// Returns the alternative to a text that is not a label.
fn label_hint(field: LabelField) -> &'static str {
    match field {
        LabelField::Severity => {
            "; `finding.severity_label` is ECR's own label, and `finding.rated` is true for one of these"
        }
        LabelField::Fix => "; a partial fix, or one that the scan does not rule out, is AVAILABLE",
        LabelField::Exploit => "; `has(finding.exploit)` is true if the scan reports it",
        LabelField::Status => "",
    }
}

fn hint(left: &Value, right: &Value) -> String {
    match (left, right) {
        (Value::Label(_), Value::Label(_) | Value::Text(_)) => {
            format!("compare it with a literal label, as in `{}`", left.example())
        }
        (Value::Timestamp(_), Value::Text(_)) | (Value::Text(_), Value::Timestamp(_)) => {
            r#"write a time as in `timestamp("2026-01-01T00:00:00Z")`"#.to_owned()
        }
        (Value::Duration(_), Value::Text(_) | Value::Int(_)) | (Value::Text(_) | Value::Int(_), Value::Duration(_)) => {
            r#"write a duration as in `duration("168h")`"#.to_owned()
        }
        (Value::Timestamp(_), Value::Duration(_)) | (Value::Duration(_), Value::Timestamp(_)) => {
            r#"subtract one time from another first, as in `now - finding.publish_time > duration("168h")`"#.to_owned()
        }
        (Value::Condition(_), Value::Int(_) | Value::Double(_)) => {
            "relations cannot be chained; for a range write `finding.cvss > 4.0 && finding.cvss < 7.0`".to_owned()
        }
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => {
            "use two ints or two doubles; a number with a decimal point, such as `2.0`, is a double".to_owned()
        }
        (Value::Text(Text::Literal(_)), other) | (other, _) => {
            format!("compare {} with a value of the same type, as in `{}`", other.type_name(), other.example())
        }
    }
}
