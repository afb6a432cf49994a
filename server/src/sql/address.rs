//! Where a store is: a file, or a database server whose address may hold a password and is never shown.

use std::{fmt, path::PathBuf, str::FromStr};

/// What begins a list of connection parameters, or is part of one.
const PARAMETERS: [&str; 5] = ["host=", "dbname=", "user=", "password=", "service="];

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server, by URL.
    Postgres(String),
    /// Something else. What it says is not kept: it may hold a password all the same.
    Unknown,
}

impl Address {
    /// Takes `postgres://…` for a server, and what is no URL for a file.
    pub fn parse(given: &str) -> Self {
        match given.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Self::Postgres(given.to_owned()),
            Some(_) => Self::Unknown,
            // What libpq takes, too, and nobody calls a file.
            None if PARAMETERS.iter().any(|parameter| given.contains(parameter)) => Self::Unknown,
            None => Self::File(PathBuf::from(given)),
        }
    }
}

impl FromStr for Address {
    type Err = std::convert::Infallible;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse(given))
    }
}

impl fmt::Display for Address {
    /// The file's path; of a server only that it is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(_) => f.write_str("the PostgreSQL server"),
            Self::Unknown => f.write_str("an unknown kind of store"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
