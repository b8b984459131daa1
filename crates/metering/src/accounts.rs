//! Who has how much left, exactly, while hundreds of calls spend at once.
//!
//! What a user may still spend is the ledger's balance, less what is *pending* (charged and journalled, but not booked
//! yet), less what is *held* for running calls. The three change together under one short lock per user, never by
//! atomics of their own: between "take from the hold" and "add to the pending" another call would see money that is not
//! there.
//!
//! A call that does not fit is refused only when it could not be paid even if every running call turned out to be free.
//! When only holds stand in its way it waits: most calls cost a fraction of their hold, so the money comes back. Waiting
//! is by [`Waker`], without a runtime. All who wait are woken on each release and decide anew, because a waiter that
//! was dropped cannot be told from one that lives, and a wake-up given to a dead one would be lost.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use domain::{Money, Policy, UserId};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

/// Calls of one user that may wait for money at the same time. Each release wakes all of them, so this also bounds what
/// a release costs.
pub const WAITERS_MAX: usize = 1_024;

/// The accounts of all users. Entries are made when first asked for; the callers ask for users that exist, so there are
/// as many as users.
#[derive(Debug, Default)]
pub struct Accounts {
    by_user: RwLock<HashMap<UserId, Arc<Account>>>,
}

/// One user's account.
#[derive(Default)]
pub struct Account {
    state: Mutex<State>,
}

/// An account at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountView {
    /// The ledger's balance.
    pub balance: Money,
    /// Charged, but not booked yet.
    pub pending: Money,
    /// Set aside for running calls.
    pub held: Money,
    /// What a new call could hold: balance − pending − held.
    pub available: Money,
}

/// Why there is no hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// There is less than the call may cost, whatever the running calls give back.
    #[error("the call may cost up to {needed} dollars, {left} are left")]
    Balance {
        /// What was asked for.
        needed: Money,
        /// Balance less pending charges.
        left: Money,
    },
    /// Too many calls wait already.
    #[error("{WAITERS_MAX} calls wait for money of this user already")]
    Crowded,
}

/// Money set aside for one call. Dropping it gives everything back; [`settle`](Self::settle) charges part of it. Keeps
/// its account alive.
#[must_use = "dropping a hold releases it"]
pub struct Hold {
    account: Arc<Account>,
    policy: Policy,
    amount: Money,
}

/// Sums are kept in 128 bits: an `unlimited` user may hold more than [`Money`] can say, and a sum that saturated would
/// never come back to zero.
#[derive(Default)]
struct State {
    balance: i128,
    pending: i128,
    held: i128,
    waiters: Vec<Waker>,
}

impl Accounts {
    /// No accounts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The account of a user; empty where nothing was said about it before.
    pub fn get(&self, user: UserId) -> Arc<Account> {
        if let Some(account) = self.by_user.read().get(&user) {
            return Arc::clone(account);
        }
        Arc::clone(self.by_user.write().entry(user).or_default())
    }

    /// The ledger's word on a balance: at the start, and between batches when it was changed from elsewhere. Must not
    /// run between a batch's commit and its [`booked`](Self::booked), nor with a balance read before one: the charges of
    /// that batch would count twice, or not at all.
    pub fn set_balance(&self, user: UserId, balance: Money) {
        self.get(user).change(|state| state.balance = wide(balance));
    }

    /// Charges found in the journal at the start that the ledger does not have yet.
    pub fn add_backlog(&self, user: UserId, charged: Money) {
        self.get(user).change(|state| state.pending += wide(charged));
    }

    /// A batch was booked: `charged` is in the ledger now, whose balance became `balance`.
    pub fn booked(&self, user: UserId, charged: Money, balance: Money) {
        self.get(user).change(|state| {
            state.pending -= wide(charged);
            state.balance = wide(balance);
        });
    }

    /// Everything held at this moment. Zero when no call runs.
    pub fn held_total(&self) -> Money {
        let accounts: Vec<_> = self.by_user.read().values().cloned().collect();
        Money::from_nanos_wide(accounts.iter().map(|account| account.state.lock().held).sum())
    }

    /// Everything charged and not booked yet.
    pub fn pending_total(&self) -> Money {
        let accounts: Vec<_> = self.by_user.read().values().cloned().collect();
        Money::from_nanos_wide(accounts.iter().map(|account| account.state.lock().pending).sum())
    }
}

impl Account {
    /// Sets `amount` aside, or says why not, or waits.
    ///
    /// `Hard`: refused if the balance less pending charges is below `amount`; pending (the waker is called on every
    /// release and booking) while only other calls' holds stand in the way. `Soft`: admitted while the balance less
    /// pending charges is above zero. `Unlimited`, and an `amount` of zero: always admitted.
    pub fn poll_hold(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        policy: Policy,
        amount: Money,
    ) -> Poll<Result<Hold, Exhausted>> {
        let amount = amount.max(Money::ZERO);
        let mut state = self.state.lock();
        match state.admit(policy, amount) {
            Admission::Granted => {
                state.held += wide(amount);
                Poll::Ready(Ok(Hold {
                    account: Arc::clone(self),
                    policy,
                    amount,
                }))
            }
            Admission::Refused { left } => Poll::Ready(Err(Exhausted::Balance { needed: amount, left })),
            Admission::Wait => match state.wait(cx.waker()) {
                Ok(()) => Poll::Pending,
                Err(crowded) => Poll::Ready(Err(crowded)),
            },
        }
    }

