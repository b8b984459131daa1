//! From declared resources to a [`Snapshot`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{
    Credential, Key, KeyHash, Pool, Problem, Route, RouteBounds, RouteStamp, Snapshot, Target, Timeouts, Upstream, User,
};
use crate::account::{Account, AccountMode, AccountState};
use crate::declaration::{
    BreakerDecl, CooldownDecl, CredentialTerms, Defaults, HealthDecl, KeyTerms, ModelDecl, Period, Probe, RefusalCause,
    Switch, TargetDecl, TimeoutsDecl, UpstreamDecl,
};
use crate::names::{folded, same_name};
use crate::provider::AuthScheme;
use crate::{
    Capabilities, CredentialId, Dialect, Forced, Groups, KeyId, NamePattern, Operation, Policy, Price, Provider,
    Secret, SystemPrompt, SystemPromptDecl, Timestamp, UpstreamId, UserId, catalog, system_prompt,
};

/// Names of one upstream that are listed and looked up without work, at most: a glob over a provider's whole catalog
/// stays below this.
const LISTED_MAX: usize = 10_000;

/// How long a realtime session may last where nothing is said: as long as `OpenAI` lets one last
/// (<https://developers.openai.com/api/docs/guides/realtime-conversations>).
const SESSION_DEFAULT: Duration = Duration::from_hours(1);

/// Who declared a resource. Decides which addresses an upstream may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The configuration file or the command line: the operator's own.
    Operator,
    /// API or dashboard: its addresses must be public, or inside the allow-list.
    Remote,
}

/// An upstream with its identity.
#[derive(Clone, Debug)]
pub struct UpstreamRow {
    /// Identity.
    pub id: UpstreamId,
    /// Who declared it.
    pub origin: Origin,
    /// The declaration; its `credentials` are not read, `credentials` of this row are.
    pub decl: UpstreamDecl,
    /// Unsealed.
    pub credentials: Vec<CredentialRow>,
    /// What an operator decided on its breaker.
    pub forced: Option<Forced>,
}

/// A credential, unsealed.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// Identity.
    pub id: CredentialId,
    /// Name within the upstream.
    pub name: String,
    /// The API key, or the access token of an account.
    pub secret: Secret,
    /// Share under `weighted`.
    pub weight: u32,
    /// How it may be used.
    pub terms: CredentialTerms,
    /// What became of it.
    pub state: CredentialState,
    /// Of one that logs in instead of having a key.
    pub account: Option<AccountState>,
}

/// What became of a credential: kept in the database, beside what was declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialState {
    /// Grows each time that it is put back into service. What was found out about it before is void.
    pub activation: i64,
    /// Out of service, until an operator puts it back.
    pub deactivated: Option<Deactivation>,
    /// Since when its account has no money, as far as is known.
    pub out_of_credit: Option<Timestamp>,
}

/// Why a credential is out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deactivation {
    /// Since when.
    pub at: Timestamp,
    /// In words for people, without secrets.
    pub reason: String,
}

/// A declared model. Inline targets have been made into upstreams before (see [`ModelDecl`]): a target whose
/// `upstream` is absent is a problem here.
#[derive(Clone, Debug)]
pub struct ModelRow {
    /// The declaration.
    pub decl: ModelDecl,
}

/// A user.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// Identity.
    pub id: UserId,
    /// Name.
    pub name: String,
    /// `None`: as `defaults.policy`.
    pub policy: Option<Policy>,
}

/// A key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Identity.
    pub id: KeyId,
    /// Name.
    pub name: String,
    /// Owner.
    pub user: UserId,
    /// HMAC of the key.
    pub hash: KeyHash,
    /// What it may do.
    pub terms: KeyTerms,
    /// `terms.expires`, read.
    pub expires: Option<Timestamp>,
}

