//! What a provider says of an account's allowance: how much of it is used, and when it is whole again.
//!
//! Subscriptions have two at once, one of five hours and one of seven days. Shares are integers, in thousandths: they are
//! compared with what an operator wrote, and 0.9 of a floating-point number is not 90 %.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::declaration::Percent;

/// One allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// How much of it is used, in thousandths; more than 1000 where the provider allows more.
    pub used_permille: u32,
    /// When it is whole again.
    pub resets_at: Timestamp,
}

/// The allowances of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Windows {
    /// Of five hours.
    pub five_hours: Option<Window>,
    /// Of seven days.
    pub seven_days: Option<Window>,
}

impl Windows {
    /// Whether nothing is known.
    pub const fn is_empty(&self) -> bool {
        self.five_hours.is_none() && self.seven_days.is_none()
    }

    /// What is newly known, over what was.
    pub fn update(&mut self, newer: Self) {
        self.five_hours = newer.five_hours.or(self.five_hours);
        self.seven_days = newer.seven_days.or(self.seven_days);
    }

    /// Until when an account is to be spared of which `share` may be used; `None` where less of every allowance is.
    pub fn spared_until(&self, share: Percent, now: Timestamp) -> Option<Timestamp> {
        [self.five_hours, self.seven_days]
            .into_iter()
            .flatten()
            .filter(|window| window.used_permille >= share.permille() && window.resets_at > now)
            .map(|window| window.resets_at)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    const fn window(used_permille: u32, resets_at: i64) -> Window {
        Window {
            used_permille,
            resets_at: Timestamp::from_secs(resets_at),
        }
    }

    #[test]
    fn an_account_is_spared_until_the_last_full_allowance_is_whole_again() {
        let share: Percent = "90%".parse().unwrap();
        let mut windows = Windows {
            five_hours: Some(window(899, 2_000)),
            seven_days: Some(window(100, 9_000)),
        };
        assert_eq!(windows.spared_until(share, NOW), None);
        windows.update(Windows {
            five_hours: Some(window(900, 2_000)),
            seven_days: None,
        });
        assert_eq!(windows.spared_until(share, NOW), Some(Timestamp::from_secs(2_000)));
        windows.update(Windows {
            five_hours: None,
            seven_days: Some(window(1_050, 9_000)),
        });
        assert_eq!(windows.spared_until(share, NOW), Some(Timestamp::from_secs(9_000)));
        assert_eq!(windows.spared_until(share, Timestamp::from_secs(9_000)), None, "over");
    }
}
