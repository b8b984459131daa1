//! Logging an account in, for the command line and for the API alike.
//!
//! Two halves with a person in between. The first says where to log in; what proves that the second belongs to it is kept
//! in the database. The second spends the code and keeps the account. Nothing of the account exists before that: a login
//! that nobody finishes leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use admin::LoginFailure;
use domain::account::AccountMode;
use domain::declaration::{Strategy, UpstreamDecl};
use domain::snapshot::{Resources, Upstream, UpstreamRow};
use domain::{Secret, Snapshot, Timestamp};
use gateway::oauth::{Grant, Login, LoginError, Pasted, TokenClient};
use gateway::{AddressRules, SystemResolver};
use store::{AccountRecord, Origin, PendingLogin, Store, StoreError};

use crate::config::check::name_problem;
use crate::config::{Config, upstream_of};

/// How long a person may take: providers' codes live about as long.
const LOGIN_MAX: Duration = Duration::from_mins(10);

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// `None`: the only one that has a client id.
    pub(crate) mode: Option<String>,
    /// `None`: the only one of the mode's provider; made where there is none.
    pub(crate) upstream: Option<String>,
    pub(crate) what: What,
}

/// Whether the account is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    New,
    Again,
}

/// A login that was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) url: String,
    pub(crate) state: Secret,
    pub(crate) expires_at: Timestamp,
}

/// Whose login it is.
struct Whose<'a> {
    mode: &'a AccountMode,
    upstream: String,
    name: String,
}

/// Makes logins.
#[derive(Debug)]
pub(crate) struct Logins {
    store: Store,
    client: TokenClient,
    /// Upstreams of the configuration, which the database may not know yet.
    declared: Vec<UpstreamDecl>,
    /// Whose upstreams are made.
    origin: Origin,
}

type Result<T> = std::result::Result<T, LoginFailure>;

impl Logins {
    pub(crate) fn new(store: Store, config: &Config, origin: Origin) -> Self {
        let rules = AddressRules {
            allow: config.security.allow_upstream_cidrs.clone(),
        };
        Self {
            store,
            client: TokenClient::new(rules, Arc::new(SystemResolver)),
            declared: config
                .declared
                .upstreams
                .clone()
                .unwrap_or_else(|| config.found.clone()),
            origin,
        }
    }

    /// Begins a login.
    pub(crate) async fn begin(&self, snapshot: &Snapshot, wanted: Wanted) -> Result<Begun> {
        let Whose { mode, upstream, name } = match wanted.what {
            What::New => self.for_a_new_one(snapshot, &wanted).await?,
            What::Again => self.for_one_that_exists(snapshot, &wanted).await?,
        };
        let login = Login::begin(mode).map_err(refused)?;
        let now = now();
        let pending = PendingLogin {
            name,
            mode: mode.name.clone(),
            upstream,
            again: wanted.what == What::Again,
            verifier: login.verifier,
            expires_at: now + LOGIN_MAX,
        };
        self.store.pending_logins().begin(&login.state, &pending, now).await?;
        Ok(Begun {
            url: login.url,
            state: login.state,
            expires_at: pending.expires_at,
        })
    }

    /// Spends the code of a login and keeps the account.
    pub(crate) async fn complete(&self, snapshot: &Snapshot, pasted: &Pasted) -> Result<AccountRecord> {
        let pending = self.store.pending_logins().take(&pasted.state, now()).await?;
        let pending = pending.ok_or_else(|| {
            let why = "no login is under way with this state: it was finished already, is older than 10 minutes, or is of \
                       another gateway; begin again";
            LoginFailure::Refused(why.to_owned())
        })?;
        let mode = mode(snapshot, &pending.mode)?;
        let upstream = self.upstream(snapshot, &pending.upstream, mode).await?;
        let grant = Grant::Code {
            code: &pasted.code,
            state: &pasted.state,
            verifier: &pending.verifier,
        };
        let tokens = self
            .client
            .tokens(&upstream, mode, grant, now())
            .await
            .map_err(refused)?;
        let accounts = self.store.oauth_accounts();
        if pending.again {
            let name = format!("{}/{}", pending.upstream, pending.name);
            let record = accounts.get(&name).await?;
            return Ok(accounts.log_in_again(record.id, &mode.name, &tokens).await?);
        }
        self.make_upstream(&pending.upstream, mode).await?;
        let added = accounts.add(&pending.upstream, &pending.name, &mode.name, &tokens, self.origin);
        Ok(added.await?)
    }