/// Everything declared, at one revision.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Grows with every change.
    pub revision: u64,
    /// Process-wide defaults.
    pub defaults: Defaults,
    /// What the operator puts into conversations.
    pub system_prompt: SystemPromptDecl,
    /// Where families of names belong.
    pub groups: Groups,
    /// For the whole call, where an upstream does not say (`server.request_timeout`).
    pub request_timeout: Option<Duration>,
    /// Provider presets of the operator's own; they go before the built-in ones.
    pub providers: Vec<Arc<Provider>>,
    /// Kinds of accounts that may log in.
    pub account_modes: Vec<Arc<AccountMode>>,
    /// Upstreams.
    pub upstreams: Vec<UpstreamRow>,
    /// Models.
    pub models: Vec<ModelRow>,
    /// Users.
    pub users: Vec<UserRow>,
    /// Keys.
    pub keys: Vec<KeyRow>,
    /// What was set aside before.
    pub problems: Vec<Problem>,
}

impl Snapshot {
    pub(super) const fn process(&self) -> Process<'_> {
        Process {
            defaults: &self.defaults,
            system_prompt: &self.system_prompt,
        }
    }

    /// Builds the view of these resources. Never fails: what is bad is set aside in `problems`.
    pub fn build(resources: Resources) -> Self {
        let mut snapshot = Self {
            revision: resources.revision,
            defaults: resources.defaults,
            system_prompt: resources.system_prompt,
            groups: resources.groups,
            request_timeout: resources.request_timeout.unwrap_or(Duration::from_mins(10)),
            account_modes: resources.account_modes,
            problems: resources.problems,
            ..Self::default()
        };
        for row in resources.upstreams {
            let name = row.decl.name.clone();
            match upstream(row, &resources.providers, &snapshot) {
                Ok(upstream) => {
                    snapshot.problems.extend(unknown_modes(&upstream));
                    let upstream = snapshot.with_models_of_group(upstream);
                    snapshot.upstreams.push(Arc::new(upstream));
                }
                Err(message) => snapshot.problem("upstream", &name, message),
            }
        }
        snapshot.upstreams.sort_by(|a, b| a.name.cmp(&b.name));
        snapshot.add_implicit_routes();
        snapshot.add_models(resources.models);
        snapshot.add_people(resources.users, resources.keys);
        snapshot
    }

    /// An upstream serves, beside what it names itself, what belongs to its group, unless it names exactly what it serves.
    fn with_models_of_group(&self, mut upstream: Upstream) -> Upstream {
        if let (Some(group), false) = (&upstream.group, upstream.names_models) {
            upstream.models.extend_from_slice(self.groups.models(group));
        }
        upstream
    }

    pub(super) fn problem(&mut self, kind: &str, name: &str, message: String) {
        self.problems.push(Problem {
            resource: format!("{kind} {name}"),
            message,
        });
    }

    /// A route for each name that an upstream is known to serve: what it names itself and what its provider's catalog
    /// lists. It leads to every upstream that serves the name, also to those that only have a glob for it.
    fn add_implicit_routes(&mut self) {
        let mut listed: HashMap<String, String> = HashMap::new();
        for model in self.upstreams.iter().flat_map(|upstream| known_models(upstream)) {
            listed.entry(folded(&model).into_owned()).or_insert(model);
        }
        for (lower, name) in listed {
            let group = self.groups.of(&name);
            let serving = self
                .upstreams
                .iter()
                .filter(|upstream| upstream.is_in(group))
                .filter_map(|upstream| {
                    let pattern = upstream.models.iter().find(|pattern| pattern.matches(&name))?;
                    // Its own spelling, where it has one.
                    let spelled = if pattern.is_glob() { &name } else { pattern.as_str() };
                    Some((Arc::clone(upstream), spelled))
                });
            let targets: Vec<_> = serving.collect();
            if !targets.is_empty() {
                let route = implicit_route(&name, &targets, &self.process()).of_group(group);
                self.routes.insert(lower, Arc::new(route));
            }
        }
    }

    fn add_models(&mut self, rows: Vec<ModelRow>) {
        for row in rows {
            let pattern = NamePattern::new(row.decl.name.as_str());
            let row = Arc::new(row);
            if pattern.is_glob() {
                self.globs.push((pattern, row));
                continue;
            }
            let (route, problems) = declared_route(&row, &row.decl.name, &self.upstreams, &self.process());
            for message in problems {
                self.problem("model", &row.decl.name, message);
            }
            let Some(route) = route.map(Arc::new) else { continue };
            for name in row.decl.names() {
                self.routes.insert(folded(name).into_owned(), Arc::clone(&route));
                if !row.decl.fallbacks.is_empty() {
                    self.fallbacks.insert(folded(name).into_owned(), Arc::clone(&row));
                }
            }
        }
        self.globs
            .sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.as_str().len()));
        self.add_fallbacks();
    }

    fn add_people(&mut self, users: Vec<UserRow>, keys: Vec<KeyRow>) {
        for row in users {
            let policy = row.policy.unwrap_or(self.defaults.policy);
            self.users.insert(
                row.id,
                Arc::new(User {
                    id: row.id,
                    name: row.name,
                    policy,
                }),
            );
        }
        for row in keys {
            let Some(user) = self.users.get(&row.user).cloned() else {
                self.problem(
                    "key",
                    &row.name,
                    "its user does not exist; remove the key or give it a user".to_owned(),
                );
                continue;
            };
            let key = Key {
                id: row.id,
                name: row.name,
                user,
                models: row.terms.models,
                limits: row.terms.limits.or(self.defaults.limits),
                expires: row.expires,
                addresses: row.terms.addresses,
                passthrough: row.terms.passthrough,
                profile: row.terms.profile.as_deref().map(profile_name),
            };
            self.keys.insert(row.hash, Arc::new(key));
        }
    }
}

