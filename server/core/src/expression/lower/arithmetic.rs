//! Lowers arithmetic on numbers, times and durations.

use super::{
    Lowering,
    value::{Time, Value},
};
use crate::expression::{
    error::Error,
    program::{
        time::Linear,
        tree::{Number, Operation, Quantity},
    },
    tree::Node,
};

impl Lowering<'_> {
    pub(super) fn negation(&mut self, operand: &Node<'_>) -> Result<Value, Error> {
        match self.value(operand)? {
            Value::Int(number) => Ok(Value::Int(negate(number))),
            Value::Double(number) => Ok(Value::Double(negate(number))),
            other @ (Value::Condition(_)
            | Value::Text(_)
            | Value::Label(_)
            | Value::RelatedIds
            | Value::Timestamp(_)
            | Value::Duration(_)) => {
                let message = format!("`-` needs a number, found {}", other.type_name());
                Err(self.error(operand, message, "for a condition write `!`, for a duration `duration(\"-1h\")`"))
            }
        }
    }

    pub(super) fn arithmetic(
        &mut self,
        part: &Node<'_>,
        operation: Operation,
        left: &Node<'_>,
        right: &Node<'_>,
    ) -> Result<Value, Error> {
        let (left, right) = Value::unify(self.value(left)?, self.value(right)?);
        match (left, operation, right) {
            (Value::Int(left), _, Value::Int(right)) => self.compute(part, operation, left, right).map(Value::Int),
            (Value::Double(_), Operation::Remainder, Value::Double(_)) => {
                Err(self.error(part, "`%` needs whole numbers", "compare the score itself, or divide it"))
            }
            (Value::Double(left), _, Value::Double(right)) => {
                self.compute(part, operation, left, right).map(Value::Double)
            }
            (Value::Timestamp(left), Operation::Subtract, Value::Timestamp(right))
            | (Value::Duration(left), Operation::Subtract, Value::Duration(right)) => {
                self.combine(part, left, right, Linear::minus).map(Value::Duration)
            }
            (Value::Duration(left), Operation::Add, Value::Duration(right)) => {
                self.combine(part, left, right, Linear::plus).map(Value::Duration)
            }
            (Value::Timestamp(left), Operation::Add, Value::Duration(right))
            | (Value::Duration(left), Operation::Add, Value::Timestamp(right)) => {
                self.combine(part, left, right, Linear::plus).map(Value::Timestamp)
            }
            (Value::Timestamp(left), Operation::Subtract, Value::Duration(right)) => {
                self.combine(part, left, right, Linear::minus).map(Value::Timestamp)
            }
            (left, _, right) => {
                let message = format!(
                    "`{}` cannot be applied to {} and {}",
                    symbol(operation),
                    left.type_name(),
                    right.type_name()
                );
                Err(self.error(part, message, hint(&left, &right)))
            }
        }
    }

    fn compute<Q: Quantity<Value: Default>>(
        &self,
        part: &Node<'_>,
        operation: Operation,
        left: Number<Q>,
        right: Number<Q>,
    ) -> Result<Number<Q>, Error> {
        let divides = matches!(operation, Operation::Divide | Operation::Remainder);
        if divides && matches!(&right, Number::Literal(value) if *value == Q::Value::default()) {
            return Err(self.error(part, "division by zero", "divide by another number"));
        }
        Ok(Number::Compute(operation, Box::new((left, right))))
    }

    /// Combines two times. A sum with a ternary becomes a ternary of sums. Two ternaries would multiply, so only one is
    /// allowed.
    fn combine(&self, part: &Node<'_>, left: Time, right: Time, combine: Combine) -> Result<Time, Error> {
        match (left, right) {
            (Time::Linear(left), Time::Linear(right)) => combine(left, right).map(Time::Linear).ok_or_else(|| {
                let hint = "use times and durations of less than 10,000 years, and fewer of them";
                self.error(part, "the time is out of range", hint)
            }),
            (Time::Choose(parts), Time::Linear(right)) => {
                let (test, then, otherwise) = *parts;
                let then = self.combine(part, then, Time::Linear(right), combine)?;
                let otherwise = self.combine(part, otherwise, Time::Linear(right), combine)?;
                Ok(Time::Choose(Box::new((test, then, otherwise))))
            }
            (Time::Linear(left), Time::Choose(parts)) => {
                let (test, then, otherwise) = *parts;
                let then = self.combine(part, Time::Linear(left), then, combine)?;
                let otherwise = self.combine(part, Time::Linear(left), otherwise, combine)?;
                Ok(Time::Choose(Box::new((test, then, otherwise))))
            }
            (Time::Choose(_), Time::Choose(_)) => Err(self.two_choices(part)),
        }
    }

    pub(super) fn two_choices(&self, part: &Node<'_>) -> Error {
        let hint = "write one ternary over the whole comparison, with a comparison in each branch";
        self.error(part, "both times depend on a ternary", hint)
    }
}

type Combine = fn(Linear, Linear) -> Option<Linear>;

fn negate<Q: Quantity>(number: Number<Q>) -> Number<Q> {
    if let Number::Literal(value) = number {
        Number::Literal(Q::negate(value))
    } else {
        Number::Negate(Box::new(number))
    }
}

fn symbol(operation: Operation) -> &'static str {
    match operation {
        Operation::Add => "+",
        Operation::Subtract => "-",
        Operation::Multiply => "*",
        Operation::Divide => "/",
        Operation::Remainder => "%",
    }
}

fn hint(left: &Value, right: &Value) -> &'static str {
    match (left, right) {
        (Value::Text(_), Value::Text(_)) => {
            "strings cannot be concatenated; use `startsWith`, `endsWith`, `contains` or `matches`"
        }
        (Value::Timestamp(_) | Value::Duration(_), _) | (_, Value::Timestamp(_) | Value::Duration(_)) => {
            "add a duration to a time, or subtract one time from another, as in `now - duration(\"24h\")`"
        }
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => {
            "use two ints or two doubles; a number with a decimal point, such as `2.0`, is a double"
        }
        _ => "use two ints, two doubles, or times and durations",
    }
}
