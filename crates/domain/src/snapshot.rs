//! The data plane's view of the world: immutable, complete, cheap to read.
//!
//! A call takes one `Arc<Snapshot>` at its start and keeps it to its end, so that a change half-way through never
//! mixes two worlds. Everything a call needs to look up is a hash map hit; what changes with every call (balances,
//! counters, health) is not in here.
//!
//! [`build`](Snapshot::build) turns declared resources into it. A resource that is bad all the same (a row written by
//! an older version, a secret that cannot be unsealed) is set aside with a [`Problem`]; it never freezes the rest.

mod build;
mod fallbacks;
mod lookup;
mod resources;
mod routes;
mod stamp;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

pub use fallbacks::FALLBACKS_MAX;
pub use resources::{
    CredentialRow, CredentialState, Deactivation, KeyRow, ModelRow, Origin, Resources, UpstreamRow, UserRow,
};
pub use stamp::RouteStamp;

use crate::account::{Account, AccountMode};
use crate::declaration::{BreakerDecl, CooldownDecl, Defaults, HealthDecl, HedgeDecl, Percent, RefusalCause, Strategy};
use crate::limits::Limits;
use crate::provider::AuthScheme;
use crate::{
    Capabilities, CapabilitySet, CredentialId, Dialect, Forced, Groups, KeyId, NamePattern, Policy, Price, Provider,
    Secret, Surface, SystemPrompt, SystemPromptDecl, Timestamp, UpstreamId, UserId,
};

/// A key's HMAC-SHA-256.
pub type KeyHash = [u8; 32];

/// Everything that a call needs to know, at one revision.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows with every change.
    pub revision: u64,
    /// What resources do where they do not say.
    pub defaults: Defaults,
    /// What the operator puts into conversations where a model does not say.
    pub system_prompt: SystemPromptDecl,
    /// Where families of names belong.
    pub groups: Groups,
    /// For the whole call, where an upstream does not say; also for a request to arrive (`server.request_timeout`).
    pub request_timeout: Duration,
    /// By name, ascending.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Keys by their hash.
    pub keys: HashMap<KeyHash, Arc<Key>>,
    /// Users by id.
    pub users: HashMap<UserId, Arc<User>>,
    /// Kinds of accounts that may log in.
    pub account_modes: Vec<Arc<AccountMode>>,
    /// What was set aside, and why.
    pub problems: Vec<Problem>,
    /// Names in lower case → where they go. Holds every concrete name that is known beforehand.
    routes: HashMap<String, Arc<Route>>,
    /// Declared models whose name is a glob, most specific first.
    globs: Vec<(NamePattern, Arc<ModelRow>)>,
    /// The fallbacks that declared models name, by the model's names in lower case. Globs have theirs in `globs`.
    fallbacks: HashMap<String, Arc<ModelRow>>,
}

/// A resource that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which, as `upstream openai-main`.
    pub resource: String,
    /// What is wrong and the mend. No secrets.
    pub message: String,
}

/// A configured endpoint at a provider.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Identity.
    pub id: UpstreamId,
    /// Name.
    pub name: String,
    /// Its profile.
    pub provider: Arc<Provider>,
    /// Scheme, host, port and path prefix; no slash at the end.
    pub base_url: String,
    /// Who declared the address: the operator's own may be private.
    pub origin: Origin,
    /// How credentials are presented.
    pub auth: AuthScheme,
    /// What its provider leaves open, defaults filled in.
    pub variables: BTreeMap<String, String>,
    /// Path per surface.
    pub surfaces: BTreeMap<Surface, String>,
    /// Lower is tried first.
    pub priority: i32,
    /// Share under `weighted`.
    pub weight: u32,
    /// Among credentials.
    pub strategy: Strategy,
    /// Its credentials; one with an empty secret where none is needed.
    pub credentials: Vec<Arc<Credential>>,
    /// Whether any of them keeps its turn for more than one request.
    pub rotates_slowly: bool,
    /// The group that it belongs to.
    pub group: Option<String>,
    /// What an operator decided on its breaker.
    pub forced: Option<Forced>,
    /// Whether its declaration says what it serves. Otherwise its provider's preset and its group do.
    pub names_models: bool,
    /// What it serves.
    pub models: Vec<NamePattern>,
    /// Added to every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Added to every JSON body: field name and JSON text.
    pub params: Vec<(String, String)>,
    /// Of surfaces to whose bodies the provider wants more added: all that is added there.
    pub surface_params: BTreeMap<Surface, Vec<(String, String)>>,
    /// Proxy to reach it by.
    pub proxy: Option<String>,
    /// CA file instead of the public ones.
    pub ca: Option<PathBuf>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Breaker settings; `None`: off.
    pub breaker: Option<BreakerDecl>,
    /// Cooldown settings; `None`: off.
    pub cooldown: Option<CooldownDecl>,
    /// How it is looked after; `None`: not.
    pub health: Option<HealthDecl>,
}