    /// An account that does not exist yet.
    async fn for_a_new_one<'a>(&self, snapshot: &'a Snapshot, wanted: &Wanted) -> Result<Whose<'a>> {
        let mode = chosen_mode(snapshot, wanted.mode.as_deref())?;
        let upstream = self.chosen_upstream(mode, wanted.upstream.as_deref()).await?;
        let taken = match self.store.credentials().get(&upstream, &wanted.name).await {
            Ok(taken) => Some(taken.kind),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let name = &wanted.name;
        if let Some(problem) = name_problem(name) {
            return Err(LoginFailure::Refused(format!("the account's `name` {problem}")));
        }
        if name.contains('/') {
            let problem = "the account's `name` has a `/`, which separates upstream and account; choose another";
            return Err(LoginFailure::Refused(problem.to_owned()));
        }
        match taken {
            None => Ok(Whose {
                mode,
                upstream,
                name: name.clone(),
            }),
            Some(store::CredentialKind::Account) => Err(LoginFailure::Refused(format!(
                "account `{name}` exists already; log it in anew (`tollgate account login {name}`, by API `again: true`), \
                 or choose another name"
            ))),
            Some(store::CredentialKind::Key) => Err(LoginFailure::Refused(format!(
                "upstream `{upstream}` has a credential `{name}` already; choose another name"
            ))),
        }
    }

    /// An account that exists.
    async fn for_one_that_exists<'a>(&self, snapshot: &'a Snapshot, wanted: &Wanted) -> Result<Whose<'a>> {
        let name = match &wanted.upstream {
            Some(upstream) => format!("{upstream}/{}", wanted.name),
            None => wanted.name.clone(),
        };
        let record = self.store.oauth_accounts().get(&name).await?;
        let mode = mode(snapshot, wanted.mode.as_deref().unwrap_or(&record.state.mode))?;
        Ok(Whose {
            mode,
            upstream: record.upstream_name,
            name: record.name,
        })
    }

    /// The name of the upstream that the account shall belong to. One that does not exist yet is made with the account.
    async fn chosen_upstream(&self, mode: &AccountMode, named: Option<&str>) -> Result<String> {
        let named = named.or(mode.upstream.as_deref());
        let fits = |decl: &UpstreamDecl| match (named, &decl.provider) {
            (Some(name), _) => decl.name.eq_ignore_ascii_case(name),
            (None, Some(provider)) => provider.eq_ignore_ascii_case(&mode.provider),
            (None, None) => false,
        };
        let all = self.store.upstreams().list().await?;
        let unknown = |decl: &&UpstreamDecl| !all.iter().any(|one| one.name.eq_ignore_ascii_case(&decl.name));
        if let Some(decl) = self.declared.iter().filter(unknown).find(|decl| fits(decl)) {
            return Err(LoginFailure::Refused(format!(
                "upstream `{}` is in the configuration and not in force yet; start `tollgate serve` once, and try again",
                decl.name
            )));
        }
        if let Some(name) = named {
            return Ok(self.store.upstreams().get(name).await?.name);
        }
        let fitting = all.into_iter().filter(|one| fits(&one.decl));
        let mut fitting: Vec<String> = fitting.map(|one| one.name).collect();
        match (fitting.pop(), fitting.is_empty()) {
            (None, _) => Ok(mode.provider.clone()),
            (Some(only), true) => Ok(only),
            (Some(last), false) => Err(LoginFailure::Refused(format!(
                "several upstreams are of provider `{}`: {}, {last}; say which (`--upstream`, or `upstream` of the account \
                 mode)",
                mode.provider,
                fitting.join(", ")
            ))),
        }
    }

    async fn make_upstream(&self, name: &str, mode: &AccountMode) -> Result<()> {
        match self.store.upstreams().get(name).await {
            Err(StoreError::NotFound { .. }) => {
                let mut decl = upstream_of(&mode.provider);
                name.clone_into(&mut decl.name);
                // A plan counts over hours: who was used least in them goes first.
                decl.strategy = Some(Strategy::LeastUsed);
                self.store.upstreams().add(&decl, self.origin).await?;
                Ok(())
            }
            found => Ok(found.map(|_| ())?),
        }
    }

    /// By which way the provider is reached: as the upstream says, or by the usual one where it does not exist yet.
    async fn upstream(&self, snapshot: &Snapshot, name: &str, mode: &AccountMode) -> Result<Arc<Upstream>> {
        if let Some(upstream) = snapshot.upstream(name) {
            return Ok(Arc::clone(upstream));
        }
        let (decl, origin) = match self.store.upstreams().get(name).await {
            Ok(record) => (record.decl, record.origin),
            Err(StoreError::NotFound { .. }) => (upstream_of(&mode.provider), self.origin),
            Err(error) => return Err(error.into()),
        };
        let row = UpstreamRow {
            id: domain::UpstreamId(0),
            origin: origin.into(),
            decl,
            credentials: Vec::new(),
            forced: None,
        };
        let built = Snapshot::build(Resources {
            upstreams: vec![row],
            ..Resources::default()
        });
        let problem = built.problems.first().map(|problem| problem.message.clone());
        let upstream = built.upstreams.into_iter().next();
        upstream.ok_or_else(|| LoginFailure::Refused(problem.unwrap_or_default()))
    }
}

