//! Comparisons: which values may be compared with which, and what that is at evaluation.

use cel::IdedExpr;

use super::{
    Lowering,
    value::{Time, Value},
};
use crate::expression::{
    error::{Error, quoted},
    nearest::nearest,
    program::{
        Relation,
        test::Test,
        text::{Text, TextTest},
        time::Linear,
    },
    schema::{Field, LabelField},
};

impl Lowering<'_> {
    pub(super) fn comparison(
        &mut self,
        part: &IdedExpr,
        relation: Relation,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Test, Error> {
        let (left_value, right_value) = (self.value(left)?, self.value(right)?);
        match (left_value, right_value) {
            (Value::Label(field), Value::Text(Text::Literal(label))) => {
                self.labelled(part, right, field, relation, &label)
            }
            (Value::Text(Text::Literal(label)), Value::Label(field)) => {
                self.labelled(part, left, field, relation.flipped(), &label)
            }
            (left_value, right_value) => self.compared(part, relation, left_value, right_value),
        }
    }

    /// Two values, neither of which is one of a few labels.
    pub(super) fn compared(
        &self,
        part: &IdedExpr,
        relation: Relation,
        left: Value,
        right: Value,
    ) -> Result<Test, Error> {
        match Value::agreeing(left, right) {
            (Value::Test(left), Value::Test(right)) => self.same(part, relation, left, right),
            (Value::Int(left), Value::Int(right)) => Ok(Test::Lengths(relation, left, right)),
            (Value::Double(left), Value::Double(right)) => Ok(Test::scores(relation, left, right)),
            (Value::Text(left), Value::Text(right)) => Ok(Test::texts(TextTest::Compare(relation), left, right)),
            (Value::Timestamp(left), Value::Timestamp(right)) | (Value::Duration(left), Value::Duration(right)) => {
                self.times(part, relation, left, right)
            }
            (left, right) => {
                let message = format!("{} is compared with {}", left.kind(), right.kind());
                Err(self.places.error(part, message, remedy(&left, &right)))
            }
        }
    }

    fn same(&self, part: &IdedExpr, relation: Relation, left: Test, right: Test) -> Result<Test, Error> {
        let same = Test::Same(Box::new((left, right)));
        match relation {
            Relation::Equal => Ok(same),
            Relation::NotEqual => Ok(Test::Not(Box::new(same))),
            Relation::Less | Relation::LessOrEqual | Relation::Greater | Relation::GreaterOrEqual => {
                Err(self.places.error(part, "no condition is less than another", "join conditions by `&&` and `||`"))
            }
        }
    }

    /// A choice between two times becomes a choice between two comparisons.
    fn times(&self, part: &IdedExpr, relation: Relation, left: Time, right: Time) -> Result<Test, Error> {
        match (left, right) {
            (Time::Linear(left), Time::Linear(right)) => {
                let difference = left.minus(right).ok_or_else(|| {
                    let remedy = "write times and durations of less than 10,000 years, and fewer of them";
                    self.places.error(part, "this time is out of reach", remedy)
                })?;
                Ok(Test::Times(relation, difference))
            }
            (Time::Choose(parts), Time::Linear(right)) => self.chosen(part, relation, *parts, right),
            (Time::Linear(left), Time::Choose(parts)) => self.chosen(part, relation.flipped(), *parts, left),
            (Time::Choose(_), Time::Choose(_)) => Err(self.two_choices(part)),
        }
    }

    fn chosen(
        &self,
        part: &IdedExpr,
        relation: Relation,
        (test, met, otherwise): (Test, Time, Time),
        with: Linear,
    ) -> Result<Test, Error> {
        let met = self.times(part, relation, met, Time::Linear(with))?;
        let otherwise = self.times(part, relation, otherwise, Time::Linear(with))?;
        Ok(Test::Choose(Box::new((test, met, otherwise))))
    }

    fn labelled(
        &self,
        part: &IdedExpr,
        written: &IdedExpr,
        field: LabelField,
        relation: Relation,
        label: &str,
    ) -> Result<Test, Error> {
        if relation.is_order() && !field.is_ordered() {
            let message = format!("the labels of `finding.{}` have no order", Field::Label(field).name());
            return Err(self.places.error(part, message, "compare by `==`, `!=` or `in`"));
        }
        let chosen = self.label(written, field, label)?;
        let positions = (0_u8..).zip(field.labels());
        let mask = positions
            .filter(|(position, _)| relation.holds(position.cmp(&chosen)))
            .fold(0, |mask, (bit, _)| mask | 1 << bit);
        Ok(Test::Labelled(field, mask))
    }

    /// The position of a label among those of its field.
    pub(super) fn label(&self, written: &IdedExpr, field: LabelField, label: &str) -> Result<u8, Error> {
        let labels = field.labels();
        let position = (0_u8..).zip(labels).find(|(_, known)| **known == label).map(|(position, _)| position);
        position.ok_or_else(|| {
            let name = Field::Label(field).name();
            let all = labels.join(", ");
            let remedy = match nearest(label, labels.iter().copied()) {
                Some(known) => format!("did you mean \"{known}\"? The labels are {all}"),
                None => format!("the labels are {all}{}", elsewhere(field)),
            };
            self.places.error(written, format!("`finding.{name}` is never {}", quoted(label)), remedy)
        })
    }
}

/// Where else what is no label may be found.
fn elsewhere(field: LabelField) -> &'static str {
    match field {
        LabelField::Severity => {
            "; what ECR wrote is `finding.severity_label`, and `finding.rated` says whether it is one of these"
        }
        LabelField::Fix => "; a fix in part, or one that the scan does not rule out, is AVAILABLE",
        LabelField::Exploit => "; `has(finding.exploit)` says whether it is known which",
        LabelField::Status => "",
    }
}

fn remedy(left: &Value, right: &Value) -> String {
    match (left, right) {
        (Value::Label(_), Value::Label(_) | Value::Text(_)) => {
            format!("compare it with a label written out, as in `{}`", left.compared())
        }
        (Value::Timestamp(_), Value::Text(_)) | (Value::Text(_), Value::Timestamp(_)) => {
            r#"write a time as in `timestamp("2026-01-01T00:00:00Z")`"#.to_owned()
        }
        (Value::Duration(_), Value::Text(_) | Value::Int(_)) | (Value::Text(_) | Value::Int(_), Value::Duration(_)) => {
            r#"write a duration as in `duration("168h")`"#.to_owned()
        }
        (Value::Timestamp(_), Value::Duration(_)) | (Value::Duration(_), Value::Timestamp(_)) => {
            r#"subtract one time from another first, as in `now - finding.published_at > duration("168h")`"#.to_owned()
        }
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => {
            "take two ints or two doubles; a number written with a point, such as `2.0`, is a double".to_owned()
        }
        (Value::Text(Text::Literal(_)), other) | (other, _) => {
            format!("compare {} with its own type, as in `{}`", other.kind(), other.compared())
        }
    }
}