impl Upstream {
    /// What is added to JSON bodies of a surface.
    pub fn params_of(&self, surface: Surface) -> &[(String, String)] {
        self.surface_params.get(&surface).unwrap_or(&self.params)
    }

    /// How this upstream is asked for what a client asks for as `asked`: in the same format where it offers that, else
    /// (for what can be translated) in the nearest one that it offers.
    pub fn serving(&self, asked: Surface) -> Option<Surface> {
        if self.surfaces.contains_key(&asked) {
            return Some(asked);
        }
        let nearest = self.provider.translate_to.into_iter().chain(asked.dialect.nearest());
        let mut others = nearest.map(|dialect| Surface::new(asked.operation, dialect));
        others.find(|other| asked.operation.is_translated() && self.surfaces.contains_key(other))
    }
}

impl Target {
    /// How this target is asked for what a client asks for as `asked`; `wants_chat`: the request says what of OpenAI's two
    /// formats only Chat Completions has. A model that thinks takes hardly any of that, and thinks better in Responses.
    pub fn serving(&self, asked: Surface, wants_chat: bool) -> Option<Surface> {
        let served = self.upstream.serving(asked)?;
        let chat = Surface::new(asked.operation, Dialect::OpenaiChat);
        let is_retold = served != asked && served.dialect == Dialect::OpenaiResponses;
        if wants_chat && is_retold && self.thinks != Some(true) && self.upstream.surfaces.contains_key(&chat) {
            return Some(chat);
        }
        Some(served)
    }
}

/// Time limits of one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To an open connection, TLS included.
    pub connect: Duration,
    /// To the first content.
    pub first_byte: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
    /// For the whole call.
    pub total: Duration,
    /// For a whole realtime session.
    pub session: Duration,
}

/// A secret of an upstream.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Identity.
    pub id: CredentialId,
    /// Name within the upstream.
    pub name: String,
    /// The API key, or the access token of an account; empty where the upstream needs none.
    pub secret: Secret,
    /// Share under `weighted`.
    pub weight: u32,
    /// Whose keys use it.
    pub pool: Pool,
    /// Requests per day (UTC) at most.
    pub daily_limit: Option<u64>,
    /// Requests in a row before the next one's turn; at least 1.
    pub rotate_after: u32,
    /// From which share of an allowance on it is left alone.
    pub pause_at: Option<Percent>,
    /// What became of it.
    pub state: CredentialState,
    /// Of one that logs in instead of having a key.
    pub account: Option<Box<Account>>,
}

impl Credential {
    /// One of which nothing is said: for keys without a profile, and without limits.
    pub fn new(id: CredentialId, name: impl Into<String>, secret: Secret) -> Self {
        Self {
            id,
            name: name.into(),
            secret,
            weight: 1,
            pool: Pool::Common,
            daily_limit: None,
            rotate_after: 1,
            pause_at: None,
            state: CredentialState::default(),
            account: None,
        }
    }
}

/// Which keys use a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pool {
    /// All: where no secret is needed, there is nothing to keep apart.
    Everyone,
    /// Those that are bound to no profile.
    Common,
    /// Those of one profile, named in lower case.
    Profile(Arc<str>),
    /// None: a secret is needed, and there is none.
    Nobody,
}

impl Pool {
    /// Whether a key of this profile (in lower case) uses it.
    pub fn serves(&self, profile: Option<&str>) -> bool {
        match (self, profile) {
            (Self::Everyone, _) | (Self::Common, None) => true,
            (Self::Profile(own), Some(profile)) => **own == *profile,
            (Self::Common, Some(_)) | (Self::Profile(_), None) | (Self::Nobody, _) => false,
        }
    }

    /// The profile's name, where there is one.
    pub fn profile(&self) -> Option<&str> {
        match self {
            Self::Profile(name) => Some(name),
            Self::Everyone | Self::Common | Self::Nobody => None,
        }
    }
}

