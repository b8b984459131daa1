//! Users, keys, upstreams, credentials and models.

use domain::declaration::{CredentialDecl, Defaults, KeyTerms, ModelDecl, UpstreamDecl, UserDecl};
use domain::{Policy, Secret, Snapshot, snapshot};
use store::{CredentialChange, KeyChange, Kind, NewKey, Origin, Store, StoreError, UserChange};

use crate::lab::{on_both, user};

pub(crate) fn upstream(name: &str, keys: &[(&str, &str)]) -> UpstreamDecl {
    let json = format!(r#"{{"name":"{name}","provider":"openai","params":{{"seed":7}},"models":["gpt-*"]}}"#);
    let mut decl: UpstreamDecl = serde_json::from_str(&json).unwrap();
    decl.credentials = keys.iter().map(|(name, key)| credential(name, key)).collect();
    decl
}

pub(crate) fn credential(name: &str, key: &str) -> CredentialDecl {
    CredentialDecl::new(name, Secret::new(key))
}

pub(crate) fn inline_model(name: &str, key: &str) -> ModelDecl {
    let target = format!(r#"{{"base_url":"https://example.com/v1","key":"{key}","model":"m"}}"#);
    serde_json::from_str(&format!(r#"{{"name":"{name}","targets":[{target}]}}"#)).unwrap()
}

fn new_key(name: &str, user: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        user: user.to_owned(),
        key: None,
        terms: KeyTerms::default(),
    }
}

async fn bumped(store: &Store, before: &mut u64) -> bool {
    let now = store.revision().await.unwrap();
    std::mem::replace(before, now) < now
}

on_both! {
    async fn users_live_and_go(lab) {
        let store = lab.store().await;
        let mut revision = store.revision().await.unwrap();
        let alice = user(&store, "Alice", 0).await;
        assert!(bumped(&store, &mut revision).await);
        let decl = UserDecl { name: "aLICE".to_owned(), opening_credit: None, policy: None };
        let error = store.users().add(&decl, Origin::Api).await.unwrap_err();
        assert!(matches!(error, StoreError::Exists { kind: Kind::User, .. }), "{error}");
        assert!(!bumped(&store, &mut revision).await, "what was refused changed nothing");

        let change = UserChange { name: Some("Alicia".to_owned()), policy: Some(Some(Policy::Hard)) };
        let edited = store.users().edit("ALICE", change).await.unwrap();
        assert_eq!((edited.id, edited.name.as_str(), edited.policy), (alice, "Alicia", Some(Policy::Hard)));
        assert!(bumped(&store, &mut revision).await);
        let (_, secret) = store.keys().add(new_key("k", "alicia"), Origin::Cli).await.unwrap();
        store.users().remove("alicia").await.unwrap();
        assert!(bumped(&store, &mut revision).await);
        assert_eq!(store.users().list().await.unwrap(), []);
        assert_eq!(store.keys().list().await.unwrap(), [], "their keys go with them");
        let resources = store.resources(Defaults::default()).await.unwrap();
        let snapshot = Snapshot::build(resources);
        assert!(!snapshot.keys.contains_key(&store.hasher().hash(secret.expose())));

        let again = user(&store, "alicia", 0).await;
        assert_ne!(again, alice, "a name is free again, its former owner's account is not");
    }

    async fn keys_are_found_by_hash_and_never_kept(lab) {
        let store = lab.store().await;
        let mut revision = store.revision().await.unwrap();
        user(&store, "alice", 0).await;
        let terms: KeyTerms = serde_json::from_str(r#"{"models":["smart"],"limits":{"rpm":5},"expires":"2027-01-01"}"#).unwrap();
        let new = NewKey { terms: terms.clone(), ..new_key("Laptop", "ALICE") };
        let (record, secret) = store.keys().add(new, Origin::Cli).await.unwrap();
        assert!(bumped(&store, &mut revision).await);
        assert_eq!((record.user_name.as_str(), &record.terms), ("alice", &terms));
        assert_eq!(record.hash, store.hasher().hash(secret.expose()));
        assert!(!format!("{record:?}").contains(secret.expose()));
        assert_eq!(store.keys().of_user(record.user).await.unwrap(), std::slice::from_ref(&record));

        let same = NewKey { key: Some(Secret::new(secret.expose())), ..new_key("other", "alice") };
        assert!(store.keys().add(same, Origin::Cli).await.is_err(), "one key, one name");
        assert!(store.keys().add(new_key("LAPTOP", "alice"), Origin::Cli).await.is_err());
        assert!(store.keys().add(new_key("x", "nobody"), Origin::Cli).await.is_err());
        let bad = NewKey { terms: KeyTerms { expires: Some("soon".to_owned()), ..KeyTerms::default() }, ..new_key("x", "alice") };
        assert!(store.keys().add(bad, Origin::Cli).await.is_err());
        let unsendable = NewKey { key: Some(Secret::new("a b")), ..new_key("x", "alice") };
        assert!(store.keys().add(unsendable, Origin::Cli).await.is_err());

        let snapshot = Snapshot::build(store.resources(Defaults::default()).await.unwrap());
        let key = &snapshot.keys[&record.hash];
        assert_eq!((key.name.as_str(), key.limits.rpm, key.expires.is_some()), ("Laptop", 5, true));
        let change = KeyChange { terms: Some(KeyTerms::default()), ..KeyChange::default() };
        assert_eq!(store.keys().edit("laptop", change).await.unwrap().terms, KeyTerms::default());
        store.keys().remove("laptop").await.unwrap();
        assert!(matches!(store.keys().get("laptop").await, Err(StoreError::NotFound { .. })));
        let given = NewKey { key: Some(secret), ..new_key("laptop", "alice") };
        assert!(store.keys().add(given, Origin::Cli).await.is_ok(), "a key that was removed may come back");
    }

    async fn upstreams_and_credentials_are_sealed_and_served(lab) {
        let store = lab.store().await;
        let mut revision = store.revision().await.unwrap();
        let decl = upstream("Main", &[("k1", "sk-one-secret-number-one"), ("k2", "sk-two")]);
        let record = store.upstreams().add(&decl, Origin::Cli).await.unwrap();
        assert!(bumped(&store, &mut revision).await);
        assert_eq!(record.credentials.iter().map(|c| c.masked.as_str()).collect::<Vec<_>>(), ["sk-…-one", "…"]);
        assert!(!format!("{record:?}").contains("sk-one-secret"));
        assert_eq!(record.decl, UpstreamDecl { credentials: Vec::new(), ..decl.clone() });
        assert!(store.upstreams().add(&upstream("MAIN", &[]), Origin::Api).await.is_err());
        assert!(store.upstreams().add(&upstream("a/b", &[]), Origin::Api).await.is_err());

        store.credentials().add("main", &credential("k3", "sk-three"), Origin::Cli).await.unwrap();
        assert!(store.credentials().add("main", &credential("K3", "x"), Origin::Cli).await.is_err());
        let change = CredentialChange { key: Some(Secret::new("sk-changed")), weight: Some(4), terms: None };
        store.credentials().edit("main", "k2", change).await.unwrap();
        store.credentials().remove("main", "k1").await.unwrap();
        assert!(bumped(&store, &mut revision).await);
        let resources = store.resources(Defaults::default()).await.unwrap();
        let served: Vec<_> =
            resources.upstreams[0].credentials.iter().map(|c| (c.name.as_str(), c.secret.expose(), c.weight)).collect();
        assert_eq!(served, [("k2", "sk-changed", 4), ("k3", "sk-three", 1)]);
        assert_eq!(resources.upstreams[0].origin, snapshot::Origin::Operator);
        assert_eq!(resources.problems, []);

        let mut other = upstream("main", &[]);
        other.priority = 5;
        assert_eq!(store.upstreams().edit("MAIN", &other).await.unwrap().decl.priority, 5);
        assert_eq!(store.credentials().list("main").await.unwrap().len(), 2, "credentials stay");
        store.upstreams().remove("main").await.unwrap();
        assert_eq!(store.upstreams().list().await.unwrap(), []);
        assert_eq!(store.resources(Defaults::default()).await.unwrap().upstreams.len(), 0);
    }

    async fn inline_targets_become_hidden_upstreams(lab) {
        let store = lab.store().await;
        let record = store.models().add(&inline_model("Smart", "sk-inline"), Origin::Cli).await.unwrap();
        assert_eq!(record.decl.targets[0].upstream.as_deref(), Some("model/Smart#1"));
        assert_eq!(store.upstreams().list().await.unwrap(), [], "hidden");
        let snapshot = Snapshot::build(store.resources(Defaults::default()).await.unwrap());
        assert_eq!(snapshot.problems, []);
        let route = snapshot.route("smart").unwrap();
        assert_eq!(route.targets[0].upstream.credentials[0].secret.expose(), "sk-inline");
        assert_eq!(route.targets[0].upstream.base_url, "https://example.com/v1");
        assert!(snapshot.route("m").is_none(), "it serves its model only");

        // An edit that shows the target as it was listed keeps its key.
        let mut edited = record.decl.clone();
        edited.aliases.push("best".to_owned());
        store.models().edit("smart", &edited).await.unwrap();
        let snapshot = Snapshot::build(store.resources(Defaults::default()).await.unwrap());
        let route = snapshot.route("best").unwrap();
        assert_eq!(route.targets[0].upstream.credentials[0].secret.expose(), "sk-inline");
        store.models().remove("smart").await.unwrap();
        assert_eq!(store.resources(Defaults::default()).await.unwrap().upstreams.len(), 0);
    }

    async fn a_row_that_cannot_be_read_is_a_problem_and_not_an_end(lab) {
        let store = lab.store().await;
        store.upstreams().add(&upstream("good", &[("k", "sk-good")]), Origin::Cli).await.unwrap();
        store.upstreams().add(&upstream("bad", &[]), Origin::Cli).await.unwrap();
        store.upstreams().add(&upstream("sealed", &[("k", "sk-x")]), Origin::Cli).await.unwrap();
        lab.exec("UPDATE upstreams SET decl = '{' WHERE name = 'bad'").await;
        lab.exec(
            "UPDATE credentials SET secret = (SELECT secret FROM credentials c JOIN upstreams u ON u.id = c.upstream_id \
             WHERE u.name = 'good') WHERE upstream_id = (SELECT id FROM upstreams WHERE name = 'sealed')",
        ).await;
        let resources = store.resources(Defaults::default()).await.unwrap();
        let names: Vec<_> = resources.upstreams.iter().map(|row| (row.decl.name.as_str(), row.credentials.len())).collect();
        assert_eq!(names, [("good", 1), ("sealed", 0)], "a secret does not open in another's place");
        let told: Vec<_> = resources.problems.iter().map(|problem| problem.resource.as_str()).collect();
        assert_eq!(told, ["upstream bad", "credential sealed/k"]);
    }

    async fn settings_are_kept_and_bump_the_revision(lab) {
        let store = lab.store().await;
        let mut revision = store.revision().await.unwrap();
        assert_eq!(store.settings().get("x").await.unwrap(), None);
        store.settings().set("x", Some("1")).await.unwrap();
        store.settings().set("x", Some("2")).await.unwrap();
        assert_eq!(store.settings().get("x").await.unwrap().as_deref(), Some("2"));
        store.settings().set("x", None).await.unwrap();
        assert_eq!(store.settings().get("x").await.unwrap(), None);
        assert!(bumped(&store, &mut revision).await);
    }
}
