//! One probe: a small question to an upstream, and what its answer shows.

use std::sync::Arc;

use bytes::Bytes;
use dialects::{Asked, Question, Verdict};
use domain::declaration::Probe;
use domain::provider::AuthScheme;
use domain::snapshot::{Credential, Pool, Target, Upstream};
use domain::{Dialect, Failure, FailureClass, Operation, Surface};
use http::{HeaderMap, HeaderValue, Method, header};
use routing::REFUSALS_MAX;
use routing::cooldown::Rest;

use crate::dispatch::{Overflow, Source, collect};
use crate::gateway::Inner;
use crate::limits::{ERROR_BODY_MAX, PROBE_TIMEOUT};
use crate::upstream::auth;
use crate::upstream::confidence;
use crate::upstream::path;
use crate::upstream::request::Outgoing;

/// Tokens that a probing call may generate. Some models think before they say one, and refuse a bound below 16.
const TOKENS: u64 = 16;

/// Probes an upstream with one of its credentials, `turn` saying whose it is, and tells the board. One that its provider
/// told to wait is left in peace, and one that is out of service too.
pub(super) async fn run(gateway: &Arc<Inner>, upstream: &Arc<Upstream>, turn: usize, probe: Probe) {
    let began = gateway.clock.now();
    let standing = gateway.board.credentials(began);
    let left_alone = |credential: &&Arc<Credential>| {
        let status = standing.iter().find(|status| status.credential == credential.id);
        let refused = status.is_some_and(|status| status.refusals >= REFUSALS_MAX);
        let rests = matches!(status.and_then(|status| status.rest), Some(Rest::Named(_)));
        let account = credential.account.as_ref();
        let logged_out = account.is_some_and(|account| account.state.needs_login.is_some());
        let is_there = credential.pool != Pool::Nobody;
        !is_there || rests || refused || logged_out || credential.state.deactivated.is_some()
    };
    let able: Vec<_> = upstream
        .credentials
        .iter()
        .filter(|credential| !left_alone(credential))
        .collect();
    let Some(credential) = able.get(turn % able.len().max(1)) else {
        return;
    };
    let outcome = ask(gateway, upstream, credential, probe).await;
    let now = gateway.clock.now();
    match &outcome {
        Ok(()) => tracing::debug!(
            upstream = upstream.name,
            credential = credential.name,
            "a probe was answered"
        ),
        Err(failure) => tracing::warn!(
            upstream = upstream.name,
            credential = credential.name,
            class = failure.class.name(),
            status = failure.status,
            detail = failure.detail,
            "a probe failed"
        ),
    }
    let outcome = outcome.as_ref().map(|()| probe);
    gateway
        .board
        .probed(upstream, credential, outcome, began, now, &mut rand::rng());
}

/// Asks, within the limit of probes.
pub(super) async fn ask(
    gateway: &Arc<Inner>,
    upstream: &Arc<Upstream>,
    credential: &Arc<Credential>,
    probe: Probe,
) -> Result<(), Failure> {
    let limit = PROBE_TIMEOUT.min(upstream.timeouts.first_byte);
    let asked = async {
        match probe {
            Probe::Off => Ok(()),
            Probe::Models => models(gateway, upstream, credential).await,
            Probe::Call => {
                let snapshot = gateway.snapshot.load();
                match cheapest(snapshot.targets_at(upstream.id)) {
                    Some(target) => call(gateway, target, credential).await,
                    // Without a name that a model has there, no call can be made.
                    None => models(gateway, upstream, credential).await,
                }
            }
        }
    };
    let outcome = tokio::time::timeout(limit, asked).await;
    let outcome = outcome.unwrap_or_else(|_| {
        let detail = format!("no answer within {limit:?}");
        Err(Failure::new(FailureClass::Silence, detail))
    });
    outcome.map_err(|failure| Failure {
        detail: confidence::unspoken(&failure.detail, upstream, &gateway.account_tokens.spoken(credential)),
        ..failure
    })
}

/// The target whose answers cost least, among those that chat.
pub(super) fn cheapest<'a>(targets: impl Iterator<Item = &'a Target>) -> Option<&'a Target> {
    let price = |target: &&Target| {
        let price = target.price.as_ref();
        price.map_or(domain::Money::MAX, |price| price.ordinary.rates.output)
    };
    targets
        .filter(|target| chats(&target.upstream).is_some())
        .min_by_key(price)
}