/// What a client authenticates with.
#[derive(Clone, Debug)]
pub struct Key {
    /// Identity.
    pub id: KeyId,
    /// Name.
    pub name: String,
    /// Its owner.
    pub user: Arc<User>,
    /// Models it may use; none named: all.
    pub models: Vec<NamePattern>,
    /// Limits, defaults filled in.
    pub limits: Limits,
    /// From when it is refused.
    pub expires: Option<Timestamp>,
    /// Networks it may be used from; none named: all.
    pub addresses: Vec<IpNet>,
    /// Whether it may use provider paths beyond the metered operations.
    pub passthrough: bool,
    /// The profile whose credentials it uses, in lower case.
    pub profile: Option<Arc<str>>,
}

impl Key {
    /// The built-in key that is `security.master_key`, of the built-in user, without any limit.
    pub fn master() -> Self {
        const NAME: &str = "master";
        let user = User {
            id: UserId::MASTER,
            name: NAME.to_owned(),
            policy: Policy::Unlimited,
        };
        Self {
            id: KeyId::MASTER,
            name: NAME.to_owned(),
            user: Arc::new(user),
            models: Vec::new(),
            limits: Limits::default(),
            expires: None,
            addresses: Vec::new(),
            passthrough: true,
            profile: None,
        }
    }
}

/// Who owns keys and money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Identity.
    pub id: UserId,
    /// Name.
    pub name: String,
    /// What happens when the money ends.
    pub policy: Policy,
}

/// Where a model name goes.
#[derive(Debug)]
pub struct Route {
    /// The name as declared or listed.
    pub model: String,
    /// Among targets of the same priority.
    pub strategy: Strategy,
    /// Where it is served; at least one. Behind its own stand those of its fallbacks.
    pub targets: Vec<Target>,
    /// The declared price, which goes before the catalog's.
    pub price: Option<Arc<Price>>,
    /// What the operator puts into its conversations.
    pub system_prompt: Option<SystemPrompt>,
    /// Models to turn to when this one does not answer, in order. Those of a fallback follow, each model once.
    pub fallbacks: Vec<Fallback>,
    /// Refusals that make a call turn to them too.
    pub fallback_on: Vec<RefusalCause>,
    /// Whether its streams that break off are gone on with elsewhere.
    pub recovery: bool,
    /// When its calls are sent to a second candidate too.
    pub hedge: Option<HedgeDecl>,
    /// The group that its name belongs to, where that decided its targets.
    pub group: Option<String>,
    /// What its targets, those of fallbacks too, are known not to take. Where that is nothing, nobody looks what a request
    /// needs.
    pub bounds: RouteBounds,
    /// Which route it is. Whoever changes one after it was used gives it another.
    pub stamp: RouteStamp,
}

/// Another model to turn to.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// Its name as declared or listed.
    pub model: String,
    /// Among its targets of the same priority.
    pub strategy: Strategy,
    /// Its declared price.
    pub price: Option<Arc<Price>>,
}

/// What the targets of a route are known not to take, taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteBounds {
    /// What one of them or another cannot do.
    pub lacking: CapabilitySet,
    /// The smallest context window that is known; 0: none is.
    pub context: u64,
}

impl RouteBounds {
    /// Those of these targets.
    pub fn of(targets: &[Target]) -> Self {
        let lacking = targets.iter().map(|target| target.capabilities.cannot);
        let windows = targets.iter().map(|target| target.context);
        Self {
            lacking: lacking.fold(CapabilitySet::EMPTY, CapabilitySet::or),
            context: windows.filter(|context| *context != 0).min().unwrap_or(0),
        }
    }
}

/// A model at an upstream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where.
    pub upstream: Arc<Upstream>,
    /// The model's name there.
    pub model: Arc<str>,
    /// Share under `weighted`.
    pub weight: u32,
    /// Lower is tried first.
    pub priority: i32,
    /// 0: a target of the model itself; else of its first fallback, the second, and so on. Goes before the priority.
    pub tier: u8,
    /// Tells it from other targets, the same after a restart and in every replica.
    pub identity: u64,
    /// Declared price, else the catalog's for `model`; `None`: not known.
    pub price: Option<Arc<Price>>,
    /// Context window in tokens; 0 where not known.
    pub context: u64,
    /// Largest answer in tokens; 0 where not known.
    pub max_output: u64,
    /// Whether the model thinks before it answers; `None`: the catalog does not know it.
    pub thinks: Option<bool>,
    /// What else it is known to be able to do, and not.
    pub capabilities: Capabilities,
}
