//! The address of a store: a file path or a PostgreSQL URL. A URL may hold a password, so it is never displayed.

use std::{fmt, path::PathBuf, str::FromStr};

/// Marks of a libpq parameter list, which this server does not support and which may hold a password.
const PARAMETERS: [&str; 5] = ["host=", "dbname=", "user=", "password=", "service="];

/// The address of a store.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server, by URL.
    Postgres(String),
    /// An unsupported address. Its text is dropped: it may hold a password.
    Unknown,
}

impl Address {
    /// Parses `postgres://…` as a server, and text without a scheme as a file path.
    pub fn parse(text: &str) -> Self {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Self::Postgres(text.to_owned()),
            Some(_) => Self::Unknown,
            None if PARAMETERS.iter().any(|parameter| text.contains(parameter)) => Self::Unknown,
            None => Self::File(PathBuf::from(text)),
        }
    }
}

impl FromStr for Address {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse(text))
    }
}

impl fmt::Display for Address {
    /// Writes the path of a file, but no part of a server's URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(_) => f.write_str("the PostgreSQL server"),
            Self::Unknown => f.write_str("an unsupported store address"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
