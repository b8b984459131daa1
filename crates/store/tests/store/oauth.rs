//! Accounts: one renewal at a time, nothing lost over a kill, and a login always newer than any renewal.

use std::time::Duration;

use domain::declaration::Defaults;
use domain::{CredentialId, Secret, Timestamp};
use store::{
    AccountRecord, AccountTokens, CredentialChange, FileResources, KeyRing, Kind, Lease, LeaseRequest, Origin,
    PendingLogin, RenewalFailure, Store, StoreError, StoreOptions,
};

use crate::lab::{KEY, Lab, OTHER_KEY, on_both};
use crate::resources::upstream;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn tokens(number: u32) -> AccountTokens {
    AccountTokens {
        access: Secret::new(format!("at-planted-{number}")),
        refresh: Some(Secret::new(format!("rt-planted-{number}"))),
        client_id: "app".to_owned(),
        issued_at: NOW,
        expires_at: NOW + Duration::from_hours(1),
    }
}

async fn with_account(lab: &Lab) -> (Store, AccountRecord) {
    let store = lab.store().await;
    store
        .upstreams()
        .add(&upstream("claude", &[("k", "sk-key")]), Origin::Cli)
        .await
        .unwrap();
    let record = store
        .oauth_accounts()
        .add("claude", "me", "max", &tokens(1), Origin::Cli)
        .await
        .unwrap();
    (store, record)
}

fn ask(id: CredentialId, known: i64, owner: &str, at_secs: u64) -> LeaseRequest<'_> {
    let now = NOW + Duration::from_secs(at_secs);
    LeaseRequest {
        id,
        known,
        owner,
        now,
        until: now + Duration::from_secs(30),
    }
}

async fn lease(store: &Store, request: LeaseRequest<'_>) -> String {
    match store.oauth_accounts().lease(request).await.unwrap() {
        Lease::Yours(tokens, generation) => format!("yours {generation} {}", tokens.refresh.unwrap().expose()),
        Lease::Newer(tokens, generation) => format!("newer {generation} {}", tokens.access.expose()),
        Lease::Busy => "busy".to_owned(),
        Lease::NeedsLogin(why) => format!("login {why}"),
        Lease::Gone => "gone".to_owned(),
    }
}

/// Access token, generation and whether a login is needed, as calls see them.
async fn seen(store: &Store) -> (String, i64, bool) {
    let resources = store.resources(Defaults::default()).await.unwrap();
    assert!(resources.problems.is_empty(), "{:?}", resources.problems);
    let credentials = &resources.upstreams[0].credentials;
    let account = credentials.iter().find(|credential| credential.name == "me").unwrap();
    let state = account.account.as_ref().unwrap();
    (
        account.secret.expose().to_owned(),
        state.generation,
        state.needs_login.is_some(),
    )
}

