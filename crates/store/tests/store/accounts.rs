//! Balances and their movements, and the request log.

use domain::declaration::UserDecl;
use domain::{DecisionText, Money, Policy, Timestamp};
use store::{MovementKind, Origin, StoreError};

use crate::lab::{Books, assert_sound, on_both, receipt, receipts, user};

on_both! {
    async fn money_comes_and_goes_with_a_movement_each(lab) {
        let store = lab.store().await;
        let alice = user(&store, "alice", 10).await;
        let bob = user(&store, "bob", 0).await;
        assert_eq!(store.users().get("alice").await.unwrap().policy, Some(Policy::Soft), "money given is money counted");
        let balance = store.balances().add(alice, "2.50".parse().unwrap(), "paid", "root").await.unwrap();
        assert_eq!(balance.balance.to_string(), "12.50");
        let balance = store.balances().adjust(alice, "-3".parse().unwrap(), "refund", "root").await.unwrap();
        assert_eq!(balance.balance.to_string(), "9.50");
        assert_eq!(store.balances().show(alice).await.unwrap(), balance);
        let movements = store.balances().movements(alice, 10).await.unwrap();
        let told: Vec<_> = movements
            .iter()
            .map(|movement| (movement.kind, movement.amount.to_string(), movement.note.as_str(), movement.actor.as_str()))
            .collect();
        assert_eq!(told, [
            (MovementKind::Adjust, "-3.00".to_owned(), "refund", "root"),
            (MovementKind::Credit, "2.50".to_owned(), "paid", "root"),
            (MovementKind::Opening, "10.00".to_owned(), "", "cli"),
        ]);
        assert_eq!(store.balances().movements(bob, 10).await.unwrap(), [], "nobody sees another's movements");
        assert_eq!(store.balances().show(bob).await.unwrap().balance, Money::ZERO);
        assert_eq!(store.balances().list().await.unwrap().len(), 2);
        assert_eq!(assert_sound(&store).await.credited.to_string(), "9.50");
    }

    async fn amounts_that_make_no_sense_are_refused(lab) {
        let store = lab.store().await;
        let alice = user(&store, "alice", 0).await;
        let dollar = Money::from_dollars(1);
        assert!(store.balances().add(alice, Money::ZERO, "", "").await.is_err());
        assert!(store.balances().add(alice, -dollar, "", "").await.is_err());
        assert!(store.balances().adjust(alice, Money::ZERO, "note", "").await.is_err());
        assert!(store.balances().adjust(alice, dollar, "  ", "").await.is_err(), "an adjustment says why");
        assert!(store.balances().add(alice, Money::MAX, "", "").await.is_err());
        let negative = UserDecl { name: "bob".to_owned(), opening_credit: Some(-dollar), policy: None };
        assert!(store.users().add(&negative, Origin::Cli).await.is_err());
        assert!(matches!(store.users().get("bob").await, Err(StoreError::NotFound { .. })), "all or nothing");
        assert_eq!(assert_sound(&store).await.credited, Money::ZERO);
    }

    async fn the_log_is_cleared_and_the_accounts_stay(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        let bob = user(&books.store, "bob", 0).await;
        let mut old = receipt(alice, 10);
        old.finished_at = Timestamp::from_secs(100);
        old.error = Some("upstream said no".to_owned());
        old.decision = DecisionText::of(&serde_json::json!({"version": 1, "model": "m\"\\"}));
        let mut new = receipt(alice, 10);
        new.finished_at = Timestamp::from_secs(200);
        let other = receipt(bob, 10);
        books.append(&[old.clone(), new.clone(), other.clone()]);
        books.settler.drain().await.unwrap();

        let requests = books.store.requests();
        let calls = |records: Vec<store::RequestRecord>| records.iter().map(|r| r.receipt.call).collect::<Vec<_>>();
        assert_eq!(calls(requests.recent(10).await.unwrap()), [other.call, new.call, old.call], "newest first");
        assert_eq!(calls(requests.recent(1).await.unwrap()), [other.call]);
        assert_eq!(calls(requests.of_user(alice, 10).await.unwrap()), [new.call, old.call]);
        assert_eq!(requests.get(old.call).await.unwrap().receipt, old);

        assert_eq!(requests.clear(Timestamp::from_secs(150)).await.unwrap(), 1);
        assert_eq!(requests.clear(Timestamp::from_secs(150)).await.unwrap(), 0, "once");
        assert_eq!(calls(requests.of_user(alice, 10).await.unwrap()), [new.call]);
        let cleared = requests.get(old.call).await.unwrap().receipt;
        assert_eq!((cleared.error, cleared.attempts.len()), (None, 0), "what is log only is gone");
        assert_eq!(cleared.decision, None);
        assert_eq!((cleared.charged, cleared.usage, cleared.rates), (old.charged, old.usage, old.rates));
        let totals = assert_sound(&books.store).await;
        assert_eq!((totals.receipts, totals.charged.nanos()), (3, 30));
    }

    async fn clearing_takes_more_than_one_statement(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 4_500, 1));
        books.settler.drain().await.unwrap();
        assert_eq!(books.store.requests().clear(Timestamp(i64::MAX)).await.unwrap(), 4_500);
        assert_eq!(books.store.requests().recent(10).await.unwrap(), []);
        assert_eq!(assert_sound(&books.store).await.receipts, 4_500);
    }
}
