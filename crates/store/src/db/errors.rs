//! Database errors, sorted by whether waiting helps.
//!
//! The rule errs on the side of waiting: only what is surely about a value that we sent counts as *data*. Were an outage
//! taken for bad data, the settler would put good receipts aside; taken for an outage, bad data merely waits and is
//! seen in the log.

use sea_orm::sqlx::error::Error as SqlxError;
use sea_orm::{DbErr, RuntimeErr};

use crate::error::StoreError;

/// SQLite's primary result codes that are about a value: TOOBIG, CONSTRAINT, MISMATCH.
const SQLITE_DATA: [i32; 3] = [18, 19, 20];
/// SQLite's primary result codes after which a connection is not to be trusted with the next statement:
/// READONLY (also "moved"), IOERR, CORRUPT, CANTOPEN, NOTADB, and ERROR ("no such table": another file).
const SQLITE_BROKEN: [i32; 6] = [1, 8, 10, 11, 14, 26];
/// PostgreSQL's classes that are about a value: data exception, integrity constraint, too large.
const POSTGRES_DATA: [&str; 3] = ["22", "23", "54"];

/// What a caller needs to know of it.
pub(super) fn sorted(error: &DbErr) -> StoreError {
    let message = message(error);
    match database_error(error) {
        Some(database) if is_data(database) => StoreError::Data(message),
        Some(_) => StoreError::Away(message),
        None => match error {
            DbErr::Type(_) | DbErr::TryIntoErr { .. } | DbErr::Json(_) => StoreError::Data(message),
            _ => StoreError::Away(message),
        },
    }
}

/// Whether the connection should be opened anew.
pub(super) fn is_broken(error: &DbErr) -> bool {
    match database_error(error) {
        Some(database) => sqlite_code(database).is_some_and(|code| SQLITE_BROKEN.contains(&code)),
        None => matches!(error, DbErr::Conn(_)),
    }
}

/// Whether there is no connection at all.
pub(super) const fn is_unconnected(error: &DbErr) -> bool {
    matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_))
}

fn is_data(error: &dyn sea_orm::sqlx::error::DatabaseError) -> bool {
    if let Some(code) = sqlite_code(error) {
        return SQLITE_DATA.contains(&code);
    }
    error
        .code()
        .is_some_and(|code| POSTGRES_DATA.iter().any(|class| code.starts_with(class)))
}

/// The primary code; extended codes have it in their lowest byte.
fn sqlite_code(error: &dyn sea_orm::sqlx::error::DatabaseError) -> Option<i32> {
    error.try_downcast_ref::<sea_orm::sqlx::sqlite::SqliteError>()?;
    error.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

fn database_error(error: &DbErr) -> Option<&dyn sea_orm::sqlx::error::DatabaseError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(inner))
        | DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner)) => match &**inner {
            SqlxError::Database(database) => Some(&**database),
            _ => None,
        },
        _ => None,
    }
}

/// The innermost words: the layers above only repeat "error".
fn message(error: &DbErr) -> String {
    if let Some(database) = database_error(error) {
        return database.message().to_owned();
    }
    match error {
        DbErr::Conn(inner) | DbErr::Exec(inner) | DbErr::Query(inner) => inner.to_string(),
        DbErr::ConnectionAcquire(_) => "no connection could be had in time".to_owned(),
        other => other.to_string(),
    }
}
