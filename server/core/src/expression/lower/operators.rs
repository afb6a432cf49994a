//! Operators by name, and those of logic. Leaves numbers and times to [`super::arithmetic`], relations to [`super::compare`].

use cel::{
    IdedExpr,
    common::ast::{CallExpr, operators},
};

use super::{
    Lowering,
    value::{Time, Value},
};
use crate::expression::{
    error::Error,
    program::{
        Relation,
        number::{Number, Operation},
        test::Test,
        text::Text,
    },
};

impl Lowering<'_> {
    pub(super) fn call(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Value, Error> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => self.all(left, right).map(Value::Test),
            (operators::LOGICAL_OR, [left, right]) => self.any(left, right).map(Value::Test),
            (operators::LOGICAL_NOT, [test]) => Ok(Value::Test(Test::Not(Box::new(self.test(test)?)))),
            (operators::CONDITIONAL, [test, met, otherwise]) => self.ternary(part, test, met, otherwise),
            (operators::NEGATE, [number]) => self.negation(number),
            (operators::IN, [element, list]) => self.membership(element, list).map(Value::Test),
            (operators::INDEX, _) => {
                Err(self.places.error(part, "nothing is looked up in brackets", "write `finding.package.name`"))
            }
            (name, [left, right]) => match (relation(name), operation(name)) {
                (Some(relation), _) => self.comparison(part, relation, left, right).map(Value::Test),
                (_, Some(operation)) => self.arithmetic(part, operation, left, right),
                (None, None) => self.function(part, call),
            },
            _ => self.function(part, call),
        }
    }

    /// Long conjunctions become one list, so that evaluating them needs no deeper stack.
    fn all(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Test, Error> {
        let mut tests = Vec::new();
        for side in [left, right] {
            let test = self.test(side)?;
            if let Test::All(inner) = test {
                tests.extend(inner);
            } else {
                tests.push(test);
            }
        }
        Ok(Test::all(tests))
    }

    fn any(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Test, Error> {
        let mut tests = Vec::new();
        for side in [left, right] {
            let test = self.test(side)?;
            if let Test::Any(inner) = test {
                tests.extend(inner);
            } else {
                tests.push(test);
            }
        }
        Ok(Test::any(tests))
    }

    fn ternary(
        &mut self,
        part: &IdedExpr,
        test: &IdedExpr,
        met: &IdedExpr,
        otherwise: &IdedExpr,
    ) -> Result<Value, Error> {
        let test = self.test(test)?;
        let branches = Value::agreeing(self.value(met)?, self.value(otherwise)?);
        match branches {
            (Value::Test(met), Value::Test(otherwise)) => {
                Ok(Value::Test(Test::Choose(Box::new((test, met, otherwise)))))
            }
            (Value::Int(met), Value::Int(otherwise)) => {
                Ok(Value::Int(Number::Choose(Box::new((test, met, otherwise)))))
            }
            (Value::Double(met), Value::Double(otherwise)) => {
                Ok(Value::Double(Number::Choose(Box::new((test, met, otherwise)))))
            }
            (Value::Text(met), Value::Text(otherwise)) => {
                Ok(Value::Text(Text::Choose(Box::new((test, met, otherwise)))))
            }
            (Value::Timestamp(met), Value::Timestamp(otherwise)) => {
                Ok(Value::Timestamp(Time::Choose(Box::new((test, met, otherwise)))))
            }
            (Value::Duration(met), Value::Duration(otherwise)) => {
                Ok(Value::Duration(Time::Choose(Box::new((test, met, otherwise)))))
            }
            (met, otherwise) => Err(self.places.error(
                part,
                format!("a ternary has {} and {} as its branches", met.kind(), otherwise.kind()),
                "give both branches one type, and compare labels inside the branches",
            )),
        }
    }
}

fn relation(name: &str) -> Option<Relation> {
    Some(match name {
        operators::EQUALS => Relation::Equal,
        operators::NOT_EQUALS => Relation::NotEqual,
        operators::LESS => Relation::Less,
        operators::LESS_EQUALS => Relation::LessOrEqual,
        operators::GREATER => Relation::Greater,
        operators::GREATER_EQUALS => Relation::GreaterOrEqual,
        _ => return None,
    })
}

fn operation(name: &str) -> Option<Operation> {
    Some(match name {
        operators::ADD => Operation::Add,
        operators::SUBSTRACT => Operation::Subtract,
        operators::MULTIPLY => Operation::Multiply,
        operators::DIVIDE => Operation::Divide,
        operators::MODULO => Operation::Remainder,
        _ => return None,
    })
}
