//! Holds one at a time, then two hundred at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::Wake;
use std::thread::{self, Thread};

use proptest::prelude::*;

use super::*;

const USER: UserId = UserId(7);

fn nanos(nanos: i64) -> Money {
    Money::from_nanos(nanos)
}

fn account(balance: i64) -> (Accounts, Arc<Account>) {
    let accounts = Accounts::new();
    accounts.set_balance(USER, nanos(balance));
    let account = accounts.get(USER);
    (accounts, account)
}

/// Counts how often it was called.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(account: &Arc<Account>, bell: &Arc<Bell>, policy: Policy, amount: i64) -> Poll<Result<Hold, Exhausted>> {
    let waker = Arc::clone(bell).into();
    account.poll_hold(&mut Context::from_waker(&waker), policy, nanos(amount))
}

fn hold(account: &Arc<Account>, policy: Policy, amount: i64) -> Result<Hold, Exhausted> {
    match poll(account, &Arc::default(), policy, amount) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the hold waits"),
    }
}

/// Waits for a hold on this thread.
fn block_on_hold(account: &Arc<Account>, amount: Money) -> Result<Hold, Exhausted> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        match account.poll_hold(&mut cx, Policy::Hard, amount) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_hold_is_settled_booked_and_gone() {
    let (accounts, account) = account(100);
    let held = hold(&account, Policy::Hard, 60).unwrap();
    assert_eq!(
        account.view(),
        AccountView {
            balance: nanos(100),
            pending: nanos(0),
            held: nanos(60),
            available: nanos(40)
        }
    );
    held.settle(nanos(25));
    assert_eq!(
        account.view(),
        AccountView {
            balance: nanos(100),
            pending: nanos(25),
            held: nanos(0),
            available: nanos(75)
        }
    );
    assert_eq!(accounts.pending_total(), nanos(25));
    accounts.booked(USER, nanos(25), nanos(75));
    assert_eq!(
        account.view(),
        AccountView {
            balance: nanos(75),
            pending: nanos(0),
            held: nanos(0),
            available: nanos(75)
        }
    );
}

#[test]
fn a_dropped_hold_gives_everything_back() {
    let (accounts, account) = account(100);
    let held = hold(&account, Policy::Hard, 60).unwrap();
    assert_eq!(accounts.held_total(), nanos(60));
    drop(held);
    assert_eq!(
        (accounts.held_total(), account.view().available),
        (nanos(0), nanos(100))
    );
}

#[test]
fn a_backlog_counts_before_the_first_call() {
    let (accounts, account) = account(100);
    accounts.add_backlog(USER, nanos(70));
    accounts.add_backlog(USER, nanos(20));
    let refused = hold(&account, Policy::Hard, 11).unwrap_err();
    assert_eq!(
        refused,
        Exhausted::Balance {
            needed: nanos(11),
            left: nanos(10)
        }
    );
    assert!(hold(&account, Policy::Hard, 10).is_ok());
}

#[test]
fn what_was_held_before_a_restart_is_held_again_whatever_is_left() {
    let (_accounts, account) = account(100);
    let again = account.hold_again(Policy::Hard, nanos(150));
    assert_eq!(
        (account.view().held, account.view().available),
        (nanos(150), nanos(-50))
    );
    assert!(
        poll(&account, &Arc::default(), Policy::Hard, 1).is_pending(),
        "others wait until it is settled"
    );
    again.settle(nanos(40));
    assert_eq!((account.view().held, account.view().available), (nanos(0), nanos(60)));
}

