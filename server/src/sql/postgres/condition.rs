//! The condition of a connection after an error, by its SQLSTATE.

use crate::sql::{Error, connection::Condition};

/// The classes of errors that end a statement and its transaction only: data, constraints, conflicts of transactions, and errors
/// that a trigger raises.
const STATEMENT_CLASSES: [&str; 4] = ["22", "23", "40", "P0"];
/// Like them: a lock that was not available in time, and a statement that was cancelled, for example by its timeout.
const STATEMENT_STATES: [&str; 2] = ["55P03", "57014"];
/// The classes of errors that end all connections: a broken connection, and a server that stops or starts.
const CONNECTION_CLASSES: [&str; 2] = ["08", "57P"];
/// Like them: the server became a standby (read only), and the schema that the connections have prepared statements for changed.
const CONNECTION_STATES: [&str; 2] = ["25006", "0A000"];

/// Returns the condition of a connection after an error of one of its statements.
pub(in crate::sql) fn condition_after(error: &Error) -> Condition {
    let source = match error {
        // The statement succeeded, and one of its values cannot be read.
        Error::Corrupt { .. } => return Condition::Whole,
        Error::Unavailable(source) => source,
    };
    match source.downcast_ref() {
        Some(sqlx::Error::Database(error)) => {
            error.code().map_or(Condition::Broken, |state| condition_of_state(&state))
        }
        Some(_) | None => Condition::Lost,
    }
}

fn condition_of_state(state: &str) -> Condition {
    let is_in = |classes: &[&str], states: &[&str]| {
        classes.iter().any(|class| state.starts_with(class)) || states.contains(&state)
    };
    if is_in(&CONNECTION_CLASSES, &CONNECTION_STATES) {
        Condition::Lost
    } else if is_in(&STATEMENT_CLASSES, &STATEMENT_STATES) {
        Condition::Whole
    } else {
        Condition::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_decides_about_the_connections() {
        let cases = [
            ("23505", Condition::Whole),
            ("22001", Condition::Whole),
            ("40001", Condition::Whole),
            ("P0001", Condition::Whole),
            ("55P03", Condition::Whole),
            ("57014", Condition::Whole),
            ("53100", Condition::Broken),
            ("25P03", Condition::Broken),
            ("42P01", Condition::Broken),
            ("XX000", Condition::Broken),
            ("08006", Condition::Lost),
            ("57P01", Condition::Lost),
            ("57P03", Condition::Lost),
            ("25006", Condition::Lost),
            ("0A000", Condition::Lost),
        ];

        for (state, expected) in cases {
            assert_eq!(condition_of_state(state), expected, "{state}");
        }
    }
}
