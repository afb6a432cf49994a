//! Arithmetic of numbers, times and durations.

use cel::IdedExpr;

use super::{
    Lowering,
    value::{Time, Value},
};
use crate::expression::{
    error::Error,
    program::{
        number::{Number, Operation, Quantity},
        time::Linear,
    },
};

impl Lowering<'_> {
    pub(super) fn negation(&mut self, operand: &IdedExpr) -> Result<Value, Error> {
        match self.value(operand)? {
            Value::Int(number) => Ok(Value::Int(negated(number))),
            Value::Double(number) => Ok(Value::Double(negated(number))),
            other @ (Value::Test(_) | Value::Text(_) | Value::Label(_) | Value::Timestamp(_) | Value::Duration(_)) => {
                let message = format!("`-` takes a number, and this is {}", other.kind());
                Err(self.places.error(
                    operand,
                    message,
                    "for a condition write `!`, for a duration `duration(\"-1h\")`",
                ))
            }
        }
    }

    pub(super) fn arithmetic(
        &mut self,
        part: &IdedExpr,
        operation: Operation,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Value, Error> {
        let (left, right) = Value::agreeing(self.value(left)?, self.value(right)?);
        match (left, operation, right) {
            (Value::Int(left), _, Value::Int(right)) => self.computed(part, operation, left, right).map(Value::Int),
            (Value::Double(_), Operation::Remainder, Value::Double(_)) => {
                Err(self.places.error(part, "`%` takes whole numbers", "compare the score itself, or divide it"))
            }
            (Value::Double(left), _, Value::Double(right)) => {
                self.computed(part, operation, left, right).map(Value::Double)
            }
            (Value::Timestamp(left), Operation::Subtract, Value::Timestamp(right))
            | (Value::Duration(left), Operation::Subtract, Value::Duration(right)) => {
                self.combined(part, left, right, Linear::minus).map(Value::Duration)
            }
            (Value::Duration(left), Operation::Add, Value::Duration(right)) => {
                self.combined(part, left, right, Linear::plus).map(Value::Duration)
            }
            (Value::Timestamp(left), Operation::Add, Value::Duration(right))
            | (Value::Duration(left), Operation::Add, Value::Timestamp(right)) => {
                self.combined(part, left, right, Linear::plus).map(Value::Timestamp)
            }
            (Value::Timestamp(left), Operation::Subtract, Value::Duration(right)) => {
                self.combined(part, left, right, Linear::minus).map(Value::Timestamp)
            }
            (left, _, right) => {
                let message = format!("`{}` does not take {} and {}", sign(operation), left.kind(), right.kind());
                Err(self.places.error(part, message, remedy(&left, &right)))
            }
        }
    }

    fn computed<Q: Quantity<Value: Default>>(
        &self,
        part: &IdedExpr,
        operation: Operation,
        left: Number<Q>,
        right: Number<Q>,
    ) -> Result<Number<Q>, Error> {
        let divides = matches!(operation, Operation::Divide | Operation::Remainder);
        if divides && matches!(&right, Number::Literal(value) if *value == Q::Value::default()) {
            return Err(self.places.error(part, "this divides by zero", "divide by another number"));
        }
        Ok(Number::Compute(operation, Box::new((left, right))))
    }

    /// A sum over a choice of times is a choice of sums; two choices would make four, and so on, so one is what there may be.
    fn combined(&self, part: &IdedExpr, left: Time, right: Time, combine: Combine) -> Result<Time, Error> {
        match (left, right) {
            (Time::Linear(left), Time::Linear(right)) => combine(left, right).map(Time::Linear).ok_or_else(|| {
                let remedy = "write times and durations of less than 10,000 years, and fewer of them";
                self.places.error(part, "this time is out of reach", remedy)
            }),
            (Time::Choose(parts), Time::Linear(right)) => {
                let (test, met, otherwise) = *parts;
                let met = self.combined(part, met, Time::Linear(right), combine)?;
                let otherwise = self.combined(part, otherwise, Time::Linear(right), combine)?;
                Ok(Time::Choose(Box::new((test, met, otherwise))))
            }
            (Time::Linear(left), Time::Choose(parts)) => {
                let (test, met, otherwise) = *parts;
                let met = self.combined(part, Time::Linear(left), met, combine)?;
                let otherwise = self.combined(part, Time::Linear(left), otherwise, combine)?;
                Ok(Time::Choose(Box::new((test, met, otherwise))))
            }
            (Time::Choose(_), Time::Choose(_)) => Err(self.two_choices(part)),
        }
    }

    pub(super) fn two_choices(&self, part: &IdedExpr) -> Error {
        let remedy = "write one ternary over the whole comparison, with a comparison in each branch";
        self.places.error(part, "two times meet here that are both chosen by a ternary", remedy)
    }
}

type Combine = fn(Linear, Linear) -> Option<Linear>;

fn negated<Q: Quantity>(number: Number<Q>) -> Number<Q> {
    if let Number::Literal(value) = number {
        Number::Literal(Q::negate(value))
    } else {
        Number::Negate(Box::new(number))
    }
}

fn sign(operation: Operation) -> &'static str {
    match operation {
        Operation::Add => "+",
        Operation::Subtract => "-",
        Operation::Multiply => "*",
        Operation::Divide => "/",
        Operation::Remainder => "%",
    }
}

fn remedy(left: &Value, right: &Value) -> &'static str {
    match (left, right) {
        (Value::Text(_), Value::Text(_)) => {
            "strings are not put together here: use `startsWith`, `endsWith`, `contains` or `matches`"
        }
        (Value::Timestamp(_) | Value::Duration(_), _) | (_, Value::Timestamp(_) | Value::Duration(_)) => {
            "add a duration to a time, or subtract one time from another, as in `now - duration(\"24h\")`"
        }
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => {
            "take two ints or two doubles; a whole number written with a point, such as `2.0`, is a double"
        }
        _ => "compute with two ints, two doubles, or times and durations",
    }
}