#[test]
fn hard_waits_for_holds_and_is_refused_for_money() {
    let (_accounts, account) = account(100);
    let bell = Arc::new(Bell::default());
    let held = hold(&account, Policy::Hard, 60).unwrap();
    assert!(
        poll(&account, &bell, Policy::Hard, 41).is_pending(),
        "only a hold stands in the way"
    );
    assert!(poll(&account, &bell, Policy::Hard, 41).is_pending());
    assert_eq!(bell.0.load(Ordering::SeqCst), 0);
    assert!(
        matches!(poll(&account, &bell, Policy::Hard, 101), Poll::Ready(Err(_))),
        "nothing can help"
    );
    held.settle(nanos(50));
    assert_eq!(bell.0.load(Ordering::SeqCst), 1, "woken once, however often it asked");
    assert!(matches!(poll(&account, &bell, Policy::Hard, 50), Poll::Ready(Ok(_))));
    assert!(matches!(poll(&account, &bell, Policy::Hard, 51), Poll::Ready(Err(_))));
}

#[test]
fn top_ups_wake_those_who_wait() {
    let (accounts, account) = account(100);
    let bell = Arc::new(Bell::default());
    let _held = hold(&account, Policy::Hard, 100).unwrap();
    assert!(poll(&account, &bell, Policy::Hard, 50).is_pending());
    accounts.set_balance(USER, nanos(150));
    assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(&account, &bell, Policy::Hard, 50), Poll::Ready(Ok(_))));
}

#[test]
fn soft_looks_at_the_balance_only() {
    let (accounts, account) = account(1);
    let first = hold(&account, Policy::Soft, 50).unwrap();
    let second = hold(&account, Policy::Soft, 50).unwrap();
    first.settle(nanos(30));
    assert!(matches!(hold(&account, Policy::Soft, 1), Err(Exhausted::Balance { left, .. }) if left == nanos(-29)));
    second.settle(nanos(30));
    accounts.booked(USER, nanos(60), nanos(-59));
    assert_eq!(account.view().available, nanos(-59), "the last calls may take it below");
}

#[test]
fn soft_with_nothing_left_is_refused() {
    let (_accounts, account) = account(0);
    assert!(hold(&account, Policy::Soft, 1).is_err(), "zero is not above zero");
}

#[test]
fn unlimited_and_free_calls_are_never_refused() {
    let (accounts, account) = account(-5);
    let vast: Vec<_> = (0..3)
        .map(|_| hold(&account, Policy::Unlimited, i64::MAX).unwrap())
        .collect();
    assert!(hold(&account, Policy::Hard, 0).is_ok());
    assert!(hold(&account, Policy::Soft, 0).is_ok());
    assert_eq!(hold(&account, Policy::Unlimited, -3).unwrap().amount(), nanos(0));
    drop(vast);
    assert_eq!(accounts.held_total(), nanos(0), "a sum beyond the range comes back");
    assert_eq!(account.view().available, nanos(-5));
}

#[test]
fn a_hold_grows_while_there_is_money() {
    let (accounts, account) = account(100);
    let mut held = hold(&account, Policy::Hard, 40).unwrap();
    held.grow(nanos(50)).unwrap();
    assert_eq!(
        held.grow(nanos(11)),
        Err(Exhausted::Balance {
            needed: nanos(11),
            left: nanos(10)
        })
    );
    assert_eq!(held.amount(), nanos(90), "a failed step changes nothing");
    assert_eq!(accounts.held_total(), nanos(90));
    held.settle(nanos(90));
    assert_eq!(account.view().available, nanos(10));

    let mut soft = hold(&account, Policy::Soft, 1).unwrap();
    soft.grow(nanos(1_000)).unwrap();
    drop(soft);
    assert_eq!(accounts.held_total(), nanos(0));
}

#[test]
fn the_queue_has_an_end() {
    let (_accounts, account) = account(100);
    let _held = hold(&account, Policy::Hard, 100).unwrap();
    let bells: Vec<_> = (0..WAITERS_MAX).map(|_| Arc::new(Bell::default())).collect();
    for bell in &bells {
        assert!(poll(&account, bell, Policy::Hard, 1).is_pending());
    }
    assert!(
        poll(&account, &bells[0], Policy::Hard, 1).is_pending(),
        "who waits already keeps its place"
    );
    let late = poll(&account, &Arc::default(), Policy::Hard, 1);
    assert!(matches!(late, Poll::Ready(Err(Exhausted::Crowded))));
}

