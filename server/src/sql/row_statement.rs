//! Statements over many rows.

/// A statement over rows of input, which it names `input`. SQLite executes it once for each row, and PostgreSQL once, over arrays:
/// a network is between them. Each column of the input is a parameter; the parameters after them are the same for all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowStatement {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl RowStatement {
    /// Use [`row_statement`].
    pub(crate) const fn new(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    /// Creates a statement that is executed once, for one row without columns.
    pub(super) const fn without_input(sql: &'static str) -> Self {
        Self::new(sql, sql)
    }
}

/// Creates a [`RowStatement`] from the text before the input, the input's columns with the numbers of their parameters and their
/// types, and the text after the input.
macro_rules! row_statement {
    ($before:literal, ($first:literal $name:ident $type:ident $(, $number:literal $names:ident $types:ident)*), $after:literal) => {
        $crate::sql::RowStatement::new(
            concat!(
                $before, " (select $", $first, " as ", stringify!($name),
                $(", $", $number, " as ", stringify!($names),)*
                ") as input ", $after
            ),
            concat!(
                $before, " unnest($", $first, "::", stringify!($type), "[]",
                $(", $", $number, "::", stringify!($types), "[]",)*
                ") as input(", stringify!($name), $(", ", stringify!($names),)* ") ", $after
            ),
        )
    };
}
pub(crate) use row_statement;
