//! What costs the operator money and cannot be priced here: videos, training, runs of assistants, and whatever is not known.
//!
//! Policy `hard` promises that nobody spends what they do not have. A model without a price is refused under it, and so is a
//! path that makes a model work without a receipt. What is known to make nothing work is let through; everything else is
//! taken to cost something, for providers add paths faster than anybody lists them. Only the operator knows better: a server
//! that is declared free costs nothing, and a path that the list of a provider of his own names is his to give away. Neither a
//! preset's list nor a `*` that happens to cover it is such a decision.
//!
//! What providers ask for keeping things (files, vector stores) is not meant: it is small, and falls due when nobody asks.

use domain::catalog;
use domain::snapshot::{Key, Upstream};
use domain::{Fault, FaultKind, Money, Policy};
use http::{HeaderMap, Method};

use super::matches;
use crate::admit::take_hold;
use crate::gateway::Inner;
use crate::inbound::loosely_decoded;

/// Headers that some servers take a request's method from (Google's: <https://cloud.google.com/apis/docs/system-parameters>).
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Gemini's methods behind a colon at which no model works (google-genai 3.6: `files.py`, `operations.py`, `batches.py`,
/// `models.py`).
const IDLE_METHODS: [&str; 6] = [
    "cancel",
    "register",
    "download",
    "fetchPredictOperation",
    "countTokens",
    "computeTokens",
];

/// Refuses under policy `hard` what may cost money at this upstream without anybody being billed. As for a model without a
/// price, `soft` asks only whether anything is left.
pub(crate) async fn check(
    gateway: &Inner,
    upstream: &Upstream,
    (method, headers): (&Method, &HeaderMap),
    path: &str,
    key: &Key,
) -> Result<(), Fault> {
    if key.user.policy == Policy::Unlimited || upstream.provider.free {
        return Ok(());
    }
    let is_overridden = OVERRIDES.iter().any(|name| headers.contains_key(*name));
    let acts = if is_overridden { &Method::POST } else { method };
    let read = loosely_decoded(path);
    let Some(work) = work(acts, &read) else {
        return Ok(());
    };
    if key.user.policy == Policy::Soft {
        let account = gateway.accounts.get(key.user.id);
        return take_hold(&account, Policy::Soft, Money::from_nanos(1)).await.map(drop);
    }
    if is_given_away(upstream, path, work) {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::Unpriced,
        format!(
            "`{method} {path}` may cost money (`{work}`) for which this gateway knows no price, and the account has policy `hard`. \
             The operator can name the path in the `passthrough` list of a provider of his own, or give the account policy \
             `unlimited`"
        ),
    ))
}

/// The word for what a provider is asked to work at; `None`: it only reads or keeps.
fn work<'a>(method: &Method, path: &'a str) -> Option<&'a str> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE) {
        return None;
    }
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let last = segments.last().copied().unwrap_or_default();
    if let Some((_, called)) = last.split_once(':') {
        let is_idle = IDLE_METHODS.contains(&called);
        return (!is_idle).then(|| &last[last.len() - called.len() - 1..]);
    }
    if is_kept(&segments) {
        return None;
    }
    // The part of a collection that works, else the collection.
    let parts = ["runs", "jobs", "graders"];
    let part = segments.iter().find(|segment| parts.contains(segment));
    part.or(segments.iter().find(|segment| !segment.is_empty())).copied()
}

/// Whether something is only kept there, changed or stopped (openai 3.57 and anthropic 2.14, `resources`). A batch is made at
/// other paths than these: it is billed.
fn is_kept(segments: &[&str]) -> bool {
    const WHOLLY: [&str; 8] = [
        "files",
        "uploads",
        "assistants",
        "vector_stores",
        "conversations",
        "skills",
        "fileSearchStores",
        "corpora",
    ];
    match segments {
        [first, ..] if WHOLLY.contains(first) => true,
        ["threads", id] => id.starts_with("thread_"),
        ["batches" | "responses", _, "cancel"]
        | ["messages", "batches", _, "cancel"]
        | ["threads"]
        | ["threads", _, "messages", ..]
        | ["threads", _, "runs", _, "cancel"]
        | ["containers", _, "files", ..]
        | ["fine_tuning", "jobs", _, "cancel" | "pause"]
        | ["fine_tuning", "checkpoints", ..]
        | ["audio", "voices" | "voice_consents", ..] => true,
        _ => false,
    }
}

/// Whether the operator said so: in a list of his own, in so many words.
fn is_given_away(upstream: &Upstream, path: &str, work: &str) -> bool {
    let list = &upstream.provider.passthrough;
    let is_preset = catalog::providers().iter().any(|preset| preset.passthrough == *list);
    let names = |pattern: &str| {
        let stems = pattern.split(['/', '*']);
        pattern.contains(work) && (work.starts_with(':') || stems.into_iter().any(|stem| stem == work))
    };
    !is_preset
        && list
            .iter()
            .any(|pattern| matches(pattern, path) && names(pattern.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_model_work_is_known_and_so_is_what_does_not() {
        for (path, what) in [
            ("/models/veo-3:predictLongRunning", ":predictLongRunning"),
            ("/models/imagen-4:predict", ":predict"),
            ("/models/aqa:generateAnswer", ":generateAnswer"),
            ("/tunedModels/t1:generateContent", ":generateContent"),
            ("/models/x:predict:cancel", ":predict:cancel"),
            ("/tunedModels", "tunedModels"),
            ("/cachedContents", "cachedContents"),
            ("/fileSearchStores/s1:importFile", ":importFile"),
            ("/videos", "videos"),
            ("/videos/v1/remix", "videos"),
            ("/fine_tuning/jobs", "jobs"),
            ("/fine_tuning/jobs/j1/resume", "jobs"),
            ("/fine_tuning/alpha/graders/run", "graders"),
            ("/threads/t1/runs", "runs"),
            ("/threads/t1/runs/r1/submit_tool_outputs", "runs"),
            ("/evals/e1/runs", "runs"),
            ("/containers", "containers"),
            ("/complete", "complete"),
            // Metered where it is written as usual.
            ("/responses/compact", "responses"),
            ("/openai/v1/chat/completions", "openai"),
            ("//batches", "batches"),
            ("/batches/;x", "batches"),
            ("/threads/t1/Runs", "threads"),
            ("/threads/Runs", "threads"),
            ("/threads/runs", "runs"),
            ("/Batches", "Batches"),
            ("/batches ", "batches "),
        ] {
            assert_eq!(work(&Method::POST, path), Some(what), "{path}");
        }
        for path in [
            "/files",
            "/files:register",
            "/uploads/u1/parts",
            "/batches/b1/cancel",
            "/batches/b1:cancel",
            "/messages/batches/b1/cancel",
            "/responses/r1/cancel",
            "/threads",
            "/threads/thread_1",
            "/threads/t1/messages",
            "/threads/t1/runs/r1/cancel",
            "/vector_stores/v1/search",
            "/containers/c1/files",
            "/fine_tuning/jobs/j1/cancel",
            "/models/veo-3/operations/o1:cancel",
            "/models/x:countTokens",
            "/fileSearchStores",
        ] {
            assert_eq!(work(&Method::POST, path), None, "{path}");
        }
        for path in ["/videos/v1/content", "/threads/t1/runs/r1", "/files/f1:download"] {
            assert_eq!(work(&Method::GET, path), None, "{path}");
        }
        assert_eq!(work(&Method::DELETE, "/models/ft:gpt-4o:acme::id"), None);
    }
}
