//! How credentials may be used, and what became of them.

use domain::declaration::{CredentialDecl, CredentialTerms, Defaults};
use domain::snapshot::{CredentialState, Deactivation};
use domain::{AttemptRecord, CredentialId, FailureClass, NamedRests, Receipt, Timestamp, UserId, Window, Windows};
use store::{CredentialChange, FileResources, Origin, Store};

use crate::lab::{Books, on_both, receipt, user};
use crate::resources::{credential, upstream};

const DAY: i64 = 86_400_000_000;

fn terms(profile: &str) -> CredentialTerms {
    CredentialTerms {
        daily_limit: Some(10_000),
        rotate_after: Some(100),
        profile: Some(profile.to_owned()),
        pause_at: Some("90%".parse().unwrap()),
    }
}

fn declared(name: &str, key: &str, profile: &str) -> CredentialDecl {
    let CredentialTerms {
        daily_limit,
        rotate_after,
        profile,
        pause_at,
    } = terms(profile);
    CredentialDecl {
        daily_limit,
        rotate_after,
        profile,
        pause_at,
        ..credential(name, key)
    }
}

/// The state of the only credential, as the server sees it.
async fn state(store: &Store) -> CredentialState {
    let resources = store.resources(Defaults::default()).await.unwrap();
    resources.upstreams[0].credentials[0].state.clone()
}

fn why(secs: i64, reason: &str) -> Deactivation {
    Deactivation {
        at: Timestamp::from_secs(secs),
        reason: reason.to_owned(),
    }
}

/// A receipt of a call that began then and used the credential for each of these attempts.
fn used(user: UserId, credential: i64, began: Timestamp, attempts: &[(u32, Option<FailureClass>)]) -> Receipt {
    let mut receipt = receipt(user, 0);
    let attempt = |(started_ms, failure): &(u32, Option<FailureClass>)| AttemptRecord {
        credential: CredentialId(credential),
        failure: *failure,
        started_ms: *started_ms,
        ..receipt.attempts[0].clone()
    };
    receipt.attempts = attempts.iter().map(attempt).collect();
    receipt.started_at = began;
    receipt
}

