//! What lives on after its call: pins, and conversations that are kept here.

use domain::{CallId, CredentialId, Job, KeyId, Money, Pin, Timestamp, Turn, UpstreamId, UserId};
use store::{KeyRing, Store, StoreOptions};

use crate::lab::{KEY, OTHER_KEY, on_both, user};

const NOW: Timestamp = Timestamp(1_000_000_000_000_000);
const DAY: i64 = 86_400_000_000;
const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);

fn pin(id: &str, user: UserId) -> Pin {
    Pin {
        id: id.to_owned(),
        user,
        key: KeyId(7),
        upstream: UpstreamId(3),
        credential: CredentialId(4),
        made_at: NOW,
        expires_at: Timestamp(NOW.0 + DAY),
        job: None,
        operators_bytes: None,
    }
}

fn turn(id: &str, previous: Option<&str>, body: &str) -> Turn {
    Turn {
        id: id.to_owned(),
        user: ALICE,
        key: KeyId(7),
        previous: previous.map(str::to_owned),
        made_at: NOW,
        expires_at: Timestamp(NOW.0 + 30 * DAY),
        body: body.to_owned(),
    }
}

fn ids(turns: &[Turn]) -> Vec<&str> {
    turns.iter().map(|turn| turn.id.as_str()).collect()
}

async fn all_of(store: &Store, id: &str, now: Timestamp) -> Vec<Turn> {
    store.turns().conversation(ALICE, id, now, u64::MAX).await.unwrap()
}

