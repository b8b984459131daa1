//! Checks of users and keys, the one owning the other.

use std::collections::HashSet;

use domain::declaration::UserDecl;
use domain::provider::AuthScheme;
use domain::{Money, Timestamp};
use jiff::Timestamp as Instant;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::super::Listed;
use super::super::file::KeyEntry;
use super::super::mistake::Mistakes;
use super::super::suggest::hint;
use super::{Names, check_name, complain};

/// Checks `users`.
pub fn users(listed: &[Listed<'_, UserDecl>], mistakes: &mut Mistakes) {
    let mut names = Names::default();
    for user in listed {
        check_name(user, &user.decl.name, &mut names, mistakes);
        if user.decl.opening_credit.is_some_and(|credit| credit < Money::ZERO) {
            complain(
                user,
                "opening_credit",
                "is below zero; use `tollgate balance adjust` for that",
                mistakes,
            );
        }
        if user
            .decl
            .opening_credit
            .is_some_and(|credit| credit.nanos() > store::AMOUNT_NANOS_MAX)
        {
            complain(
                user,
                "opening_credit",
                "is beyond a million dollars, which is surely a mistake",
                mistakes,
            );
        }
    }
}

/// Checks `keys`, whose owners may be any of the `users`.
pub fn keys(listed: &[Listed<'_, KeyEntry>], users: &[&str], mistakes: &mut Mistakes) {
    let mut names = Names::default();
    let mut secrets = HashSet::new();
    for key in listed {
        let decl = &key.decl;
        check_name(key, &decl.name, &mut names, mistakes);
        if !users.iter().any(|user| user.eq_ignore_ascii_case(&decl.user)) {
            let message = format!("there is no user `{}`{}", decl.user, hint(&decl.user, users));
            complain(key, "user", message, mistakes);
        }
        if let Some(problem) = AuthScheme::Bearer.problem_of(&decl.key) {
            complain(key, "key", problem, mistakes);
        } else if !secrets.insert(decl.key.expose()) {
            complain(
                key,
                "key",
                "is the same as that of another key; each needs its own",
                mistakes,
            );
        }
        if let Some(text) = &decl.expires
            && expiry(text).is_none()
        {
            complain(
                key,
                "expires",
                "is neither a date such as 2027-01-01 nor a time such as 2027-01-01T12:00:00Z",
                mistakes,
            );
        }
    }
}

/// When a key expires: a date means its first moment, UTC.
pub fn expiry(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let instant = match text.parse::<Instant>() {
        Ok(instant) => instant,
        Err(_) if text.len() == 10 => text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
        Err(_) => return None,
    };
    Some(Timestamp(instant.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_dates_or_times() {
        assert_eq!(expiry("2027-01-01"), Some(Timestamp::from_secs(1_798_761_600)));
        assert_eq!(
            expiry("2027-01-01T01:00:00+01:00"),
            Some(Timestamp::from_secs(1_798_761_600))
        );
        for text in ["", "soon", "2027-13-01", "2027-01-01 00:00", "01.01.2027", "1798761600"] {
            assert_eq!(expiry(text), None, "{text}");
        }
    }
}
