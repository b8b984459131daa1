//! An upstream, from its declaration, its provider's profile and the defaults of the process: the nearest one that says
//! something counts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::credentials::{credential, no_credential};
use super::provider::profile;
use crate::Provider;
use crate::declaration::{BreakerDecl, CooldownDecl, Defaults, HealthDecl, Period, Probe, Switch, TimeoutsDecl};
use crate::provider::AuthScheme;
use crate::snapshot::{Pool, Snapshot, Timeouts, Upstream, UpstreamRow};

/// How long a realtime session may last where nothing is said: as long as `OpenAI` lets one last
/// (<https://developers.openai.com/api/docs/guides/realtime-conversations>).
const SESSION_DEFAULT: Duration = Duration::from_hours(1);

pub(super) fn upstream(row: UpstreamRow, presets: &[Arc<Provider>], snapshot: &Snapshot) -> Result<Upstream, String> {
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