/// Asks for the list of models. A provider that has none says so, which is an answer too.
async fn models(gateway: &Arc<Inner>, upstream: &Arc<Upstream>, credential: &Arc<Credential>) -> Result<(), Failure> {
    let dialect = chats(upstream).map_or(Dialect::OpenaiChat, |surface| surface.dialect);
    let (status, headers, body) = send(gateway, upstream, credential, Method::GET, "/models", Bytes::new()).await?;
    // Amazon signs for each path what may be asked; a list of models is not among what is asked here.
    let says_nothing = upstream.auth == AuthScheme::Aws && (400..500).contains(&status);
    if (200..300).contains(&status) || says_nothing {
        return Ok(());
    }
    match dialects::classify(dialect, status, &headers, &body, gateway.clock.now()) {
        Verdict::Caller => Ok(()),
        Verdict::Failure(failure) => Err(in_words(failure, &body)),
    }
}

/// Makes a call of a few tokens.
pub(super) async fn call(gateway: &Arc<Inner>, target: &Target, credential: &Arc<Credential>) -> Result<(), Failure> {
    let upstream = &target.upstream;
    let unable = |detail: String| Failure::new(FailureClass::Untranslatable, detail);
    let surface = chats(upstream).ok_or_else(|| unable("the upstream does not chat".to_owned()))?;
    let body = body(target, surface).map_err(unable)?;
    let template = upstream.surfaces.get(&surface).map_or("", String::as_str);
    let asked = path::Asked {
        served: surface,
        model: &target.model,
        method: None,
        stream: false,
    };
    let path = path::path(template, &asked);
    let (status, headers, answer) = send(gateway, upstream, credential, Method::POST, &path, body).await?;
    if !(200..300).contains(&status) {
        return match dialects::classify(surface.dialect, status, &headers, &answer, gateway.clock.now()) {
            Verdict::Failure(failure) => Err(in_words(failure, &answer)),
            // It answers; that it does not like this question concerns nobody else.
            Verdict::Caller => Ok(()),
        };
    }
    let read = dialects::read_answer(surface, &answer);
    read.map(|_| ())
        .map_err(|nonsense| Failure::new(FailureClass::Nonsense, nonsense.to_string()))
}

/// A refusal with the provider's words: nobody's prompt is in them, since the question was ours.
fn in_words(failure: Failure, body: &[u8]) -> Failure {
    match dialects::words_of(body, failure.class) {
        Some(detail) => Failure { detail, ..failure },
        None => failure,
    }
}

/// The question of a probing call in the upstream's own format, with its quirks.
fn body(target: &Target, surface: Surface) -> Result<Bytes, String> {
    let upstream = &target.upstream;
    let question = serde_json::json!({
        "model": target.model, "max_tokens": TOKENS, "messages": [{"role": "user", "content": "ping"}]
    });
    let asked = Asked {
        surface: Surface::new(Operation::Chat, Dialect::OpenaiChat),
        model: &target.model,
        stream: false,
        json_array: false,
        id: "probe",
        created: 0,
    };
    let told = dialects::Target {
        model: &target.model,
        max_output: target.max_output,
        thinks: target.thinks,
        include_usage: false,
        quirks: &upstream.provider.quirks,
    };
    let question = Question::read(&asked, question.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let encoded = question
        .encode(surface.dialect, &told)
        .map_err(|error| error.to_string())?;
    let template = upstream.surfaces.get(&surface).map_or("", String::as_str);
    Ok(crate::dispatch::completed(
        upstream,
        surface,
        &HeaderMap::new(),
        encoded.body,
        path::names_model(template, surface.dialect),
    ))
}

/// How an upstream chats, if it does.
fn chats(upstream: &Upstream) -> Option<Surface> {
    upstream
        .surfaces
        .keys()
        .copied()
        .find(|surface| surface.operation == Operation::Chat)
}

async fn send(
    gateway: &Arc<Inner>,
    upstream: &Arc<Upstream>,
    credential: &Arc<Credential>,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(u16, HeaderMap, Bytes), Failure> {
    let readied = auth::ready(gateway, upstream, credential).await?;
    let mut headers = HeaderMap::new();
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let request = Outgoing {
        upstream,
        credential,
        readied,
        method,
        path,
        query: None,
        client_headers: &headers,
        body,
    };
    let request = request
        .build()
        .map_err(|message| Failure::new(FailureClass::Connect, message))?;
    let (head, body) = gateway.client.send(upstream, request).await?.into_parts();
    let body = collect(Source::Upstream(body, None), ERROR_BODY_MAX, Overflow::Cut).await?;
    Ok((head.status.as_u16(), head.headers, body))
}