on_both! {
    async fn an_account_is_a_credential_with_a_secret_that_changes(lab) {
        let (store, record) = with_account(&lab).await;
        assert_eq!((record.upstream_name.as_str(), record.state.mode.as_str(), record.state.generation), ("claude", "max", 1));
        assert_eq!(seen(&store).await, ("at-planted-1".to_owned(), 1, false));
        let taken = store.oauth_accounts().add("claude", "K", "max", &tokens(2), Origin::Cli).await.unwrap_err();
        assert!(matches!(taken, StoreError::Exists { kind: Kind::Credential, .. }), "{taken}");
        let change = CredentialChange { key: Some(Secret::new("sk-x")), weight: None, terms: None };
        let error = store.credentials().edit("claude", "me", change).await.unwrap_err();
        assert!(error.to_string().contains("tollgate account login me"), "{error}");
        store.upstreams().add(&upstream("other", &[]), Origin::Cli).await.unwrap();
        store.oauth_accounts().add("other", "ME", "console", &tokens(3), Origin::Api).await.unwrap();
        let error = store.oauth_accounts().get("me").await.unwrap_err();
        assert!(error.to_string().contains("UPSTREAM/me"), "{error}");
        assert_eq!(store.oauth_accounts().get("OTHER/me").await.unwrap().state.mode, "console");
        store.oauth_accounts().remove(record.id).await.unwrap();
        assert_eq!(store.oauth_accounts().list().await.unwrap().len(), 1);
        assert_eq!(lease(&store, ask(record.id, 1, "a", 0)).await, "gone");
    }

    async fn one_renews_at_a_time(lab) {
        let (store, record) = with_account(&lab).await;
        let other = lab.store().await;
        let id = record.id;
        assert_eq!(lease(&store, ask(id, 1, "a", 0)).await, "yours 1 rt-planted-1");
        assert_eq!(lease(&other, ask(id, 1, "b", 5)).await, "busy");
        assert_eq!(lease(&store, ask(id, 1, "a", 6)).await, "yours 1 rt-planted-1", "who has it keeps it");
        let mut revision = store.revision().await.unwrap();
        assert!(store.oauth_accounts().renewed(id, 1, &tokens(2)).await.unwrap());
        let bumped = other.revision().await.unwrap();
        assert!(std::mem::replace(&mut revision, bumped) < bumped, "others hear of it");
        assert_eq!(lease(&other, ask(id, 1, "b", 7)).await, "newer 2 at-planted-2");
        assert_eq!(lease(&other, ask(id, 2, "b", 8)).await, "yours 2 rt-planted-2", "the lease ended with the renewal");
        // One that died is missed until its lease ends.
        assert_eq!(lease(&store, ask(id, 2, "a", 37)).await, "busy");
        assert_eq!(lease(&store, ask(id, 2, "a", 38)).await, "yours 2 rt-planted-2");
    }

    async fn of_many_that_ask_at_once_one_gets_it(lab) {
        let (store, record) = with_account(&lab).await;
        let other = lab.store().await;
        let owners: Vec<String> = (0..20).map(|number| format!("replica-{number}")).collect();
        let mut asking = tokio::task::JoinSet::new();
        for (number, owner) in owners.into_iter().enumerate() {
            let (store, id) = (if number % 2 == 0 { store.clone() } else { other.clone() }, record.id);
            asking.spawn(async move { lease(&store, ask(id, 1, &owner, 0)).await });
        }
        let mut all = asking.join_all().await;
        all.sort();
        assert_eq!(all.iter().filter(|one| *one == "busy").count(), 19, "{all:?}");
        assert_eq!(all[19], "yours 1 rt-planted-1");
    }

    async fn what_was_kept_is_there_after_a_kill(lab) {
        let (store, record) = with_account(&lab).await;
        lease(&store, ask(record.id, 1, "a", 0)).await;
        assert!(store.oauth_accounts().renewed(record.id, 1, &tokens(2)).await.unwrap());
        // Dropped, not closed.
        drop(store);
        let store = lab.store().await;
        assert_eq!(seen(&store).await, ("at-planted-2".to_owned(), 2, false));
        assert_eq!(lease(&store, ask(record.id, 2, "b", 1)).await, "yours 2 rt-planted-2");
    }

    async fn a_login_is_newer_than_a_renewal_that_was_under_way(lab) {
        let (store, record) = with_account(&lab).await;
        let accounts = store.oauth_accounts();
        lease(&store, ask(record.id, 1, "a", 0)).await;
        accounts.log_in_again(record.id, "console", &tokens(7)).await.unwrap();
        assert!(!accounts.renewed(record.id, 1, &tokens(2)).await.unwrap(), "too late");
        accounts.failed(record.id, 1, RenewalFailure::NeedsLogin("spent"), NOW).await.unwrap();
        assert_eq!(seen(&store).await, ("at-planted-7".to_owned(), 2, false));
        assert_eq!(accounts.get("me").await.unwrap().state.mode, "console");
        assert_eq!(lease(&store, ask(record.id, 1, "a", 1)).await, "newer 2 at-planted-7");
    }

    async fn only_a_refusal_takes_an_account_out_of_use(lab) {
        let (store, record) = with_account(&lab).await;
        let accounts = store.oauth_accounts();
        lease(&store, ask(record.id, 1, "a", 0)).await;
        let revision = store.revision().await.unwrap();
        accounts.failed(record.id, 1, RenewalFailure::Trouble(&"x".repeat(1_000)), NOW).await.unwrap();
        let trouble = accounts.get("me").await.unwrap().trouble.unwrap();
        assert_eq!((trouble.0.len(), trouble.1), (300, NOW));
        assert_eq!((seen(&store).await.2, store.revision().await.unwrap()), (false, revision));
        assert_eq!(lease(&store, ask(record.id, 1, "b", 1)).await, "yours 1 rt-planted-1", "the lease ended");
        accounts.failed(record.id, 1, RenewalFailure::NeedsLogin("invalid_grant"), NOW).await.unwrap();
        assert!(seen(&store).await.2 && store.revision().await.unwrap() > revision);
        assert_eq!(lease(&store, ask(record.id, 1, "b", 2)).await, "login invalid_grant");
        accounts.log_in_again(record.id, "max", &tokens(3)).await.unwrap();
        assert_eq!(seen(&store).await, ("at-planted-3".to_owned(), 2, false));
        assert_eq!(accounts.get("me").await.unwrap().trouble, None);
    }

    async fn the_configuration_file_leaves_accounts_alone(lab) {
        let store = lab.store().await;
        let file = |keys: &[(&str, &str)]| FileResources { upstreams: vec![upstream("claude", keys)], ..FileResources::default() };
        store.apply_file(file(&[("k", "sk-1")])).await.unwrap();
        store.oauth_accounts().add("claude", "me", "max", &tokens(1), Origin::Cli).await.unwrap();
        assert!(store.apply_file(file(&[("k", "sk-1")])).await.unwrap().is_empty());
        store.apply_file(file(&[])).await.unwrap();
        assert_eq!(seen(&store).await.0, "at-planted-1");
        let error = store.apply_file(file(&[("me", "sk-1")])).await.unwrap_err();
        assert!(matches!(error, StoreError::Exists { kind: Kind::Account, .. }), "{error}");
        // Out of service with its upstream, and back with it.
        store.apply_file(FileResources::default()).await.unwrap();
        assert!(store.oauth_accounts().list().await.unwrap().is_empty());
        store.apply_file(file(&[])).await.unwrap();
        assert_eq!(seen(&store).await.0, "at-planted-1");
    }

    async fn a_login_is_finished_once_and_in_time(lab) {
        let store = lab.store().await;
        let login = |name: &str| PendingLogin {
            name: name.to_owned(),
            mode: "max".to_owned(),
            upstream: "claude".to_owned(),
            again: false,
            verifier: Secret::new("verifier-planted"),
            expires_at: NOW + Duration::from_mins(10),
        };
        let state = Secret::new("state-planted");
        let logins = store.pending_logins();
        logins.begin(&state, &login("me"), NOW).await.unwrap();
        assert_eq!(logins.take(&Secret::new("another"), NOW).await.unwrap(), None);
        // On another replica, too.
        let other = lab.store().await;
        assert_eq!(other.pending_logins().take(&state, NOW).await.unwrap(), Some(login("me")));
        assert_eq!(logins.take(&state, NOW).await.unwrap(), None);
        logins.begin(&state, &login("late"), NOW).await.unwrap();
        assert_eq!(logins.take(&state, NOW + Duration::from_mins(10)).await.unwrap(), None);
        for number in 0..64 {
            logins.begin(&Secret::new(format!("s{number}")), &login("me"), NOW).await.unwrap();
        }
        let error = logins.begin(&Secret::new("one more"), &login("me"), NOW).await.unwrap_err();
        assert!(error.to_string().contains("64 logins are under way"), "{error}");
        logins.begin(&Secret::new("later"), &login("me"), NOW + Duration::from_mins(10)).await.unwrap();
    }

    async fn tokens_are_sealed_and_sealed_anew(lab) {
        let (store, record) = with_account(&lab).await;
        store.pending_logins().begin(&Secret::new("state-planted"), &PendingLogin {
            name: "x".to_owned(),
            mode: "max".to_owned(),
            upstream: "claude".to_owned(),
            again: false,
            verifier: Secret::new("verifier-planted"),
            expires_at: NOW,
        }, Timestamp(0)).await.unwrap();
        store.close().await;
        if lab.is_sqlite() {
            let bytes = std::fs::read(lab.file()).unwrap();
            assert!(!bytes.windows(8).any(|window| window == b"-planted"));
        } else {
            use sea_orm::ConnectionTrait as _;
            let raw = lab.raw().await;
            let all = "SELECT count(*) FROM (SELECT t::text AS x FROM oauth_accounts t UNION ALL \
                       SELECT t::text FROM oauth_logins t) r WHERE x LIKE '%-planted%'";
            let row = raw.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, all)).await.unwrap();
            assert_eq!(row.unwrap().try_get_by_index::<i64>(0).unwrap(), 0);
        }
        let both = StoreOptions { ring: KeyRing::parse(&format!("{OTHER_KEY},{KEY}")).unwrap(), ..lab.options() };
        let store = Store::open(&both).await.unwrap();
        assert_eq!(store.reseal_all().await.unwrap(), 3, "the key, the account and the hash key");
        store.close().await;
        let new = StoreOptions { ring: KeyRing::parse(OTHER_KEY).unwrap(), ..lab.options() };
        let store = Store::open(&new).await.unwrap();
        assert_eq!(seen(&store).await.0, "at-planted-1");
        assert_eq!(lease(&store, ask(record.id, 1, "a", 0)).await, "yours 1 rt-planted-1");
    }
    async fn credentials_of_an_older_schema_are_keys(lab) {
        let store = lab.store().await;
        store.upstreams().add(&upstream("claude", &[("k", "sk-one")]), Origin::Cli).await.unwrap();
        store.close().await;
        lab.age(3).await;
        let store = lab.store().await;
        let record = store.credentials().get("claude", "k").await.unwrap();
        assert_eq!(record.kind.name(), "key");
        store.oauth_accounts().add("claude", "me", "max", &tokens(1), Origin::Cli).await.unwrap();
        assert_eq!(seen(&store).await.0, "at-planted-1");
    }

    async fn a_new_login_puts_an_account_back_into_service(lab) {
        let (store, record) = with_account(&lab).await;
        let why = domain::snapshot::Deactivation { at: NOW, reason: "refused".to_owned() };
        assert!(store.credentials().deactivate(record.id, 0, &why).await.unwrap());
        store.oauth_accounts().log_in_again(record.id, "max", &tokens(2)).await.unwrap();
        let state = store.credentials().get("claude", "me").await.unwrap().state;
        assert_eq!((state.activation, state.deactivated), (1, None));
    }
}
