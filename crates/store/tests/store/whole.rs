//! The database as a whole: opening, schema, keys of the vault, copies.

use std::os::unix::fs::PermissionsExt as _;

use domain::declaration::Defaults;
use store::{KeyRing, Origin, Store, StoreError, StoreOptions};

use crate::lab::{Books, KEY, Lab, OTHER_KEY, assert_sound, on_both, receipts, user};
use crate::resources::upstream;

on_both! {
    async fn a_database_is_opened_by_many_at_once_and_made_once(lab) {
        let open = || async { Store::open(&lab.options()).await.unwrap() };
        let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
        let hash = a.hasher().hash("x");
        for store in [&b, &c, &d] {
            assert_eq!(store.hasher().hash("x"), hash);
        }
        user(&a, "alice", 0).await;
        assert_eq!(d.users().list().await.unwrap().len(), 1);
        a.close().await;
        assert_eq!(lab.store().await.hasher().hash("x"), hash, "it survives");
    }

    async fn a_schema_that_is_not_ours_is_refused(lab) {
        let old = StoreOptions { migrate: false, ..lab.options() };
        let error = Store::open(&old).await.unwrap_err();
        assert!(matches!(error, StoreError::Schema(_)) && error.to_string().contains("tollgate migrate"), "{error}");
        lab.store().await.close().await;
        Store::open(&old).await.unwrap().close().await;
        lab.exec("UPDATE meta SET schema = 999").await;
        for migrate in [true, false] {
            let error = Store::open(&StoreOptions { migrate, ..lab.options() }).await.unwrap_err();
            assert!(matches!(error, StoreError::Schema(_)) && error.to_string().contains("newer"), "{error}");
        }
    }

    async fn a_look_leaves_an_older_schema_as_it_is(lab) {
        lab.store().await.close().await;
        let versions = Lab::VERSIONS;
        let look = StoreOptions { migrate: false, ..lab.options() };
        for version in 1..versions {
            lab.age(version).await;
            for _ in 0..2 {
                let error = Store::open_existing(&look).await.unwrap_err();
                let told = format!("has schema {version}, and this program needs {versions}");
                assert!(matches!(error, StoreError::Schema(_)) && error.to_string().contains(&told), "{error}");
            }
            // Who may, brings it up to date.
            Store::open_existing(&lab.options()).await.unwrap().close().await;
            Store::open_existing(&look).await.unwrap().close().await;
        }
    }

    async fn a_look_makes_no_database(lab) {
        for _ in 0..2 {
            let error = Store::open_existing(&lab.options()).await.unwrap_err();
            let url = lab.options().url;
            assert!(matches!(&error, StoreError::NoDatabase(place) if url.contains(place.as_str())), "{error}");
            assert!(!error.to_string().contains('@'), "neither user nor password: {error}");
        }
        assert!(!lab.is_sqlite() || !lab.file().exists());
        lab.store().await.close().await;
        Store::open_existing(&lab.options()).await.unwrap().close().await;
    }

    async fn another_encryption_key_is_told_by_name(lab) {
        lab.store().await.close().await;
        let wrong = StoreOptions { ring: KeyRing::parse(OTHER_KEY).unwrap(), ..lab.options() };
        let error = Store::open(&wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Vault(_)) && error.to_string().contains("ENCRYPTION_KEY"), "{error}");
    }

    async fn keys_of_the_vault_are_rotated(lab) {
        let store = lab.store().await;
        store.upstreams().add(&upstream("main", &[("k", "sk-secret")]), Origin::Cli).await.unwrap();
        let hash = store.hasher().hash("x");
        store.close().await;
        let both = StoreOptions { ring: KeyRing::parse(&format!("{OTHER_KEY},{KEY}")).unwrap(), ..lab.options() };
        let store = Store::open(&both).await.unwrap();
        assert_eq!(store.reseal_all().await.unwrap(), 2, "the credential and the hash key");
        assert_eq!(store.reseal_all().await.unwrap(), 0);
        store.close().await;
        let new = StoreOptions { ring: KeyRing::parse(OTHER_KEY).unwrap(), ..lab.options() };
        let store = Store::open(&new).await.unwrap();
        assert_eq!(store.hasher().hash("x"), hash, "client keys stay valid");
        let resources = store.resources(Defaults::default()).await.unwrap();
        assert_eq!(resources.upstreams[0].credentials[0].secret.expose(), "sk-secret");
    }

    async fn no_secret_is_in_the_database(lab) {
        let store = lab.store().await;
        user(&store, "alice", 0).await;
        store.upstreams().add(&upstream("main", &[("k", "sk-planted-credential")]), Origin::Cli).await.unwrap();
        store.models().add(&crate::resources::inline_model("m", "sk-planted-inline"), Origin::Cli).await.unwrap();
        let key = store::NewKey {
            name: "k".to_owned(),
            user: "alice".to_owned(),
            key: Some(domain::Secret::new("sk-planted-client")),
            terms: domain::declaration::KeyTerms::default(),
        };
        store.keys().add(key, Origin::Cli).await.unwrap();
        store.close().await;
        if lab.is_sqlite() {
            let bytes = std::fs::read(lab.file()).unwrap();
            assert!(bytes.len() > 10_000 && !bytes.windows(10).any(|window| window == b"sk-planted"));
        } else {
            use sea_orm::ConnectionTrait as _;
            let raw = lab.raw().await;
            let all = "SELECT count(*) FROM (SELECT t::text AS x FROM upstreams t UNION ALL SELECT t::text FROM credentials t \
                       UNION ALL SELECT t::text FROM models t UNION ALL SELECT t::text FROM keys t) r WHERE x LIKE '%sk-planted%'";
            let row = raw.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, all)).await.unwrap();
            assert_eq!(row.unwrap().try_get_by_index::<i64>(0).unwrap(), 0);
        }
    }

    async fn a_backup_is_whole_or_says_how_to_make_one(lab) {
        let mut books = Books::open(&lab).await;
        let alice = user(&books.store, "alice", 1).await;
        books.append(&receipts(alice, 10, 3));
        books.settler.drain().await.unwrap();
        let to = lab.dir.path().join("it's a copy.db");
        if !lab.is_sqlite() {
            let error = books.store.backup(&to).await.unwrap_err();
            assert!(error.to_string().contains("pg_dump"), "{error}");
            return;
        }
        let backup = books.store.backup(&to).await.unwrap();
        assert_eq!(backup.bytes, std::fs::metadata(&to).unwrap().len());
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(books.store.backup(&to).await.is_err(), "a backup is never overwritten");
        let copy = StoreOptions { url: format!("sqlite://{}", to.display()), ..lab.options() };
        let copy = Store::open(&copy).await.unwrap();
        assert_eq!(assert_sound(&copy).await.receipts, 10);
    }
}

#[tokio::test]
async fn the_file_is_nobody_elses_to_read() {
    let lab = Lab::sqlite();
    let store = lab.store().await;
    user(&store, "alice", 0).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&lab.file()), 0o600);
    assert_eq!(mode(&lab.dir.path().join("data/tollgate.db-wal")), 0o600);
    assert_eq!(mode(lab.file().parent().unwrap()), 0o700);
    store.close().await;
    std::fs::set_permissions(lab.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    lab.store().await.close().await;
    assert_eq!(
        mode(&lab.file()),
        0o600,
        "one that was open to others is closed to them"
    );
}

#[tokio::test]
async fn addresses_that_cannot_be_are_told() {
    let lab = Lab::sqlite();
    for url in ["mysql://x", "sqlite::memory:", "sqlite://", "data.db"] {
        let options = StoreOptions {
            url: url.to_owned(),
            ..lab.options()
        };
        let error = Store::open(&options).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{url}: {error}");
    }
    let options = StoreOptions {
        url: "postgres://user:planted-password@host:99999999/db".to_owned(),
        ..lab.options()
    };
    let error = Store::open(&options).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_)), "{error}");
    assert!(
        !format!("{error} {error:?}").contains("planted-password"),
        "the error repeats the password: {error}"
    );
}