    /// Sets aside what was set aside before a restart, whatever is left: the call runs already.
    pub fn hold_again(self: &Arc<Self>, policy: Policy, amount: Money) -> Hold {
        let amount = amount.max(Money::ZERO);
        self.state.lock().held += wide(amount);
        Hold {
            account: Arc::clone(self),
            policy,
            amount,
        }
    }

    /// Sets `amount` aside if that is possible at this moment, and never waits: within a session nobody can.
    pub fn try_hold(self: &Arc<Self>, policy: Policy, amount: Money) -> Result<Hold, Exhausted> {
        let amount = amount.max(Money::ZERO);
        let mut state = self.state.lock();
        match state.admit(policy, amount) {
            Admission::Granted => {
                state.held += wide(amount);
                Ok(Hold {
                    account: Arc::clone(self),
                    policy,
                    amount,
                })
            }
            Admission::Refused { left } => Err(Exhausted::Balance { needed: amount, left }),
            Admission::Wait => {
                let left = Money::from_nanos_wide(state.balance - state.pending - state.held);
                Err(Exhausted::Balance { needed: amount, left })
            }
        }
    }

    /// The figures at this moment.
    pub fn view(&self) -> AccountView {
        let state = self.state.lock();
        AccountView {
            balance: Money::from_nanos_wide(state.balance),
            pending: Money::from_nanos_wide(state.pending),
            held: Money::from_nanos_wide(state.held),
            available: Money::from_nanos_wide(state.balance - state.pending - state.held),
        }
    }

    /// Changes the figures in one step, then wakes those who wait, outside the lock.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let waiters = {
            let mut state = self.state.lock();
            change(&mut state);
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            waiter.wake();
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl Hold {
    /// How much is set aside.
    pub const fn amount(&self) -> Money {
        self.amount
    }

    /// Sets more aside, for a stream that goes on. Never waits: a stream cannot. Under `Hard` this fails, and leaves the
    /// hold as it was, when the money is not there at this moment.
    pub fn grow(&mut self, by: Money) -> Result<(), Exhausted> {
        let grown = self.amount + by.max(Money::ZERO);
        let by = grown - self.amount;
        let mut state = self.account.state.lock();
        let free = state.balance - state.pending - state.held;
        if self.policy == Policy::Hard && free < wide(by) {
            let left = Money::from_nanos_wide(free);
            return Err(Exhausted::Balance { needed: by, left });
        }
        state.held += wide(by);
        drop(state);
        self.amount = grown;
        Ok(())
    }

    /// Charges a part of what many charges share, and holds the rest on.
    pub fn charge(&mut self, charged: Money) {
        let taken = charged.min(self.amount).max(Money::ZERO);
        self.amount -= taken;
        self.account.change(|state| {
            state.held -= wide(taken);
            state.pending += wide(charged);
        });
    }

    /// Ends the hold: `charged` becomes pending until it is booked, the rest is free again, in one step.
    pub fn settle(mut self, charged: Money) {
        debug_assert!(
            self.policy != Policy::Hard || charged <= self.amount,
            "a hard charge of {charged} must not exceed its hold of {}",
            self.amount
        );
        let amount = std::mem::take(&mut self.amount);
        self.account.change(|state| {
            state.held -= wide(amount);
            state.pending += wide(charged);
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.amount > Money::ZERO {
            self.account.change(|state| state.held -= wide(self.amount));
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("policy", &self.policy)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

enum Admission {
    Granted,
    Wait,
    Refused { left: Money },
}

impl State {
    fn admit(&self, policy: Policy, amount: Money) -> Admission {
        let left = self.balance - self.pending;
        let refused = Admission::Refused {
            left: Money::from_nanos_wide(left),
        };
        match policy {
            _ if amount == Money::ZERO => Admission::Granted,
            Policy::Unlimited => Admission::Granted,
            Policy::Soft if left > 0 => Admission::Granted,
            Policy::Soft => refused,
            Policy::Hard if left < wide(amount) => refused,
            Policy::Hard if left - self.held >= wide(amount) => Admission::Granted,
            Policy::Hard => Admission::Wait,
        }
    }

    /// Remembers whom to wake. A call that is polled again without having been woken is remembered once.
    fn wait(&mut self, waker: &Waker) -> Result<(), Exhausted> {
        if self.waiters.iter().any(|waiter| waiter.will_wake(waker)) {
            return Ok(());
        }
        if self.waiters.len() >= WAITERS_MAX {
            return Err(Exhausted::Crowded);
        }
        self.waiters.push(waker.clone());
        Ok(())
    }
}

const fn wide(money: Money) -> i128 {
    money.nanos() as i128
}

#[cfg(test)]
mod tests;
