//! Which token counts, when it is renewed, and what ends a rest.

use domain::account::{AccountMode, AccountState};
use domain::snapshot::{CredentialRow, Origin, Resources, UpstreamRow};
use domain::{Snapshot, UpstreamId};

use super::*;

const ISSUED: Timestamp = Timestamp::from_secs(10_000);

/// An account whose token of this generation lives so long.
fn credential(token: &str, generation: i64, life: Duration) -> Arc<Credential> {
    let state = AccountState {
        mode: "max".to_owned(),
        generation,
        issued_at: ISSUED,
        expires_at: ISSUED + life,
        needs_login: None,
    };
    let row = CredentialRow {
        id: CredentialId(7),
        name: "me".to_owned(),
        secret: Secret::new(token),
        weight: 1,
        terms: domain::declaration::CredentialTerms::default(),
        state: domain::snapshot::CredentialState::default(),
        account: Some(state),
    };
    let upstream = UpstreamRow {
        id: UpstreamId(1),
        origin: Origin::Operator,
        decl: serde_json::from_str(r#"{"name": "claude", "provider": "anthropic"}"#).unwrap(),
        credentials: vec![row],
        forced: None,
    };
    let resources = Resources {
        upstreams: vec![upstream],
        account_modes: AccountMode::all(&[]).0,
        ..Resources::default()
    };
    Arc::clone(&Snapshot::build(resources).upstreams[0].credentials[0])
}

fn slot(tokens: &AccountTokens, credential: &Arc<Credential>) -> Arc<Slot> {
    tokens.slot(credential, credential.account.as_deref().unwrap())
}

fn secs(secs: u64) -> Timestamp {
    ISSUED + Duration::from_secs(secs)
}

#[test]
fn a_token_is_renewed_before_its_end_and_sent_until_shortly_before() {
    let tokens = AccountTokens::default();
    for (life, fresh, good) in [(28_800, 28_500, 28_780), (100, 75, 95)] {
        let credential = credential("at-1", life, Duration::from_secs(life.unsigned_abs()));
        let slot = slot(&tokens, &credential);
        assert!(!slot.is_due(secs(fresh - 1)) && slot.is_due(secs(fresh)), "{life}");
        assert!(
            slot.good(secs(good - 1)).is_some() && slot.good(secs(good)).is_none(),
            "{life}"
        );
        tokens.slots.store(Arc::default());
    }
}

#[test]
fn the_newest_generation_counts_whichever_way_it_comes() {
    let tokens = AccountTokens::default();
    let life = Duration::from_hours(1);
    let (old, new) = (credential("at-1", 1, life), credential("at-3", 3, life));
    let header = |slot: &Slot| slot.good(ISSUED).unwrap().header.clone();
    let slot = slot(&tokens, &old);
    assert_eq!(header(&slot), "Bearer at-1");
    let renewed = store::AccountTokens {
        access: Secret::new("at-2"),
        refresh: None,
        client_id: "app".to_owned(),
        issued_at: ISSUED,
        expires_at: ISSUED + life,
    };
    slot.take(Held::renewed(&old, &renewed, 2));
    assert_eq!(header(&slot), "Bearer at-2");
    assert_eq!(
        tokens.spoken(&old).secret.expose(),
        "at-2",
        "what goes out is what is kept from clients"
    );
    self::slot(&tokens, &old);
    assert_eq!(header(&slot), "Bearer at-2", "a snapshot of before takes nothing back");
    self::slot(&tokens, &new);
    assert_eq!(header(&slot), "Bearer at-3");
    assert!(!format!("{slot:?}").contains("at-3"));
}

#[test]
fn a_new_login_ends_the_rest_of_the_old_tokens() {
    let tokens = AccountTokens::default();
    let life = Duration::from_hours(1);
    let slot = slot(&tokens, &credential("at-1", 1, life));
    slot.rest.store(Some(Arc::new(Rest {
        failure: Failure::new(FailureClass::Auth, "log in"),
        until: Timestamp(i64::MAX),
        times: 1,
        generation: 1,
    })));
    assert!(slot.resting(ISSUED + life).is_some());
    self::slot(&tokens, &credential("at-2", 2, life));
    assert!(slot.resting(ISSUED + life).is_none());
}

#[test]
fn a_refused_token_is_doubted_unless_it_is_new() {
    let tokens = AccountTokens::default();
    let credential = credential("at-1", 1, Duration::from_hours(1));
    let slot = slot(&tokens, &credential);
    tokens.doubt(&credential, secs(10));
    assert!(slot.good(secs(10)).is_some());
    tokens.doubt(&credential, secs(40));
    assert!(slot.good(secs(40)).is_none() && slot.is_due(secs(40)));
    assert_eq!(slot.generation(), 1, "it is this one that is renewed");
}