#[test]
fn a_hold_outlives_the_accounts() {
    let (accounts, account) = account(100);
    let held = hold(&account, Policy::Hard, 60).unwrap();
    drop(accounts);
    drop(held);
    assert_eq!(account.view().held, nanos(0));
}

/// Two hundred threads, each with many calls, book-keeping in between: never below zero, and every nano-dollar is
/// where it must be.
#[test]
fn two_hundred_threads_never_overspend() {
    const START: i64 = 1_000_000;
    let (accounts, account) = account(START);
    let (spent, booked) = (AtomicI64::new(0), AtomicI64::new(0));
    let start = Barrier::new(200);
    thread::scope(|scope| {
        for number in 0..200_i64 {
            let (accounts, account, spent, booked, start) = (&accounts, &account, &spent, &booked, &start);
            scope.spawn(move || {
                start.wait();
                for call in 0..50 {
                    let bound = 1 + (number * 31 + call * 17) % 400;
                    let Ok(mut held) = block_on_hold(account, nanos(bound)) else {
                        continue;
                    };
                    if call % 5 == 0 {
                        held.grow(nanos(10)).unwrap_or_default();
                    }
                    assert!(account.view().available >= Money::ZERO, "overspent");
                    if call % 3 == 0 {
                        drop(held);
                    } else {
                        let charged = held.amount().nanos() / (1 + call % 4);
                        spent.fetch_add(charged, Ordering::SeqCst);
                        held.settle(nanos(charged));
                    }
                    if number == 0 {
                        book(accounts, account, spent, booked, START);
                    }
                }
            });
        }
    });
    book(&accounts, &account, &spent, &booked, START);
    let view = account.view();
    assert_eq!((view.held, view.pending), (nanos(0), nanos(0)));
    assert_eq!(view.balance, nanos(START - spent.load(Ordering::SeqCst)));
    assert!(view.balance >= Money::ZERO);
    assert!(spent.load(Ordering::SeqCst) > START / 2, "the test would prove nothing");
}

/// What the settler does: books what is pending.
fn book(accounts: &Accounts, account: &Account, spent: &AtomicI64, booked: &AtomicI64, start: i64) {
    let pending = account.view().pending;
    let total = booked.fetch_add(pending.nanos(), Ordering::SeqCst) + pending.nanos();
    assert!(total <= spent.load(Ordering::SeqCst));
    accounts.booked(USER, pending, nanos(start - total));
}

/// The promise of the policy `hard`: one cent, two hundred parallel calls that cost a hundredth of a cent and hold
/// three times that. All of the money is spent but what does not cover one more hold.
#[test]
fn holds_do_not_keep_money_from_being_spent() {
    let (price, bound) = ("0.0001".parse::<Money>().unwrap(), "0.0003".parse::<Money>().unwrap());
    let start = "0.01".parse::<Money>().unwrap();
    let accounts = Accounts::new();
    accounts.set_balance(USER, start);
    let account = accounts.get(USER);
    let begin = Barrier::new(200);
    let served = AtomicI64::new(0);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                begin.wait();
                if let Ok(held) = block_on_hold(&account, bound) {
                    thread::yield_now();
                    served.fetch_add(1, Ordering::SeqCst);
                    held.settle(price);
                }
            });
        }
    });
    let spent = account.view().pending;
    assert_eq!(spent.nanos(), served.load(Ordering::SeqCst) * price.nanos());
    assert!(spent <= start, "spent {spent}");
    assert!(
        spent.nanos() * 10 >= start.nanos() * 9,
        "only {spent} of {start} was spent"
    );
    assert_eq!(accounts.held_total(), Money::ZERO);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Hold(i64),
    Grow(i64),
    Settle(u8),
    Drop,
    Book,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_i64..400).prop_map(Act::Hold),
        1 => (0_i64..100).prop_map(Act::Grow),
        3 => (0_u8..=100).prop_map(Act::Settle),
        1 => Just(Act::Drop),
        1 => Just(Act::Book),
    ]
}

