//! Sorts the errors of both databases by what can be done next.

use thiserror::Error;

use crate::StoreError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure, sorted by the next step.
#[derive(Debug)]
pub(crate) enum DatabaseFault {
    /// Not reachable, overloaded, or lost on the way.
    Unavailable(String, Option<Source>),
    /// Two transactions stood in each other's way, and this one was rolled back: doing it again helps.
    Contended(Source),
    /// Somebody holds a row for longer than we wait: trying again at once would only wait again.
    Locked(Source),
    Outdated(String),
    /// A value that the database does not store: the request with it, and only that, is refused.
    Value(Source),
    Refused(String, Option<Source>),
}

/// A database's own error. Its details are left out on purpose: they quote the values, and those may be a customer's.
#[derive(Debug, Error)]
#[error("{message} ({code})")]
struct ServerMessage {
    message: String,
    code: String,
}

impl DatabaseFault {
    pub(crate) fn at(self, address: &str) -> StoreError {
        let address = address.to_owned();
        match self {
            Self::Unavailable(what, source) => StoreError::Unavailable { address, what, source },
            Self::Locked(source) => {
                let what = "another session has locked a row".to_owned();
                StoreError::Unavailable { address, what, source: Some(source) }
            }
            Self::Contended(source) => {
                let what = "too many transactions change the same rows".to_owned();
                StoreError::Unavailable { address, what, source: Some(source) }
            }
            Self::Outdated(what) => StoreError::Outdated { address, what },
            Self::Value(source) => StoreError::Unkeepable { address, source },
            Self::Refused(what, source) => StoreError::Refused { address, what, source },
        }
    }

    /// Reads an error of PostgreSQL's.
    pub(crate) fn postgres(error: sqlx::Error) -> Self {
        let (message, code) = match error.as_database_error() {
            Some(error) => (error.message().to_owned(), error.code().unwrap_or_default().into_owned()),
            None => return Self::driver(error),
        };
        let source = Box::new(ServerMessage { message, code: format!("SQLSTATE {code}") });
        let class = code.get(..2).unwrap_or_default();
        match (class, code.as_str()) {
            ("40", _) => Self::Contended(source),
            (_, "55P03") => Self::Locked(source),
            ("22" | "23" | "54", _) => Self::Value(source),
            // Undefined table, column, function, schema; constraint names we count on.
            (_, "42P01" | "42703" | "42883" | "3F000" | "42P10") => {
                Self::Outdated(format!("{}; `payhook migrate` brings it there", source.message))
            }
            (_, "57014") => Self::Unavailable("the statement ran out of time".to_owned(), Some(source)),
            (_, "25006") => Self::Unavailable("the database is read-only".to_owned(), Some(source)),
            (_, "53100") => Self::Unavailable("the database's disk is full".to_owned(), Some(source)),
            // 0A000: a plan made before a migration. XX: its own trouble, nothing a value of ours could mend.
            ("08" | "25" | "53" | "55" | "57" | "58" | "XX", _) | (_, "0A000") => {
                Self::Unavailable("the database is temporarily unavailable".to_owned(), Some(source))
            }
            ("28", _) => Self::Refused("the database refused the login".to_owned(), Some(source)),
            _ => Self::Refused("the database rejected the statement".to_owned(), Some(source)),
        }
    }

    /// Reads an error of SQLite's.
    pub(crate) fn sqlite(error: sqlx::Error) -> Self {
        let (message, code) = match error.as_database_error() {
            Some(error) => (error.message().to_owned(), error.code().unwrap_or_default().into_owned()),
            None => return Self::driver(error),
        };
        let source = Box::new(ServerMessage { message, code: format!("SQLite code {code}") });
        // The low byte is the kind; the rest says more about it.
        match code.parse::<i32>().unwrap_or_default() & 0xff {
            // Too big, constraint, type mismatch.
            18..=20 => Self::Value(source),
            1 if source.message.starts_with("no such table") || source.message.contains("no such column") => {
                Self::Outdated(source.message)
            }
            8 => Self::Unavailable("the database is read-only".to_owned(), Some(source)),
            13 => Self::Unavailable("the database's disk is full".to_owned(), Some(source)),
            // Busy, locked, out of memory, interrupted, I/O error, cannot open, protocol of the WAL.
            5 | 6 | 7 | 9 | 10 | 14 | 15 => {
                Self::Unavailable("the database is temporarily unavailable".to_owned(), Some(source))
            }
            _ => Self::Refused("the database rejected the statement".to_owned(), Some(source)),
        }
    }

    /// Reads an error that did not come from the database itself.
    fn driver(error: sqlx::Error) -> Self {
        use sqlx::Error;
        let what = match &error {
            // The TLS library's words for a certificate of an unknown authority, for another host, or out of date.
            Error::Io(cause) if cause.to_string().contains("invalid peer certificate") => {
                let what = format!("its certificate is not trusted ({cause}); [store] ca_file names its authority");
                return Self::Unavailable(what, Some(Box::new(error)));
            }
            Error::Io(_) => "the connection failed",
            Error::Tls(_) => "TLS failed",
            Error::PoolTimedOut => "no connection became free in time",
            Error::PoolClosed => "it is closed",
            Error::WorkerCrashed | Error::Protocol(_) | Error::BeginFailed => "the connection broke",
            Error::Encode(_) | Error::InvalidArgument(_) => return Self::Value(Box::new(error)),
            Error::Decode(_) | Error::ColumnDecode { .. } => {
                return Self::Refused("this version cannot read a stored value".to_owned(), Some(Box::new(error)));
            }
            Error::ColumnNotFound(_) | Error::TypeNotFound { .. } => return Self::Outdated(error.to_string()),
            _ => return Self::Refused("the driver failed".to_owned(), Some(Box::new(error))),
        };
        Self::Unavailable(what.to_owned(), Some(Box::new(error)))
    }

    /// Reads the error of a failed migration; `read` reads the database's own.
    pub(crate) fn migration(error: sqlx::migrate::MigrateError, read: fn(sqlx::Error) -> Self) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match read(error) {
                // A table that is there already, or missing half-way: not for this program to guess.
                Self::Value(source) | Self::Contended(source) => {
                    Self::Refused("a migration failed".to_owned(), Some(source))
                }
                other => other,
            },
            other => Self::Outdated(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_be_stored_differs_from_a_store_that_refuses_us() {
        let out_of_range = || sqlx::Error::Encode("a time out of range".into());
        for error in [DatabaseFault::postgres(out_of_range()), DatabaseFault::sqlite(out_of_range())] {
            let error = error.at("the store");
            assert!(matches!(error, StoreError::Unkeepable { .. }) && !error.retryable(), "{error:?}");
        }
    }

    #[test]
    fn a_lost_connection_is_worth_trying_again_and_an_unreadable_row_is_not() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(DatabaseFault::postgres(lost).at("postgres://db/payhook").retryable());
        assert!(DatabaseFault::sqlite(sqlx::Error::PoolTimedOut).at("sqlite:payhook.db").retryable());
        let unreadable = sqlx::Error::Decode("`moved` is not an order state".into());
        assert!(!DatabaseFault::postgres(unreadable).at("postgres://db/payhook").retryable());
    }
}
