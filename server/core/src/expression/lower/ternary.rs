//! Lowers ternaries.

use super::{
    Lowering,
    value::{Time, Value},
};
use crate::expression::{
    error::Error,
    program::tree::{Condition, Number, Text},
    tree::Node,
};

impl Lowering<'_> {
    pub(super) fn ternary(
        &mut self,
        part: &Node<'_>,
        test: &Node<'_>,
        then: &Node<'_>,
        otherwise: &Node<'_>,
    ) -> Result<Value, Error> {
        let test = self.condition(test)?;
        let branches = Value::unify(self.value(then)?, self.value(otherwise)?);
        match branches {
            (Value::Condition(then), Value::Condition(otherwise)) => {
                Ok(Value::Condition(Condition::Choose(Box::new((test, then, otherwise)))))
            }
            (Value::Int(then), Value::Int(otherwise)) => {
                Ok(Value::Int(Number::Choose(Box::new((test, then, otherwise)))))
            }
            (Value::Double(then), Value::Double(otherwise)) => {
                Ok(Value::Double(Number::Choose(Box::new((test, then, otherwise)))))
            }
            (Value::Text(then), Value::Text(otherwise)) => {
                Ok(Value::Text(Text::Choose(Box::new((test, then, otherwise)))))
            }
            (Value::Timestamp(then), Value::Timestamp(otherwise)) => {
                Ok(Value::Timestamp(Time::Choose(Box::new((test, then, otherwise)))))
            }
            (Value::Duration(then), Value::Duration(otherwise)) => {
                Ok(Value::Duration(Time::Choose(Box::new((test, then, otherwise)))))
            }
            (then, otherwise) => Err(self.error(
                part,
                format!("the branches of a ternary differ in type: {} and {}", then.type_name(), otherwise.type_name()),
                "give both branches the same type, and compare labels inside the branches",
            )),
        }
    }
}
