//! Lowers calls by their operator, and logical operators. See also [`super::arithmetic`] and [`super::compare`].

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
        tree::{Condition, Number, Operation, Text},
    },
};

impl Lowering<'_> {
    pub(super) fn call(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Value, Error> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => self.all(left, right).map(Value::Condition),
            (operators::LOGICAL_OR, [left, right]) => self.any(left, right).map(Value::Condition),
            (operators::LOGICAL_NOT, [test]) => Ok(Value::Condition(Condition::Not(Box::new(self.condition(test)?)))),
            (operators::CONDITIONAL, [test, then, otherwise]) => self.ternary(part, test, then, otherwise),
            (operators::NEGATE, [number]) => self.negation(number),
            (operators::IN, [element, list]) => self.membership(element, list).map(Value::Condition),
            (operators::INDEX, _) => Err(self.source_map.error(
                part,
                "fields cannot be accessed with brackets",
                "write `finding.package.name`",
            )),
            (name, [left, right]) => match (relation(name), operation(name)) {
                (Some(relation), _) => self.comparison(part, relation, left, right).map(Value::Condition),
                (_, Some(operation)) => self.arithmetic(part, operation, left, right),
                (None, None) => self.function(part, call),
            },
            _ => self.function(part, call),
        }
    }

    /// Flattens a long conjunction into one list, so that its evaluation needs no deeper stack.
    fn all(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Condition, Error> {
        let mut tests = Vec::new();
        for side in [left, right] {
            let test = self.condition(side)?;
            if let Condition::All(inner) = test {
                tests.extend(inner);
            } else {
                tests.push(test);
            }
        }
        Ok(Condition::all(tests))
    }

    fn any(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Condition, Error> {
        let mut tests = Vec::new();
        for side in [left, right] {
            let test = self.condition(side)?;
            if let Condition::Any(inner) = test {
                tests.extend(inner);
            } else {
                tests.push(test);
            }
        }
        Ok(Condition::any(tests))
    }

    fn ternary(
        &mut self,
        part: &IdedExpr,
        test: &IdedExpr,
        then: &IdedExpr,
        otherwise: &IdedExpr,
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
            (then, otherwise) => Err(self.source_map.error(
                part,
                format!("the branches of a ternary differ in type: {} and {}", then.type_name(), otherwise.type_name()),
                "give both branches the same type, and compare labels inside the branches",
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
