//! Resources of the configuration file.

use domain::declaration::{Defaults, KeyDecl, KeyTerms, UserDecl};
use domain::{Money, Policy, Secret, Snapshot};
use store::{Applied, FileResources, Origin, StoreError, UserChange};

use crate::lab::{assert_sound, on_both, user};
use crate::resources::{inline_model, upstream};

fn key(name: &str, user: &str, key: &str) -> KeyDecl {
    KeyDecl {
        name: name.to_owned(),
        user: user.to_owned(),
        key: Secret::new(key),
        terms: KeyTerms::default(),
    }
}

fn alice() -> UserDecl {
    UserDecl {
        name: "alice".to_owned(),
        opening_credit: Some(Money::from_dollars(10)),
        policy: Some(Policy::Hard),
    }
}

fn whole() -> FileResources {
    FileResources {
        users: vec![alice()],
        keys: vec![key("laptop", "alice", "sk-alice")],
        upstreams: vec![upstream("main", &[("k1", "sk-1")])],
        models: vec![inline_model("smart", "sk-2")],
    }
}

fn lists(applied: &Applied) -> [Vec<&str>; 3] {
    [&applied.added, &applied.changed, &applied.archived].map(|list| list.iter().map(String::as_str).collect())
}

on_both! {
    async fn a_file_is_applied_once_however_often(lab) {
        let store = lab.store().await;
        let applied = store.apply_file(whole()).await.unwrap();
        assert_eq!(lists(&applied), [vec!["upstream main", "model smart", "user alice", "key laptop"], vec![], vec![]]);
        let revision = store.revision().await.unwrap();
        let resources = store.resources(Defaults::default()).await.unwrap();
        assert!(store.apply_file(whole()).await.unwrap().is_empty());
        assert_eq!(store.revision().await.unwrap(), revision, "nothing changed, nobody is bothered");
        let again = store.resources(Defaults::default()).await.unwrap();
        assert_eq!(again.upstreams.iter().map(|row| row.id).collect::<Vec<_>>(), resources.upstreams.iter().map(|row| row.id).collect::<Vec<_>>());
        let snapshot = Snapshot::build(again);
        assert_eq!(snapshot.problems, []);
        assert!(snapshot.keys.contains_key(&store.hasher().hash("sk-alice")));
        assert!(snapshot.route("smart").is_some());
        let id = store.users().get("alice").await.unwrap().id;
        assert_eq!(store.balances().show(id).await.unwrap().balance, Money::from_dollars(10));
    }

    async fn what_changes_is_changed_and_what_goes_is_archived(lab) {
        let store = lab.store().await;
        store.apply_file(whole()).await.unwrap();
        let mut file = whole();
        file.upstreams[0].priority = 3;
        file.upstreams[0].credentials[0].key = Secret::new("sk-other");
        file.models[0] = inline_model("smart", "sk-3");
        file.users[0].policy = Some(Policy::Soft);
        file.keys[0].terms.passthrough = true;
        let applied = store.apply_file(file.clone()).await.unwrap();
        assert_eq!(lists(&applied), [vec![], vec!["upstream main", "model smart", "user alice", "key laptop"], vec![]]);
        let resources = store.resources(Defaults::default()).await.unwrap();
        let secrets: Vec<_> = resources.upstreams.iter().map(|row| row.credentials[0].secret.expose()).collect();
        assert_eq!(secrets, ["sk-other", "sk-3"]);
        assert!(resources.keys[0].terms.passthrough);

        let applied = store.apply_file(FileResources::default()).await.unwrap();
        assert_eq!(lists(&applied)[2], ["key laptop", "user alice", "model smart", "upstream main"]);
        let resources = store.resources(Defaults::default()).await.unwrap();
        assert_eq!((resources.users.len(), resources.keys.len(), resources.upstreams.len(), resources.models.len()), (0, 0, 0, 0));
    }

    async fn a_draft_is_looked_at_and_changes_nothing(lab) {
        let store = lab.store().await;
        store.apply_file(whole()).await.unwrap();
        let revision = store.revision().await.unwrap();
        let before = store.resources(Defaults::default()).await.unwrap();
        let mut draft = whole();
        draft.upstreams[0].priority = 3;
        draft.models.clear();
        draft.users.clear();
        draft.keys.clear();
        let with = store.resources_with(draft, Defaults::default()).await.unwrap();
        let (now, then) = (&before.upstreams[0], &with.upstreams[0]);
        assert_eq!((then.id, then.decl.priority, with.models.len(), with.keys.len()), (now.id, 3, 0, 0));
        assert_eq!(store.revision().await.unwrap(), revision);
        assert!(store.apply_file(whole()).await.unwrap().is_empty(), "all is as it was");
        let after = store.resources(Defaults::default()).await.unwrap();
        assert_eq!((after.upstreams[0].decl.priority, after.models.len()), (now.decl.priority, 1));
    }

    async fn a_user_that_comes_back_has_their_account_and_no_second_credit(lab) {
        let store = lab.store().await;
        store.apply_file(whole()).await.unwrap();
        let before = store.users().get("alice").await.unwrap().id;
        store.balances().adjust(before, Money::from_dollars(-4), "spent", "test").await.unwrap();
        store.apply_file(FileResources::default()).await.unwrap();
        let applied = store.apply_file(whole()).await.unwrap();
        assert_eq!(applied.added.len(), 4);
        let after = store.users().get("alice").await.unwrap().id;
        assert_eq!(after, before);
        assert_eq!(store.balances().show(after).await.unwrap().balance, Money::from_dollars(6));
        assert_eq!(assert_sound(&store).await.credited, Money::from_dollars(6));
    }

    async fn another_secret_is_another_key(lab) {
        let store = lab.store().await;
        store.apply_file(whole()).await.unwrap();
        let before = store.keys().get("laptop").await.unwrap().id;
        let mut file = whole();
        file.keys[0].key = Secret::new("sk-new");
        assert_eq!(lists(&store.apply_file(file).await.unwrap())[1], ["key laptop"]);
        assert_ne!(store.keys().get("laptop").await.unwrap().id, before);
        let snapshot = Snapshot::build(store.resources(Defaults::default()).await.unwrap());
        assert!(!snapshot.keys.contains_key(&store.hasher().hash("sk-alice")));
        assert!(snapshot.keys.contains_key(&store.hasher().hash("sk-new")));
    }

    async fn a_name_from_elsewhere_is_an_error_and_changes_nothing(lab) {
        let store = lab.store().await;
        user(&store, "Alice", 0).await;
        let revision = store.revision().await.unwrap();
        let error = store.apply_file(whole()).await.unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }) && error.to_string().contains("command line"), "{error}");
        assert_eq!(store.revision().await.unwrap(), revision);
        assert_eq!(store.upstreams().list().await.unwrap(), []);
        store.upstreams().add(&upstream("mine", &[]), Origin::Cli).await.unwrap();
        store.apply_file(FileResources::default()).await.unwrap();
        assert_eq!(store.upstreams().list().await.unwrap().len(), 1, "what others made stays");
        assert_eq!(store.users().list().await.unwrap().len(), 1);
    }

    async fn what_the_file_declares_is_changed_there_only(lab) {
        let store = lab.store().await;
        store.apply_file(whole()).await.unwrap();
        let owned = |error: StoreError| matches!(error, StoreError::OwnedByFile { .. });
        assert!(owned(store.users().remove("alice").await.unwrap_err()));
        assert!(owned(store.users().edit("alice", UserChange::default()).await.unwrap_err()));
        assert!(owned(store.keys().remove("laptop").await.unwrap_err()));
        assert!(owned(store.upstreams().remove("main").await.unwrap_err()));
        assert!(owned(store.models().remove("smart").await.unwrap_err()));
        assert!(owned(store.credentials().remove("main", "k1").await.unwrap_err()));
    }
}
