//! Whose receipts a journal has: they are booked into the database that they belong to, and charge only whom they name.

use std::sync::Arc;

use domain::{Money, UserId};
use metering::Accounts;
use store::{Adopted, Journal, Settler, Store};

use crate::lab::{Books, Lab, assert_sound, on_both, receipts, user};

/// Starts booking the journal of one place into the database of another.
async fn start(store: &Store, lab: &Lab) -> Result<Settler, String> {
    let settler = Settler::start(store.clone(), lab.journal(), Arc::new(Accounts::new())).await;
    settler.map_err(|error| error.to_string())
}

/// Another database of the same kind, with somebody in it.
async fn stranger(lab: &Lab) -> (Lab, Store, UserId) {
    let other = if lab.is_sqlite() {
        Lab::sqlite()
    } else {
        Lab::postgres().await.unwrap()
    };
    let store = other.store().await;
    let bob = user(&store, "bob", 1).await;
    (other, store, bob)
}

/// A journal with ten receipts that are booked and five that are not.
async fn used(lab: &Lab) -> UserId {
    let mut books = Books::open(lab).await;
    let alice = user(&books.store, "alice", 1).await;
    books.append(&receipts(alice, 10, 7));
    books.settler.drain().await.unwrap();
    books.settler.note_position();
    books.append(&receipts(alice, 5, 7));
    books.close().await;
    alice
}

fn binding_file(lab: &Lab) -> std::path::PathBuf {
    lab.dir.path().join("journal/database")
}