fn refused(LoginError(message): LoginError) -> LoginFailure {
    LoginFailure::Refused(message)
}

/// The mode that is named, or the only one that can be meant.
fn chosen_mode<'a>(snapshot: &'a Snapshot, named: Option<&str>) -> Result<&'a AccountMode> {
    if let Some(name) = named {
        return mode(snapshot, name);
    }
    let mut ready = snapshot.account_modes.iter().filter(|mode| mode.client_id.is_some());
    match (ready.next(), ready.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            let name = snapshot
                .account_modes
                .first()
                .map_or("console", |mode| mode.name.as_str());
            Err(LoginFailure::Refused(
                mode(snapshot, name)?.client_id().err().unwrap_or_default(),
            ))
        }
        (Some(_), Some(_)) => Err(LoginFailure::Refused(format!(
            "which mode is not said; there are {} (`--mode`)",
            mode_names(snapshot)
        ))),
    }
}

fn mode<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a AccountMode> {
    let found = snapshot
        .account_modes
        .iter()
        .find(|mode| mode.name.eq_ignore_ascii_case(name));
    found.map(|mode| &**mode).ok_or_else(|| {
        let names = mode_names(snapshot);
        LoginFailure::Refused(format!(
            "there is no account mode `{name}`; there are {names}, and your own in `accounts`"
        ))
    })
}

fn mode_names(snapshot: &Snapshot) -> String {
    let names: Vec<&str> = snapshot.account_modes.iter().map(|mode| mode.name.as_str()).collect();
    names.join(", ")
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// Logins as the API makes them, with what calls see now.
pub(crate) fn for_api(logins: Logins, gateway: &gateway::Gateway) -> admin::Logins {
    let logins = Arc::new(logins);
    let (one, other) = ((Arc::clone(&logins), gateway.clone()), (logins, gateway.clone()));
    admin::Logins {
        begin: Arc::new(move |asked| {
            let (logins, snapshot) = (Arc::clone(&one.0), one.1.snapshot());
            Box::pin(async move {
                let wanted = Wanted {
                    name: asked.name,
                    mode: asked.mode,
                    upstream: asked.upstream,
                    what: if asked.again { What::Again } else { What::New },
                };
                let begun = logins.begin(&snapshot, wanted).await?;
                Ok(admin::BegunLogin {
                    url: begun.url,
                    state: begun.state.expose().to_owned(),
                    expires_at: crate::cli::output::moment(begun.expires_at),
                })
            })
        }),
        complete: Arc::new(move |brought| {
            let (logins, snapshot) = (Arc::clone(&other.0), other.1.snapshot());
            Box::pin(async move { logins.complete(&snapshot, &pasted(&brought)?).await })
        }),
    }
}

/// What came with the state apart, or together, which must then agree.
fn pasted(brought: &admin::CompleteLogin) -> Result<Pasted> {
    let code = &brought.code;
    let text = match &brought.state {
        Some(state) if !code.contains(['#', '?']) => format!("{}#{state}", code.trim()),
        _ => code.clone(),
    };
    let pasted = Pasted::read(&text).map_err(refused)?;
    let agrees = brought
        .state
        .as_ref()
        .is_none_or(|state| state == pasted.state.expose());
    if agrees {
        Ok(pasted)
    } else {
        Err(LoginFailure::Refused(
            "the code is of another login than `state`; begin again".to_owned(),
        ))
    }
}