on_both! {
    async fn terms_are_kept_changed_and_served(lab) {
        let store = lab.store().await;
        store.upstreams().add(&upstream("main", &[]), Origin::Cli).await.unwrap();
        let record = store.credentials().add("main", &declared("k", "sk-one", "team-a"), Origin::Cli).await.unwrap();
        assert_eq!(record.terms, terms("team-a"));
        let change = CredentialChange { terms: Some(terms("team-b")), ..CredentialChange::default() };
        store.credentials().edit("main", "k", change).await.unwrap();
        let resources = store.resources(Defaults::default()).await.unwrap();
        assert_eq!(resources.upstreams[0].credentials[0].terms, terms("team-b"));
        // What the file says is compared as a whole.
        let file = |profile: &str| FileResources {
            upstreams: vec![{
                let mut decl = upstream("filed", &[]);
                decl.credentials.push(declared("k", "sk-two", profile));
                decl
            }],
            ..FileResources::default()
        };
        assert!(!store.apply_file(file("team-a")).await.unwrap().is_empty());
        assert!(store.apply_file(file("team-a")).await.unwrap().is_empty());
        assert!(!store.apply_file(file("team-b")).await.unwrap().is_empty());
        assert_eq!(store.credentials().get("filed", "k").await.unwrap().terms, terms("team-b"));
    }

    async fn terms_that_cannot_be_read_take_a_credential_out_of_service(lab) {
        let store = lab.store().await;
        store.upstreams().add(&upstream("main", &[("k", "sk-one")]), Origin::Cli).await.unwrap();
        lab.exec("UPDATE credentials SET terms = '{\"daily_limit\":\"many\"}'").await;
        let reason = state(&store).await.deactivated.unwrap().reason;
        assert!(reason.starts_with("its settings cannot be read"), "{reason}");
    }

    async fn a_deactivation_is_kept_until_an_operator_says_otherwise(lab) {
        let store = lab.store().await;
        let mut file = FileResources { upstreams: vec![upstream("main", &[("k", "sk-one")])], ..FileResources::default() };
        store.apply_file(file.clone()).await.unwrap();
        let id = store.credentials().get("main", "k").await.unwrap().id;
        let revision = store.revision().await.unwrap();
        assert!(store.credentials().deactivate(id, 0, &why(5, "refused")).await.unwrap());
        assert!(store.revision().await.unwrap() > revision, "the server must see it");
        assert!(!store.credentials().deactivate(id, 0, &why(9, "again")).await.unwrap(), "the first reason stays");
        assert_eq!(state(&store).await.deactivated, Some(why(5, "refused")));
        // The file's declaration is applied again at each start: it is not the file's to say.
        store.apply_file(file.clone()).await.unwrap();
        assert!(state(&store).await.deactivated.is_some());

        store.credentials().note_credit(id, 0, Some(Timestamp::from_secs(7))).await.unwrap();
        assert_eq!(state(&store).await.out_of_credit, Some(Timestamp::from_secs(7)));
        store.credentials().note_credit(id, 0, None).await.unwrap();
        assert_eq!(state(&store).await.out_of_credit, None);
        store.credentials().note_credit(id, 0, Some(Timestamp::from_secs(8))).await.unwrap();

        let rests = NamedRests {
            until: Timestamp::from_secs(9),
            models: vec![("m".into(), Timestamp::from_secs(8))],
            windows: Windows {
                five_hours: Some(Window { used_permille: 950, resets_at: Timestamp::from_secs(10) }),
                seven_days: None,
            },
        };
        let named = [(id, 0, rests)];
        store.credentials().note_rests(&[(id, 0, NamedRests::default())]).await.unwrap();
        store.credentials().note_rests(&named).await.unwrap();
        assert_eq!(store.credentials().named_rests().await.unwrap(), named);

        let record = store.credentials().activate("MAIN", "K").await.unwrap();
        assert_eq!(record.state, CredentialState { activation: 1, ..CredentialState::default() });
        // A server that found out before does not undo it.
        store.credentials().note_rests(&named).await.unwrap();
        assert_eq!(store.credentials().named_rests().await.unwrap(), []);
        assert!(!store.credentials().deactivate(id, 0, &why(10, "late")).await.unwrap());
        store.credentials().note_credit(id, 0, Some(Timestamp::from_secs(10))).await.unwrap();
        assert_eq!(state(&store).await, CredentialState { activation: 1, ..CredentialState::default() });
        // Another secret is another thing to find out about.
        assert!(store.credentials().deactivate(id, 1, &why(11, "refused")).await.unwrap());
        file.upstreams[0].credentials[0] = credential("k", "sk-another");
        store.apply_file(file).await.unwrap();
        assert_eq!(state(&store).await, CredentialState { activation: 2, ..CredentialState::default() });
        assert!(store.credentials().activate("main", "nobody").await.is_err());
    }

    async fn uses_are_counted_once_by_the_day_of_the_request(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 0).await;
        // A second before the twentieth day begins.
        let late = Timestamp(20 * DAY - 1_000_000);
        let both_days = [(10, Some(FailureClass::Server)), (20, Some(FailureClass::Connect)), (1_500, None)];
        let first = used(alice, 3, late, &both_days);
        books.append(&[first.clone(), used(alice, 4, Timestamp(20 * DAY), &[(0, None), (5, None)])]);
        assert_eq!(books.settler.uses_waiting(20).unwrap(), [(CredentialId(3), 1), (CredentialId(4), 2)].into());
        assert_eq!(books.settler.uses_waiting(19).unwrap(), [(CredentialId(3), 1)].into());
        books.settler.drain().await.unwrap();
        assert_eq!(books.settler.uses_waiting(20).unwrap().len(), 0);
        // The same receipt again changes nothing.
        books.append(&[first, used(alice, 3, Timestamp(21 * DAY - 1), &[(0, None)])]);
        books.settler.drain().await.unwrap();
        let uses = books.store.credentials().uses(20).await.unwrap();
        assert_eq!(uses, [(CredentialId(3), 2), (CredentialId(4), 2)]);
        assert_eq!(books.store.credentials().uses(19).await.unwrap(), [(CredentialId(3), 1)]);
        books.store.credentials().forget_uses().await.unwrap();
        assert_eq!(books.store.credentials().uses(20).await.unwrap(), []);
    }

    async fn a_database_of_the_version_before_is_brought_up_to_date(lab) {
        let store = lab.store().await;
        store.upstreams().add(&upstream("main", &[("k", "sk-one")]), Origin::Cli).await.unwrap();
        store.close().await;
        lab.age(2).await;
        let store = lab.store().await;
        let record = store.credentials().get("main", "k").await.unwrap();
        assert_eq!((record.terms, record.state), (CredentialTerms::default(), CredentialState::default()));
    }
}
