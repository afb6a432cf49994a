//! The tree of an expression before its names and types are checked.

use super::program::{Relation, tree::Operation};

/// A part of an expression.
pub(super) struct Node<'a> {
    /// The offset of its first byte, without brackets around the part.
    pub(super) start: usize,
    /// The number of levels within the part, itself included.
    pub(super) height: usize,
    pub(super) kind: Kind<'a>,
}

pub(super) enum Kind<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Node<'a>>),
    Name(&'a str),
    Field(Box<Node<'a>>, &'a str),
    Call(Call<'a>),
    Not(Box<Node<'a>>),
    Negate(Box<Node<'a>>),
    Compute(Operation, Box<(Node<'a>, Node<'a>)>),
    Compare(Relation, Box<(Node<'a>, Node<'a>)>),
    In(Box<(Node<'a>, Node<'a>)>),
    /// Two or more conditions, joined by `&&`.
    All(Vec<Node<'a>>),
    /// Two or more conditions, joined by `||`.
    Any(Vec<Node<'a>>),
    Ternary(Box<(Node<'a>, Node<'a>, Node<'a>)>),
}

/// A function call, with the value before the dot as its target.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) target: Option<Box<Node<'a>>>,
    pub(super) arguments: Vec<Node<'a>>,
}

/// Returns the height of the highest part.
pub(super) fn height<'n, 'a: 'n>(parts: impl IntoIterator<Item = &'n Node<'a>>) -> usize {
    parts.into_iter().map(|part| part.height).max().unwrap_or_default()
}