on_both! {
    async fn a_pin_is_found_by_whoever_asks_until_it_expires(lab) {
        let store = lab.store().await;
        let pins = [pin("file-1", ALICE), pin("file-1", BOB), pin("file-2", BOB)];
        store.pins().save(&pins).await.unwrap();
        assert_eq!(store.pins().find("file-1", NOW).await.unwrap(), pins[..2]);
        assert_eq!(store.pins().find("file-3", NOW).await.unwrap(), []);
        assert_eq!(store.pins().find("file-2", pins[2].expires_at).await.unwrap(), []);
        let moved = Pin { upstream: UpstreamId(9), ..pin("file-1", ALICE) };
        store.pins().save(std::slice::from_ref(&moved)).await.unwrap();
        assert_eq!(store.pins().find("file-1", NOW).await.unwrap(), [moved, pin("file-1", BOB)]);
        let hidden = Pin { operators_bytes: Some(12), ..pin("resp-1", ALICE) };
        store.pins().save(std::slice::from_ref(&hidden)).await.unwrap();
        store.pins().save(&[pin("resp-1", ALICE)]).await.unwrap();
        assert_eq!(store.pins().find("resp-1", NOW).await.unwrap(), [hidden], "what is hidden stays so");
        store.pins().remove(ALICE, "file-1").await.unwrap();
        assert_eq!(store.pins().find("file-1", NOW).await.unwrap(), [pin("file-1", BOB)]);
    }

    async fn many_are_saved_at_once_and_the_last_of_the_same_counts(lab) {
        let store = lab.store().await;
        let mut many: Vec<Pin> = (0..200).map(|n| pin(&format!("file-{n}"), ALICE)).collect();
        many.push(Pin { upstream: UpstreamId(9), ..pin("file-7", ALICE) });
        store.pins().save(&many).await.unwrap();
        for (id, upstream) in [("file-0", 3), ("file-7", 9), ("file-199", 3)] {
            assert_eq!(store.pins().find(id, NOW).await.unwrap()[0].upstream, UpstreamId(upstream), "{id}");
        }
        store.pins().save(&[]).await.unwrap();
        assert_eq!(store.pins().clear(Timestamp(NOW.0 + DAY)).await.unwrap(), 200);
    }

    async fn what_is_not_billed_outlives_its_expiry(lab) {
        let store = lab.store().await;
        let job = Job {
            call: CallId(uuid::Uuid::now_v7()),
            model: "m".to_owned(),
            target: "t".to_owned(),
            stream: true,
            started: NOW,
            body_bytes: 10,
            hold: Money::from_nanos(5),
            batch: None,
            operation: None,
        };
        let owed = Pin { job: Some(job), ..pin("resp_1", ALICE) };
        store.pins().save(&[owed.clone(), pin("resp_2", ALICE)]).await.unwrap();
        assert_eq!(store.pins().jobs().await.unwrap(), std::slice::from_ref(&owed));
        assert_eq!(store.pins().clear(owed.expires_at).await.unwrap(), 1);
        assert_eq!(store.pins().jobs().await.unwrap(), std::slice::from_ref(&owed));
        store.pins().save(&[pin("resp_1", ALICE)]).await.unwrap();
        assert_eq!(store.pins().jobs().await.unwrap().len(), 1, "whoever sees it again forgives no debt");
        store.pins().billed(ALICE, "resp_1").await.unwrap();
        assert_eq!(store.pins().jobs().await.unwrap(), []);
        assert_eq!(store.pins().clear(owed.expires_at).await.unwrap(), 1);
    }

    async fn a_conversation_is_followed_back_within_its_bounds(lab) {
        let store = lab.store().await;
        let turns = [turn("r1", None, "aaaa"), turn("r2", Some("r1"), "bbbb"), turn("r3", Some("r2"), "cccc")];
        store.turns().save(&turns).await.unwrap();
        let all = all_of(&store, "r3", NOW).await;
        assert_eq!((ids(&all), all[0].body.as_str()), (vec!["r3", "r2", "r1"], "cccc"));
        assert_eq!(ids(&all_of(&store, "r2", NOW).await), ["r2", "r1"]);
        let some = store.turns().conversation(ALICE, "r3", NOW, 8).await.unwrap();
        assert_eq!(ids(&some), ["r3", "r2"], "more would not fit");
        assert!(store.turns().conversation(BOB, "r3", NOW, u64::MAX).await.unwrap().is_empty());
        let alone = store.turns().find(ALICE, "r3", NOW).await.unwrap().unwrap();
        assert_eq!(alone.id, "r3");
        assert!(store.turns().find(BOB, "r3", NOW).await.unwrap().is_none());
        store.turns().touch(ALICE, &["r3".to_owned(), "none".to_owned()], Timestamp(alone.expires_at.0 + 10 * DAY)).await.unwrap();
        assert!(store.turns().find(ALICE, "r3", alone.expires_at).await.unwrap().is_some());
        assert!(store.turns().remove(ALICE, "r1").await.unwrap());
        assert!(!store.turns().remove(BOB, "r2").await.unwrap());
        assert_eq!(ids(&all_of(&store, "r3", NOW).await), ["r3", "r2"]);
    }

    async fn a_turn_lives_as_long_as_what_is_built_on_it(lab) {
        let store = lab.store().await;
        let first = turn("r1", None, "a");
        let end = first.expires_at;
        store.turns().save(&[first, turn("alone", None, "x")]).await.unwrap();
        let later = Turn { expires_at: Timestamp(end.0 + 10 * DAY), ..turn("r2", Some("r1"), "b") };
        store.turns().save(std::slice::from_ref(&later)).await.unwrap();
        assert_eq!(store.turns().clear(end).await.unwrap(), 1, "the one alone");
        assert_eq!(ids(&all_of(&store, "r2", end).await), ["r2", "r1"]);
        assert!(all_of(&store, "r2", later.expires_at).await.is_empty(), "expired, if not yet deleted");
        assert_eq!(store.turns().clear(later.expires_at).await.unwrap(), 2);
    }

    async fn what_was_said_is_sealed_for_its_place(lab) {
        let store = lab.store().await;
        store.turns().save(&[turn("r1", None, "a planted secret"), turn("r2", None, "other")]).await.unwrap();
        store.close().await;
        if lab.is_sqlite() {
            let mut bytes = std::fs::read(lab.file()).unwrap();
            bytes.extend(std::fs::read(format!("{}-wal", lab.file().display())).unwrap_or_default());
            assert!(!bytes.windows(7).any(|window| window == b"planted"));
        }
        lab.exec("UPDATE turns SET sealed = (SELECT sealed FROM turns WHERE id = 'r1') WHERE id = 'r2'").await;
        let store = lab.store().await;
        assert_eq!(all_of(&store, "r1", NOW).await[0].body, "a planted secret");
        assert!(store.turns().conversation(ALICE, "r2", NOW, u64::MAX).await.is_err(), "moved to another row");
        store.turns().remove(ALICE, "r2").await.unwrap();
        store.close().await;
        let both = StoreOptions { ring: KeyRing::parse(&format!("{OTHER_KEY},{KEY}")).unwrap(), ..lab.options() };
        let store = Store::open(&both).await.unwrap();
        assert_eq!(store.reseal_all().await.unwrap(), 2, "the hash key and the turn");
        assert_eq!(store.reseal_all().await.unwrap(), 0);
        store.close().await;
        let new = StoreOptions { ring: KeyRing::parse(OTHER_KEY).unwrap(), ..lab.options() };
        let store = Store::open(&new).await.unwrap();
        assert_eq!(all_of(&store, "r1", NOW).await[0].body, "a planted secret");
    }

    async fn an_older_schema_keeps_what_it_has(lab) {
        let store = lab.store().await;
        let alice = user(&store, "alice", 7).await;
        store.close().await;
        lab.age(1).await;
        let store = lab.store().await;
        assert_eq!(store.users().list().await.unwrap()[0].id, alice);
        assert_eq!(store.balances().show(alice).await.unwrap().balance, Money::from_dollars(7));
        store.pins().save(&[pin("file-1", alice)]).await.unwrap();
        store.turns().save(&[turn("r1", None, "a")]).await.unwrap();
    }
}