proptest! {
    #[test]
    fn settled_and_released_is_what_was_reserved(start in 0_i64..2_000, acts in proptest::collection::vec(act(), 0..80)) {
        let (accounts, account) = account(start);
        let mut holds: Vec<Hold> = Vec::new();
        let (mut reserved, mut settled, mut released, mut balance, mut pending) = (0, 0, 0, start, 0);
        for act in acts {
            match act {
                Act::Hold(amount) => {
                    match poll(&account, &Arc::default(), Policy::Hard, amount) {
                        Poll::Ready(Ok(hold)) => {
                            reserved += amount;
                            holds.push(hold);
                        }
                        Poll::Ready(Err(_)) => prop_assert!(balance - pending < amount),
                        Poll::Pending => prop_assert!(balance - pending >= amount),
                    }
                }
                Act::Grow(by) => {
                    if let Some(hold) = holds.last_mut() && hold.grow(nanos(by)).is_ok() {
                        reserved += by;
                    }
                }
                Act::Settle(percent) => {
                    if let Some(hold) = holds.pop() {
                        let amount = hold.amount().nanos();
                        let charged = amount * i64::from(percent) / 100;
                        settled += charged;
                        released += amount - charged;
                        pending += charged;
                        hold.settle(nanos(charged));
                    }
                }
                Act::Drop => {
                    if !holds.is_empty() {
                        released += holds.remove(0).amount().nanos();
                    }
                }
                Act::Book => {
                    balance -= pending;
                    accounts.booked(USER, nanos(pending), nanos(balance));
                    pending = 0;
                }
            }
            let view = account.view();
            prop_assert_eq!(view.held.nanos(), holds.iter().map(|hold| hold.amount().nanos()).sum::<i64>());
            prop_assert_eq!(view.pending.nanos(), pending);
            prop_assert!(view.available >= Money::ZERO);
        }
        released += holds.iter().map(|hold| hold.amount().nanos()).sum::<i64>();
        drop(holds);
        prop_assert_eq!(settled + released, reserved);
        prop_assert_eq!(accounts.held_total(), Money::ZERO);
        prop_assert_eq!(account.view().available.nanos(), start - settled);
    }
}

#[test]
fn who_cannot_wait_is_told_what_is_free_now() {
    let (_, account) = account(10);
    let other = account.try_hold(Policy::Hard, nanos(8)).unwrap();
    assert_eq!(
        account.try_hold(Policy::Hard, nanos(5)).unwrap_err(),
        Exhausted::Balance {
            needed: nanos(5),
            left: nanos(2)
        }
    );
    drop(other);
    assert_eq!(account.try_hold(Policy::Hard, nanos(5)).unwrap().amount(), nanos(5));
    assert_eq!(account.view().held, Money::ZERO);
}

#[test]
fn many_charges_may_share_a_hold() {
    let (_accounts, account) = account(100);
    let mut shared = hold(&account, Policy::Hard, 60).unwrap();
    shared.charge(nanos(20));
    assert_eq!(
        (shared.amount(), account.view().held, account.view().pending),
        (nanos(40), nanos(40), nanos(20))
    );
    drop(shared);
    assert_eq!(
        (account.view().held, account.view().available),
        (Money::ZERO, nanos(80))
    );
    // A soft user owes what was used, whatever was held.
    let mut token = hold(&account, Policy::Soft, 1).unwrap();
    token.charge(nanos(30));
    assert_eq!(
        (token.amount(), account.view().held, account.view().pending),
        (Money::ZERO, Money::ZERO, nanos(50))
    );
}
