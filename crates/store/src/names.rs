//! Names of resources: who made them, and when two are the same.
//!
//! Names are compared in lower case, worked out here and stored beside the name, because `lower()` means ASCII in
//! SQLite and a locale in PostgreSQL.

use domain::snapshot;

use crate::error::{Kind, Result, StoreError};
use crate::limits::NAME_CHARS_MAX;

/// Who made a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The configuration file: read-only everywhere else.
    File,
    /// The command line.
    Cli,
    /// The admin API or the dashboard.
    Api,
}

impl Origin {
    /// The word in the database and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Cli => "cli",
            Self::Api => "api",
        }
    }

    /// In words, for messages.
    pub(crate) const fn described(self) -> &'static str {
        match self {
            Self::File => "declared in the configuration file",
            Self::Cli => "made on the command line",
            Self::Api => "made by the API",
        }
    }

    /// Refuses a change of what belongs to the configuration file.
    pub(crate) fn check_editable(self, kind: Kind, name: &str) -> Result<()> {
        if self == Self::File {
            let name = name.to_owned();
            return Err(StoreError::OwnedByFile { kind, name });
        }
        Ok(())
    }

    /// An unknown word is taken for the least trusted origin.
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "file" => Self::File,
            "cli" => Self::Cli,
            _ => Self::Api,
        }
    }
}

impl From<Origin> for snapshot::Origin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::File | Origin::Cli => Self::Operator,
            Origin::Api => Self::Remote,
        }
    }
}

/// What makes two names the same.
pub(crate) fn name_key(name: &str) -> String {
    name.to_lowercase()
}

/// Refuses a name that could not be shown or typed.
pub(crate) fn check_name(kind: Kind, name: &str) -> Result<()> {
    let bad = |what: &str| {
        Err(StoreError::Invalid(format!(
            "{kind} name `{}` {what}",
            name.escape_debug()
        )))
    };
    if name.is_empty() || name.trim() != name {
        return bad("is empty or has spaces at its ends; choose another");
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return bad("is longer than 200 characters; choose a shorter one");
    }
    if name.chars().any(char::is_control) {
        return bad("has control characters; choose another");
    }
    if kind == Kind::Upstream && name.contains('/') {
        return bad("has a `/`, which separates upstream and model in requests; choose another");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_typed_are_refused() {
        assert!(check_name(Kind::User, "alice").is_ok());
        assert!(check_name(Kind::Model, "vendor/model").is_ok());
        for (kind, name) in [
            (Kind::User, ""),
            (Kind::User, " alice"),
            (Kind::User, "a\nb"),
            (Kind::Upstream, "a/b"),
            (Kind::Key, &"x".repeat(201)),
        ] {
            assert!(check_name(kind, name).is_err(), "{name}");
        }
    }

    #[test]
    fn case_does_not_distinguish_names() {
        assert_eq!(name_key("ÄLice"), name_key("älICE"));
    }
}