/// Concrete names that an upstream serves, as far as they are known.
fn known_models(upstream: &Upstream) -> Vec<String> {
    let named = upstream
        .models
        .iter()
        .filter(|pattern| !pattern.is_glob())
        .map(|pattern| pattern.as_str().to_owned());
    let listed = catalog::models()
        .of_provider(upstream.provider.catalog_name())
        .filter(|facts| {
            upstream
                .models
                .iter()
                .any(|pattern| pattern.is_glob() && pattern.matches(&facts.name))
        })
        .map(|facts| facts.name.clone());
    named.chain(listed).take(LISTED_MAX).collect()
}

/// What a route takes from the process where nothing nearer says.
#[derive(Debug)]
pub(super) struct Process<'a> {
    pub(super) defaults: &'a Defaults,
    pub(super) system_prompt: &'a SystemPromptDecl,
}

/// The route of a name that only upstreams know.
pub(super) fn implicit_route(name: &str, targets: &[(Arc<Upstream>, &str)], process: &Process<'_>) -> Route {
    let targets: Vec<Target> = targets
        .iter()
        .map(|(upstream, model)| target(upstream, (*model).into(), None))
        .collect();
    Route {
        model: name.to_owned(),
        strategy: process.defaults.strategy,
        bounds: RouteBounds::of(&targets),
        stamp: RouteStamp::default(),
        targets,
        price: None,
        system_prompt: SystemPrompt::in_force(process.system_prompt, None),
        fallbacks: Vec::new(),
        fallback_on: Vec::new(),
        recovery: false,
        hedge: None,
        group: None,
    }
}