on_both! {
    async fn another_database_gets_nothing_of_a_journal(lab) {
        let alice = used(&lab).await;
        let (_other, store, bob) = stranger(&lab).await;
        for _ in 0..2 {
            let error = start(&store, &lab).await.unwrap_err();
            let owner = lab.store().await.identity().to_owned();
            assert!(error.contains(&format!("belongs to database {owner}")), "{error}");
            assert!(error.contains(store.identity()), "{error}");
            assert!(error.contains("5 of its 15 receipts"), "{error}");
            assert!(error.contains("tollgate journal adopt") && error.contains("storage.journal.dir"), "{error}");
            assert!(store.check_journal(&lab.dir.path().join("journal")).await.is_err());
        }
        assert_eq!(assert_sound(&store).await.receipts, 0);
        assert_eq!(store.balances().show(bob).await.unwrap().balance, Money::from_dollars(1));

        let mut books = Books::open(&lab).await;
        assert_eq!(books.settler.drain().await.unwrap().booked, 5, "the right one goes on");
        assert_eq!(books.accounts.get(alice).view().balance.nanos(), 1_000_000_000 - 105);
    }

    async fn a_journal_that_is_adopted_begins_at_its_end(lab) {
        let alice = used(&lab).await;
        let (_other, store, bob) = stranger(&lab).await;
        let owner = lab.store().await.identity().to_owned();
        let adopted = Settler::adopt(&store, &lab.journal()).await.unwrap();
        assert_eq!(adopted, Adopted::Now { from: Some(owner), left_behind: 5 });
        assert_eq!(Settler::adopt(&store, &lab.journal()).await.unwrap(), Adopted::AlreadyHere);

        let mut settler = start(&store, &lab).await.unwrap();
        assert_eq!(settler.drain().await.unwrap().booked, 0);
        drop(settler);
        let journal = lab.journal();
        for receipt in receipts(bob, 3, 1) {
            drop(journal.append(&serde_json::to_vec(&receipt).unwrap()).unwrap());
        }
        drop(journal);
        assert_eq!(start(&store, &lab).await.unwrap().drain().await.unwrap().booked, 3);
        assert_eq!(store.balances().show(alice).await.unwrap().balance, Money::ZERO);
        assert_eq!(assert_sound(&store).await.receipts, 3);

        let error = start(&lab.store().await, &lab).await.unwrap_err();
        assert!(error.contains("belongs to database"), "{error}");
    }

    async fn an_older_folder_belongs_to_the_database_that_knows_it(lab) {
        used(&lab).await;
        std::fs::remove_file(binding_file(&lab)).unwrap();
        let (_other, store, _) = stranger(&lab).await;
        let error = start(&store, &lab).await.unwrap_err();
        assert!(error.contains("a database that it does not name"), "{error}");
        assert!(error.contains("15 of its 15 receipts"), "{error}");
        assert!(!binding_file(&lab).exists());

        let mut books = Books::open(&lab).await;
        assert_eq!(books.settler.drain().await.unwrap().booked, 5);
        let binding = Journal::binding(books.journal.dir()).unwrap().unwrap();
        assert_eq!(binding.database, books.store.identity());
    }

    async fn a_journal_without_receipts_goes_with_any_database(lab) {
        Books::open(&lab).await.close().await;
        let (_other, store, bob) = stranger(&lab).await;
        drop(start(&store, &lab).await.unwrap());
        let journal = lab.journal();
        drop(journal.append(&serde_json::to_vec(&receipts(bob, 1, 1)[0]).unwrap()).unwrap());
        drop(journal);
        assert_eq!(start(&store, &lab).await.unwrap().drain().await.unwrap().booked, 1);
        assert!(start(&lab.store().await, &lab).await.is_err());
    }

    async fn a_copy_from_before_the_journal_gets_all_of_it(lab) {
        let mut lab = lab;
        let store = lab.store().await;
        let alice = user(&store, "alice", 1).await;
        store.close().await;
        let copy = lab.copy().await;
        let mut books = Books::open(&lab).await;
        books.append(&receipts(alice, 9, 2));
        books.settler.drain().await.unwrap();
        books.close().await;
        lab.restore(&copy);
        let mut books = Books::open(&lab).await;
        assert_eq!(books.settler.drain().await.unwrap().booked, 9);
        assert_eq!(assert_sound(&books.store).await.receipts, 9);
    }

    async fn a_database_that_becomes_another_is_not_booked_into(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        let identity = books.store.identity().to_owned();
        lab.exec("UPDATE meta SET identity = 'another'").await;
        books.append(&receipts(alice, 5, 1));
        let error = books.settler.drain().await.unwrap_err().to_string();
        assert!(error.contains("another database"), "{error}");
        lab.exec("DELETE FROM journals").await;
        assert!(books.settler.drain().await.is_err());
        assert_eq!(assert_sound(&books.store).await.receipts, 0);
        lab.exec(&format!("UPDATE meta SET identity = '{identity}'")).await;
        assert_eq!(books.settler.drain().await.unwrap().booked, 5);
    }

    async fn whom_a_restored_database_forgot_is_nobody_made_later(lab) {
        let mut lab = lab;
        let mut books = Books::open(&lab).await;
        user(&books.store, "alice", 1).await;
        books.close().await;
        let copy = lab.copy().await;
        books = Books::open(&lab).await;
        let bob = user(&books.store, "bob", 1).await;
        books.append(&receipts(bob, 30, 11));
        books.settler.drain().await.unwrap();
        books.close().await;
        lab.restore(&copy);

        let store = lab.store().await;
        let carol = user(&store, "carol", 1).await;
        store.close().await;
        let mut books = Books::open(&lab).await;
        assert_eq!(books.settler.drain().await.unwrap().booked, 30);
        let dave = user(&books.store, "dave", 1).await;
        for who in [carol, dave] {
            assert_eq!(books.store.balances().show(who).await.unwrap().balance, Money::from_dollars(1));
            assert_eq!(books.store.usage().lifetime(who).await.unwrap().calls, 0);
        }
        assert_eq!(books.store.balances().show(bob).await.unwrap().balance.nanos(), -330);
        assert_eq!(assert_sound(&books.store).await.receipts, 30);
    }

    async fn the_number_of_a_user_who_is_gone_is_not_given_again(lab) {
        let store = lab.store().await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..5 {
            let bob = user(&store, "bob", 0).await;
            assert!(seen.insert(bob), "given twice");
            assert!(bob.0 >= 1 << 40 && bob.0 < 1 << 53, "{bob:?}");
            store.users().remove("bob").await.unwrap();
        }
    }
}
