//! Booking: exactly once, whatever is repeated, restored or refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Ending, Money, UsageSource, UserId};
use metering::Accounts;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sea_orm::ConnectionTrait as _;
use store::{Journal, MovementKind, Settler, Totals};

use crate::lab::{Books, assert_sound, on_both, receipt, receipts, user};

on_both! {
    async fn a_batch_moves_everything_at_once(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 300, 1_000));
        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.repeated, drained.dead_letters), (300, 0, 0));

        let left = Money::from_nanos(1_000_000_000 - 300_000);
        assert_eq!(books.store.balances().show(alice).await.unwrap().balance, left);
        let view = books.accounts.get(alice).view();
        assert_eq!((view.balance, view.pending), (left, Money::ZERO));
        let movements = books.store.balances().movements(alice, 10).await.unwrap();
        let kinds: Vec<_> = movements.iter().map(|movement| (movement.kind, movement.amount.nanos())).collect();
        assert_eq!(kinds, [(MovementKind::Charge, -300_000), (MovementKind::Opening, 1_000_000_000)]);
        let lifetime = books.store.usage().lifetime(alice).await.unwrap();
        let expected = Totals {
            calls: 300,
            input: 3_000,
            output: 900,
            charged: Money::from_nanos(300_000),
            cost: Money::from_nanos(300_000),
            ..Totals::default()
        };
        assert_eq!(lifetime, expected);
        let days = books.store.usage().days(alice, 0, 100).await.unwrap();
        assert_eq!(days.iter().map(|day| (day.day, day.model.as_str())).collect::<Vec<_>>(), [(11, "gpt-4o")]);
        assert_eq!(days[0].totals, expected);
        let totals = assert_sound(&books.store).await;
        assert_eq!((totals.receipts, totals.batches), (300, 1));
        let status = books.settler.backlog().status();
        assert_eq!((status.receipts_waiting, status.bytes_waiting, status.error), (0, 0, None));
    }

    async fn reading_the_journal_again_books_nothing_twice(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 50, 7));
        books.settler.drain().await.unwrap();
        books.store.rewind_journal(books.journal.id()).await.unwrap();
        books.append(&receipts(alice, 5, 7));

        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.repeated), (5, 50));
        let view = books.accounts.get(alice).view();
        assert_eq!((view.balance.nanos(), view.pending), (1_000_000_000 - 55 * 7, Money::ZERO));
        assert_eq!(assert_sound(&books.store).await.receipts, 55);
    }

    async fn a_restored_database_gets_what_it_lacks(lab) {
        let mut lab = lab;
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 20, 11));
        books.settler.drain().await.unwrap();
        books.close().await;
        let copy = lab.copy().await;

        let mut books = Books::open(&lab).await;
        books.append(&receipts(alice, 30, 11));
        books.settler.drain().await.unwrap();
        books.close().await;
        lab.restore(&copy);

        let mut books = Books::open(&lab).await;
        let view = books.accounts.get(alice).view();
        assert_eq!((view.balance.nanos(), view.pending.nanos()), (1_000_000_000 - 220, 330), "the backlog is counted");
        assert_eq!(books.settler.backlog().status().receipts_waiting, 30);
        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.repeated), (30, 0));
        let view = books.accounts.get(alice).view();
        assert_eq!((view.balance.nanos(), view.pending), (1_000_000_000 - 550, Money::ZERO));
        assert_eq!(assert_sound(&books.store).await.receipts, 50);
    }

    async fn killed_before_and_after_the_commit(lab) {
        let books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 10, 5));
        // Killed before anything was booked.
        books.close().await;

        let mut books = Books::open(&lab).await;
        assert_eq!(books.accounts.get(alice).view().available.nanos(), 1_000_000_000 - 50);
        books.settler.drain().await.unwrap();
        // Killed after the commit: that the segment is booked is known only from the database.
        books.close().await;

        let mut books = Books::open(&lab).await;
        let view = books.accounts.get(alice).view();
        assert_eq!((view.balance.nanos(), view.pending), (1_000_000_000 - 50, Money::ZERO));
        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.repeated), (0, 0));
        assert_eq!(assert_sound(&books.store).await.receipts, 10);
    }

    async fn a_call_that_is_journalled_twice_is_charged_once(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        let once = receipt(alice, 100);
        let twice = receipt(alice, 1_000);
        books.append(&[twice.clone(), once, twice]);
        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.repeated), (2, 1));
        let view = books.accounts.get(alice).view();
        assert_eq!((view.balance.nanos(), view.pending), (1_000_000_000 - 1_100, Money::ZERO));
        let totals = assert_sound(&books.store).await;
        assert_eq!((totals.receipts, totals.charged.nanos()), (2, 1_100));
    }

    async fn users_without_an_account_and_the_master_key_are_booked_alike(lab) {
        let mut books = Books::open(&lab).await;
        books.append(&[receipt(UserId::MASTER, 3), receipt(UserId(4711), 0)]);
        books.settler.drain().await.unwrap();
        assert_eq!(books.store.balances().show(UserId::MASTER).await.unwrap().balance.nanos(), -3);
        assert_eq!(books.store.balances().show(UserId(4711)).await.unwrap().balance, Money::ZERO);
        assert_eq!(assert_sound(&books.store).await.receipts, 2);
    }

    async fn what_cannot_be_booked_is_put_aside_and_the_rest_goes_on(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        if lab.is_sqlite() {
            lab.exec(
                "CREATE TRIGGER poison BEFORE INSERT ON receipts WHEN NEW.key_id = 666 \
                 BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
            ).await;
        } else {
            lab.exec("ALTER TABLE receipts ADD CONSTRAINT poisoned CHECK (key_id <> 666)").await;
        }
        books.append(&receipts(alice, 20, 10));
        let mut poison = receipt(alice, 10);
        poison.key = domain::KeyId(666);
        books.append(std::slice::from_ref(&poison));
        drop(books.journal.append(b"{\"no\": \"receipt\"}").unwrap());
        drop(books.journal.append(b"\xff\xfe").unwrap());
        books.append(&receipts(alice, 20, 10));

        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.dead_letters), (40, 3));
        let view = books.accounts.get(alice).view();
        assert_eq!((view.balance.nanos(), view.pending), (1_000_000_000 - 400, Money::ZERO), "nothing stays pending");
        assert_eq!(assert_sound(&books.store).await.receipts, 40);

        let letters = std::fs::read_to_string(lab.dir.path().join("journal/dead-letters.jsonl")).unwrap();
        let letters: Vec<serde_json::Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(letters.len(), 3);
        let with_reason = |reason: &str| letters.iter().find(|letter| letter["reason"].as_str().unwrap().contains(reason)).unwrap();
        assert!(with_reason("poisoned")["record"].as_str().unwrap().contains(&poison.call.to_string()));
        assert_eq!(with_reason("not a receipt")["record"], "{\"no\": \"receipt\"}");
        assert_eq!(with_reason("not UTF-8")["base64"], "//4=");
        let report = Journal::inspect(&lab.dir.path().join("journal"), None).unwrap();
        assert_eq!((report.records, report.dead_letters), (43, 3));
    }

    async fn a_refused_record_is_booked_once_the_reason_is_gone(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        let (make, mend) = if lab.is_sqlite() {
            let make = "CREATE TRIGGER poison BEFORE INSERT ON receipts WHEN NEW.key_id = 666 \
                        BEGIN SELECT RAISE(ABORT, 'poisoned'); END";
            (make, "DROP TRIGGER poison")
        } else {
            let make = "ALTER TABLE receipts ADD CONSTRAINT poisoned CHECK (key_id <> 666)";
            (make, "ALTER TABLE receipts DROP CONSTRAINT poisoned")
        };
        lab.exec(make).await;
        let mut poison = receipt(alice, 10);
        poison.key = domain::KeyId(666);
        books.append(&[poison, receipt(alice, 1)]);
        books.settler.drain().await.unwrap();
        lab.exec(mend).await;
        books.store.rewind_journal(books.journal.id()).await.unwrap();
        books.append(&[receipt(alice, 1)]);
        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.repeated), (2, 1));
        assert_eq!(assert_sound(&books.store).await.charged.nanos(), 12);
    }

    async fn names_with_any_characters_are_stored(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        let mut odd = receipt(alice, 1);
        odd.model = String::from("GPT \0 'x\" \\ \u{1f600} $1 ?");
        odd.error = Some("a\0b".to_owned());
        books.append(std::slice::from_ref(&odd));
        let drained = books.settler.drain().await.unwrap();
        assert_eq!((drained.booked, drained.dead_letters), (1, 0));
        assert_eq!(books.store.requests().get(odd.call).await.unwrap().receipt, odd);
        assert_eq!(books.store.requests().clear(domain::Timestamp(i64::MAX)).await.unwrap(), 1);
        assert_sound(&books.store).await;
    }

    async fn flags_and_failures_are_summed(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        let mut estimated = receipt(alice, 5);
        estimated.usage_source = UsageSource::Estimated;
        let mut unpriced = receipt(alice, 0);
        unpriced.rates = None;
        let mut quarantined = receipt(alice, 0);
        quarantined.usage_source = UsageSource::Quarantined;
        let mut failed = receipt(alice, 0);
        failed.ending = Ending::Failed;
        failed.cost = Money::from_nanos(2);
        let mut bounded = receipt(alice, 5);
        bounded.uncollected = Money::from_nanos(9);
        books.append(&[estimated, unpriced, quarantined, failed, bounded]);
        books.settler.drain().await.unwrap();
        let totals = assert_sound(&books.store).await;
        assert_eq!((totals.estimated, totals.unpriced, totals.quarantined), (1, 1, 1));
        assert_eq!((totals.charged.nanos(), totals.cost.nanos(), totals.uncollected.nanos()), (10, 12, 9));
        let lifetime = books.store.usage().lifetime(alice).await.unwrap();
        assert_eq!((lifetime.calls, lifetime.failed, lifetime.uncollected.nanos()), (5, 1, 9));
        assert_eq!(lifetime.input, 40, "impossible usage is in no sum");
    }

    async fn any_mixture_of_users_repeats_and_rewinds_adds_up(lab) {
        let mut books = Books::open(&lab).await;
        let mut users = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            users.push(user(&books.store, name, 100).await);
        }
        let mut runner = TestRunner::deterministic();
        let round = (proptest::collection::vec((0..5_usize, 0..1_000_i64, 0..4_u8), 0..600), any::<bool>());
        let mut seen = Vec::new();
        let mut calls = BTreeSet::new();
        let mut expected = 0;
        for _ in 0..6 {
            let (round, rewind) = round.new_tree(&mut runner).unwrap().current();
            for (index, (who, nanos, kind)) in round.into_iter().enumerate() {
                let receipt = match kind {
                    0 if !seen.is_empty() => seen.swap_remove(index % seen.len()),
                    _ => receipt(users[who], nanos),
                };
                if calls.insert(receipt.call) {
                    expected += receipt.charged.nanos();
                }
                seen.push(receipt.clone());
                books.append(&[receipt]);
            }
            if rewind {
                books.store.rewind_journal(books.journal.id()).await.unwrap();
            }
            books.settler.drain().await.unwrap();
            assert_eq!(books.accounts.pending_total(), Money::ZERO);
        }
        let totals = assert_sound(&books.store).await;
        assert_eq!((totals.receipts, totals.charged.nanos()), (calls.len() as u64, expected));
        for user in users {
            let ledger = books.store.balances().show(user).await.unwrap().balance;
            assert_eq!(books.accounts.get(user).view().balance, ledger);
        }
    }

    async fn an_audit_sees_every_book_that_is_wrong(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 3, 10));
        books.settler.drain().await.unwrap();
        assert_sound(&books.store).await;
        for (tamper, mend) in [
            ("UPDATE receipts SET charged_nanos = charged_nanos + 1", "UPDATE receipts SET charged_nanos = charged_nanos - 1"),
            ("UPDATE receipts SET cost_nanos = cost_nanos + 1", "UPDATE receipts SET cost_nanos = cost_nanos - 1"),
            ("UPDATE receipts SET batch_id = batch_id + 1", "UPDATE receipts SET batch_id = batch_id - 1"),
            ("UPDATE accounts SET balance_nanos = balance_nanos + 1", "UPDATE accounts SET balance_nanos = balance_nanos - 1"),
            ("UPDATE movements SET amount_nanos = amount_nanos + 1 WHERE kind = 'charge'", "UPDATE movements SET amount_nanos = amount_nanos - 1 WHERE kind = 'charge'"),
            ("UPDATE movements SET amount_nanos = amount_nanos + 1 WHERE kind = 'opening'", "UPDATE movements SET amount_nanos = amount_nanos - 1 WHERE kind = 'opening'"),
            ("UPDATE usage_days SET cost_nanos = cost_nanos + 1", "UPDATE usage_days SET cost_nanos = cost_nanos - 1"),
            ("UPDATE usage_days SET calls = calls + 1", "UPDATE usage_days SET calls = calls - 1"),
            ("UPDATE usage_days SET charged_nanos = charged_nanos + 1", "UPDATE usage_days SET charged_nanos = charged_nanos - 1"),
            ("UPDATE batches SET receipts = receipts + 1", "UPDATE batches SET receipts = receipts - 1"),
            ("UPDATE batches SET charged_nanos = charged_nanos + 1", "UPDATE batches SET charged_nanos = charged_nanos - 1"),
        ] {
            lab.exec(tamper).await;
            let audit = books.store.audit().await.unwrap();
            assert!(!audit.passes(), "not noticed: {tamper}");
            lab.exec(mend).await;
        }
        assert_sound(&books.store).await;
        lab.exec("DELETE FROM usage_days").await;
        assert!(!books.store.audit().await.unwrap().passes());
    }

    async fn a_second_settler_of_the_same_journal_is_refused(lab) {
        let books = Books::open(&lab).await;
        let error = Journal::open(&lab.journal_options()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(books);
        assert!(Journal::open(&lab.journal_options()).is_ok());
    }

    async fn a_position_that_is_not_ours_is_never_overwritten(lab) {
        // Two settlers of one journal cannot be, but a database that somebody else moved on must not be moved back.
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 4, 10));
        books.settler.drain().await.unwrap();
        let booked = books.store.journal_position(books.journal.id()).await.unwrap().unwrap();
        books.append(&receipts(alice, 4, 10));
        let end = books.journal.status().end;
        let sql = format!("UPDATE journals SET segment = {}, position = {}", end.segment, end.offset);
        lab.raw().await.execute_unprepared(&sql).await.unwrap();
        let drained = books.settler.drain().await.unwrap();
        assert_eq!(drained.booked, 0, "the database says that it has them");
        assert_ne!(books.store.journal_position(books.journal.id()).await.unwrap(), Some(booked));
        assert_eq!(books.accounts.get(alice).view().pending, Money::ZERO, "the database has them: pending no more");
    }
}

#[tokio::test]
async fn segments_that_are_booked_go_when_they_are_old_enough() {
    let lab = crate::lab::Lab::sqlite();
    let store = lab.store().await;
    let alice = user(&store, "alice", 1).await;
    let mut options = lab.journal_options();
    options.segment_bytes = 16 * 1024;
    options.keep = std::time::Duration::ZERO;
    let journal = Arc::new(Journal::open(&options).unwrap());
    let accounts = Arc::new(Accounts::new());
    let mut settler = Settler::start(store.clone(), Arc::clone(&journal), Arc::clone(&accounts))
        .await
        .unwrap();
    for receipt in receipts(alice, 100, 1) {
        crate::lab::append(&journal, &accounts, &receipt);
    }
    assert!(journal.status().segments > 3, "{:?}", journal.status());
    assert_eq!(settler.drain().await.unwrap().booked, 100);
    assert_eq!(journal.status().segments, 1);
    assert_eq!(
        std::fs::read_dir(&options.dir).unwrap().count(),
        4,
        "one segment, id, database and lock"
    );
}