/// The route of a declared model asked for as `asked`, and what is wrong with its targets.
pub(super) fn declared_route(
    row: &ModelRow,
    asked: &str,
    upstreams: &[Arc<Upstream>],
    process: &Process<'_>,
) -> (Option<Route>, Vec<String>) {
    let mut problems = Vec::new();
    let own_prompt = row.decl.system_prompt.as_ref();
    if let Some(excess) = own_prompt.and_then(|prompt| system_prompt::excess(&prompt.text)) {
        problems.push(format!("its system prompt is cut: it has {excess} characters too many"));
    }
    let price = declared_price(&row.decl);
    let mut targets = Vec::new();
    for decl in &row.decl.targets {
        match declared_target(&row.decl, decl, asked, upstreams) {
            Ok(mut target) => {
                target.price = price.clone().or(target.price);
                targets.push(target);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if targets.is_empty() {
        problems.push("no target is usable; name an upstream that exists".to_owned());
        return (None, problems);
    }
    let strategy = row.decl.strategy.unwrap_or(process.defaults.strategy);
    (
        Some(Route {
            model: asked.to_owned(),
            strategy,
            bounds: RouteBounds::of(&targets),
            stamp: RouteStamp::default(),
            targets,
            price,
            system_prompt: SystemPrompt::in_force(process.system_prompt, own_prompt),
            fallbacks: Vec::new(),
            fallback_on: row
                .decl
                .fallback_on
                .clone()
                .unwrap_or_else(|| RefusalCause::DEFAULT.to_vec()),
            recovery: row.decl.recovery,
            hedge: row.decl.hedge,
            group: None,
        }),
        problems,
    )
}

fn declared_price(decl: &ModelDecl) -> Option<Arc<Price>> {
    if decl.free {
        return Some(Arc::new(Price::default()));
    }
    decl.price.as_ref().map(|price| Arc::new(price.price()))
}

fn declared_target(
    model: &ModelDecl,
    decl: &TargetDecl,
    asked: &str,
    upstreams: &[Arc<Upstream>],
) -> Result<Target, String> {
    let name = decl.upstream.as_deref().ok_or("a target names no upstream")?;
    let upstream = upstreams
        .iter()
        .find(|upstream| same_name(&upstream.name, name))
        .ok_or_else(|| format!("target: there is no upstream `{name}`"))?;
    let mut target = target(upstream, decl.model.as_deref().unwrap_or(asked).into(), decl.weight);
    target.priority = decl.priority.unwrap_or(target.priority);
    target.context = model.context.unwrap_or(target.context);
    target.max_output = model.max_output.unwrap_or(target.max_output);
    for declared in [&model.capabilities, &decl.capabilities] {
        target.thinks = declared.thinking.or(target.thinks);
        target.capabilities = declared.over(target.capabilities);
    }
    Ok(target)
}

fn target(upstream: &Arc<Upstream>, model: Arc<str>, weight: Option<u32>) -> Target {
    let facts = catalog::models().find(upstream.provider.catalog_name(), &model);
    let free = upstream.provider.free.then(|| Arc::new(Price::default()));
    Target {
        upstream: Arc::clone(upstream),
        weight: weight.unwrap_or(upstream.weight),
        priority: upstream.priority,
        tier: 0,
        identity: identity(upstream.id, &model),
        price: free.or_else(|| facts.and_then(|facts| facts.price.clone()).map(Arc::new)),
        context: facts.map_or(0, |facts| facts.context),
        max_output: facts.map_or(0, |facts| facts.max_output),
        thinks: facts.map(|facts| facts.thinks),
        capabilities: facts.map_or_else(Capabilities::default, |facts| facts.capabilities),
        model,
    }
}

/// FNV-1a over the model's name, begun with the upstream: any hash would do that never changes.
fn identity(upstream: UpstreamId, model: &str) -> u64 {
    let begin = 0xcbf2_9ce4_8422_2325 ^ upstream.0.cast_unsigned();
    model.bytes().fold(begin, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

fn upstream(row: UpstreamRow, presets: &[Arc<Provider>], snapshot: &Snapshot) -> Result<Upstream, String> {
    let (decl, defaults) = (row.decl, &snapshot.defaults);
    let provider = profile(&decl, presets)?;
    let variables = variables(&provider, &decl.variables)?;
    let written = decl.base_url.as_deref().unwrap_or(&provider.base_url);
    let base_url = filled(written, &variables).trim_end_matches('/').to_owned();
    if base_url.is_empty() && !provider.builtin {
        return Err("it has no address; add `base_url`".to_owned());
    }
    let mut credentials: Vec<_> = row
        .credentials
        .into_iter()
        .map(|row| credential(row, &snapshot.account_modes))
        .collect();
    if credentials.is_empty() {
        // At its provider's own address it would be refused, as whoever asked; a server of one's own may need none.
        let is_own = decl.base_url.as_ref().is_some_and(|url| *url != provider.base_url);
        let wants_one = !is_own && provider.auth != AuthScheme::None && !provider.free && !provider.builtin;
        credentials.push(no_credential(
            row.id,
            if wants_one { Pool::Nobody } else { Pool::Everyone },
        ));
    }
    let rotates_slowly = credentials.iter().any(|credential| credential.rotate_after > 1);
    let params = texts(&decl.params);
    // The upstream's own come first: of two of one name the first counts.
    let surface_params = provider
        .params
        .iter()
        .map(|(surface, more)| (*surface, [params.clone(), texts(more)].concat()))
        .collect();
    let surfaces = provider
        .surfaces
        .iter()
        .map(|(surface, path)| (*surface, filled(path, &variables)))
        .collect();
    Ok(Upstream {
        id: row.id,
        name: decl.name,
        base_url,
        origin: row.origin,
        auth: provider.auth,
        variables,
        surfaces,
        priority: decl.priority,
        weight: decl.weight,
        strategy: decl.strategy.unwrap_or(defaults.strategy),
        credentials,
        rotates_slowly,
        group: decl.group,
        forced: row.forced,
        names_models: decl.models.is_some(),
        models: decl.models.unwrap_or_else(|| provider.models.clone()),
        headers: headers(decl.headers)?,
        params,
        surface_params,
        proxy: decl.proxy,
        ca: decl.ca.map(PathBuf::from),
        timeouts: timeouts(decl.timeouts, defaults, snapshot.request_timeout),
        breaker: switched(decl.breaker, BreakerDecl::default()),
        cooldown: switched(decl.cooldown, CooldownDecl::default()),
        health: health(decl.health),
        provider,
    })
}

/// Unlike a breaker, nothing is probed where nothing is said.
fn health(declared: Option<Switch<HealthDecl>>) -> Option<HealthDecl> {
    match declared {
        Some(Switch::On(health)) if health.probe != Probe::Off => Some(health),
        Some(Switch::On(_) | Switch::Off(_)) | None => None,
    }
}

/// What a provider leaves open, as this upstream fills it in.
fn variables(
    provider: &Provider,
    own: &std::collections::BTreeMap<String, String>,
) -> Result<std::collections::BTreeMap<String, String>, String> {
    if let Some(problem) = provider.variables_problem(own) {
        return Err(problem);
    }
    let mut all = provider.variables.clone();
    all.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(all)
}

fn filled(template: &str, variables: &std::collections::BTreeMap<String, String>) -> String {
    variables.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

fn texts(params: &std::collections::BTreeMap<String, serde_json::Value>) -> Vec<(String, String)> {
    params
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect()
}

/// The profile that a declaration names; without a name, the one that speaks its dialect.
fn profile(decl: &UpstreamDecl, presets: &[Arc<Provider>]) -> Result<Arc<Provider>, String> {
    let find = |name: &str| {
        let own = presets.iter().find(|provider| provider.name.eq_ignore_ascii_case(name));
        own.or_else(|| catalog::provider(name)).cloned()
    };
    let by_dialect = match decl.dialect {
        Some(Dialect::AnthropicMessages) => "anthropic",
        Some(Dialect::Gemini) => "gemini",
        Some(Dialect::OpenaiChat | Dialect::OpenaiResponses) => "openai-compatible",
        Some(Dialect::BedrockConverse) => "bedrock",
        None => "",
    };
    let named = decl.provider.as_deref();
    let name = named.or(Some(by_dialect)).filter(|name| !name.is_empty());
    let name = name.ok_or("it names neither a provider nor a dialect; add `provider`")?;
    let found = find(name).ok_or_else(|| format!("there is no provider `{name}`"))?;
    let speaks = |dialect| found.surfaces.keys().any(|surface| surface.dialect == dialect);
    match decl.dialect {
        None => Ok(found),
        // A preset that does not speak the dialect asked for: its address with the surfaces of one that does.
        Some(dialect) if named.is_some() && !speaks(dialect) => {
            let speaker = find(by_dialect).ok_or("no provider speaks this dialect")?;
            let spoken = Provider {
                base_url: found.base_url.clone(),
                name: found.name.clone(),
                ..(*speaker).clone()
            };
            Ok(Arc::new(in_dialect(spoken, dialect)))
        }
        Some(dialect) => Ok(Arc::new(in_dialect((*found).clone(), dialect))),
    }
}

/// Who names a dialect means conversations in that one: what a preset speaks besides, this server need not.
fn in_dialect(mut provider: Provider, dialect: Dialect) -> Provider {
    provider
        .surfaces
        .retain(|surface, _| surface.operation != Operation::Chat || surface.dialect == dialect);
    provider
}

fn credential(row: CredentialRow, modes: &[Arc<AccountMode>]) -> Arc<Credential> {
    let account = row.account.map(|state| {
        let mode = modes.iter().find(|mode| same_name(&mode.name, &state.mode)).cloned();
        Box::new(Account { mode, state })
    });
    Arc::new(Credential {
        id: row.id,
        name: row.name,
        secret: row.secret,
        weight: row.weight,
        pool: row
            .terms
            .profile
            .as_deref()
            .map_or(Pool::Common, |name| Pool::Profile(profile_name(name))),
        daily_limit: row.terms.daily_limit,
        rotate_after: row.terms.rotate_after.unwrap_or(1).max(1),
        pause_at: row.terms.pause_at,
        state: row.state,
        account,
    })
}

/// Profiles are the same whatever their case.
fn profile_name(name: &str) -> Arc<str> {
    folded(name).into()
}

/// Accounts whose mode the configuration no longer has.
fn unknown_modes(upstream: &Upstream) -> Vec<Problem> {
    let accounts = upstream.credentials.iter().filter_map(|credential| {
        let account = credential.account.as_ref().filter(|account| account.mode.is_none())?;
        Some(Problem {
            resource: format!("account {}/{}", upstream.name, credential.name),
            message: format!(
                "its mode `{}` is not known, so nothing may be asked of it; add it to `accounts`, or remove the account",
                account.state.mode
            ),
        })
    });
    accounts.collect()
}

/// Stands for "no secret needed", or "needed, and not there", so that routing always has something to choose or to say.
/// Ids of rows are positive; the negative of the upstream's cannot meet one.
fn no_credential(upstream: UpstreamId, pool: Pool) -> Arc<Credential> {
    Arc::new(Credential {
        pool,
        ..Credential::new(CredentialId(-upstream.0), "none", Secret::new(""))
    })
}

fn headers(declared: std::collections::BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    declared
        .into_iter()
        .map(|(name, value)| {
            let header = HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is not a header name"))?;
            let mut value =
                HeaderValue::try_from(value).map_err(|_| format!("the value of header `{name}` cannot be sent"))?;
            value.set_sensitive(true);
            Ok((header, value))
        })
        .collect()
}

fn timeouts(own: TimeoutsDecl, defaults: &Defaults, request_timeout: Duration) -> Timeouts {
    let pick = |own: Option<Period>, default: Duration| own.map_or(default, |period| period.0);
    Timeouts {
        connect: pick(own.connect, defaults.connect_timeout.0),
        first_byte: pick(own.first_byte, defaults.first_byte_timeout.0),
        idle: pick(own.idle, defaults.idle_timeout.0),
        total: pick(own.total, request_timeout),
        session: pick(own.session, SESSION_DEFAULT),
    }
}

fn switched<T: Copy>(switch: Option<Switch<T>>, default: T) -> Option<T> {
    match switch {
        None => Some(default),
        Some(Switch::Off(_)) => None,
        Some(Switch::On(settings)) => Some(settings),
    }
}

#[cfg(test)]
mod tests;
