//! What a request asks for, read from its method, path and headers alone.
//!
//! All compatibility prefixes end here: behind this file there is one path per thing. The dialect is known before
//! anything can go wrong, so that every refusal, even of an unknown key, is in the caller's format.

use domain::{Dialect, Fault, FaultKind, Operation, Surface};
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::recall::responses::Wish;
use crate::uploads::UploadPath;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// A call to a model.
    Call(CallPath),
    /// A realtime session, as a WebSocket.
    Realtime(CallPath),
    /// The list of models.
    Models(Dialect),
    /// One model of the list.
    ModelCard(Dialect, String),
    /// Something is wanted of a response that was made before: what, and of which.
    Response(Wish, String),
    /// A provider path beyond the metered operations, without version prefix, in the provider's family.
    Passthrough(Dialect, String),
    /// The beginning or a piece of an upload to Google.
    Upload(UploadPath),
    /// `/health`, `/livez`
    Live,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// Everything else is the control plane's.
    Control,
}

/// The path of a call to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallPath {
    /// What is asked and in which format.
    pub(crate) surface: Surface,
    /// Gemini: the model, which stands in the path.
    pub(crate) model: Option<String>,
    /// Gemini: the method after the colon.
    pub(crate) method: Option<GeminiMethod>,
}

/// A Gemini method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GeminiMethod {
    /// Its name in the path.
    pub(crate) name: &'static str,
    /// Whether it streams.
    pub(crate) streams: bool,
    operation: Operation,
}

const GEMINI_METHODS: [GeminiMethod; 5] = [
    GeminiMethod {
        name: "generateContent",
        streams: false,
        operation: Operation::Chat,
    },
    GeminiMethod {
        name: "streamGenerateContent",
        streams: true,
        operation: Operation::Chat,
    },
    GeminiMethod {
        name: "countTokens",
        streams: false,
        operation: Operation::CountTokens,
    },
    GeminiMethod {
        name: "embedContent",
        streams: false,
        operation: Operation::Embeddings,
    },
    GeminiMethod {
        name: "batchEmbedContents",
        streams: false,
        operation: Operation::Embeddings,
    },
];

const CALLS: [(&str, Surface); 17] = [
    ("/chat/completions", Surface::new(Operation::Chat, Dialect::OpenaiChat)),
    (
        "/completions",
        Surface::new(Operation::Completions, Dialect::OpenaiChat),
    ),
    ("/embeddings", Surface::new(Operation::Embeddings, Dialect::OpenaiChat)),
    ("/responses", Surface::new(Operation::Chat, Dialect::OpenaiResponses)),
    (
        "/responses/input_tokens",
        Surface::new(Operation::CountTokens, Dialect::OpenaiResponses),
    ),
    (
        "/responses/compact",
        Surface::new(Operation::Compact, Dialect::OpenaiResponses),
    ),
    ("/messages", Surface::new(Operation::Chat, Dialect::AnthropicMessages)),
    (
        "/messages/count_tokens",
        Surface::new(Operation::CountTokens, Dialect::AnthropicMessages),
    ),
    ("/images/generations", task(Operation::ImageGenerations)),
    ("/images/edits", task(Operation::ImageEdits)),
    ("/images/variations", task(Operation::ImageVariations)),
    ("/audio/speech", task(Operation::Speech)),
    ("/audio/transcriptions", task(Operation::Transcriptions)),
    ("/audio/translations", task(Operation::Translations)),
    ("/moderations", task(Operation::Moderations)),
    ("/rerank", task(Operation::Rerank)),
    // Cohere's SDK asks there, below the base URL that it is given.
    ("/v2/rerank", task(Operation::Rerank)),
];

/// What is asked at a path of the API, below its version.
pub(crate) fn surface_at(path: &str) -> Option<Surface> {
    CALLS
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, surface)| *surface)
}

const fn task(operation: Operation) -> Surface {
    Surface::new(operation, Dialect::OpenaiChat)
}

impl Inbound {
    /// Reads a request's head. The dialect is that of the caller, also where the result is a fault.
    pub(crate) fn read(head: &Parts) -> (Dialect, Result<Self, Fault>) {
        let path = without_prefix(head.uri.path());
        // Azure's older path; there the model is a deployment.
        let path = if path == "/openai/realtime" {
            "/v1/realtime"
        } else {
            path
        };
        if let Some(upload) = UploadPath::read(path) {
            return (Dialect::Gemini, Ok(Self::Upload(upload)));
        }
        let (version, rest) = version(path);
        let Some(rest) = rest else {
            return (Dialect::OpenaiChat, Ok(operation_path(path)));
        };
        if rest == "/realtime" {
            return (Dialect::OpenaiChat, realtime(head.uri.query(), &head.method));
        }
        let dialect = dialect(version, rest, &head.headers);
        (dialect, versioned(dialect, rest, &head.method))
    }
}

/// The path without the compatibility prefixes: `/api/proxy/v1/…`, `/api/v1/…` and `/openai/v1/…` are `/v1/…`.
fn without_prefix(path: &str) -> &str {
    // Cohere's only path of its own, where the base URL has no version.
    if path == "/v2/rerank" {
        return "/v1/v2/rerank";
    }
    for prefix in ["/api/proxy", "/api", "/openai"] {
        if let Some(rest) = path.strip_prefix(prefix)
            && (rest.starts_with("/v1/") || rest.starts_with("/v1beta/"))
        {
            return rest;
        }
    }
    path
}

/// The API version and what follows it, for paths of a provider's API.
fn version(path: &str) -> (&str, Option<&str>) {
    for version in ["/v1beta", "/v1"] {
        if let Some(rest) = path.strip_prefix(version)
            && rest.starts_with('/')
            && !rest.starts_with("/dashboard/")
        {
            return (version, Some(rest.trim_end_matches('/')));
        }
    }
    ("", None)
}

fn dialect(version: &str, rest: &str, headers: &HeaderMap) -> Dialect {
    // A path that means one format says more than a header that some SDK adds.
    if let Some((_, surface)) = CALLS.iter().find(|(path, _)| *path == rest) {
        return surface.dialect;
    }
    let gemini_call = rest.starts_with("/models/") && rest.contains(':');
    if version == "/v1beta" || gemini_call || headers.contains_key("x-goog-api-key") {
        Dialect::Gemini
    } else if rest == "/messages" || rest.starts_with("/messages/") || headers.contains_key("anthropic-version") {
        Dialect::AnthropicMessages
    } else if rest == "/responses" || rest.starts_with("/responses/") {
        Dialect::OpenaiResponses
    } else {
        Dialect::OpenaiChat
    }
}

fn versioned(dialect: Dialect, rest: &str, method: &Method) -> Result<Inbound, Fault> {
    if let Some((_, surface)) = CALLS.iter().find(|(path, _)| *path == rest) {
        return only(
            method,
            "POST",
            Inbound::Call(CallPath {
                surface: *surface,
                model: None,
                method: None,
            }),
        );
    }
    if let Some((wish, id)) = rest
        .strip_prefix("/responses/")
        .and_then(|rest| Wish::read(method, rest))
    {
        return Ok(Inbound::Response(wish, id.to_owned()));
    }
    if rest == "/models" {
        return only(method, "GET", Inbound::Models(dialect));
    }
    if let Some(name) = rest.strip_prefix("/models/") {
        return match name
            .rsplit_once(':')
            .and_then(|(model, method)| Some((model, gemini_method(method)?)))
        {
            Some((model, called)) => {
                let surface = Surface::new(called.operation, Dialect::Gemini);
                let path = CallPath {
                    surface,
                    model: Some(decoded(model)?),
                    method: Some(called),
                };
                only(method, "POST", Inbound::Call(path))
            }
            None if *method == Method::GET => Ok(Inbound::ModelCard(dialect, decoded(name)?)),
            None => Ok(Inbound::Passthrough(dialect, rest.to_owned())),
        };
    }
    Ok(Inbound::Passthrough(dialect, rest.to_owned()))
}

/// A session's model stands in the query; Azure's clients call it a deployment.
fn realtime(query: Option<&str>, method: &Method) -> Result<Inbound, Fault> {
    let said = |name: &str| {
        let mut pairs = query
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if said("call_id").is_some() {
        let message = "a call of the provider's (`call_id`) is the operator's own and cannot be joined; connect to `/v1/realtime?model=…`";
        return Err(Fault::new(FaultKind::Forbidden, message));
    }
    let model = said("model").or_else(|| said("deployment")).map(decoded).transpose()?;
    let path = CallPath {
        surface: Surface::new(Operation::Realtime, Dialect::OpenaiChat),
        model,
        method: None,
    };
    only(method, "GET", Inbound::Realtime(path))
}

fn gemini_method(name: &str) -> Option<GeminiMethod> {
    GEMINI_METHODS.into_iter().find(|method| method.name == name)
}

fn only(method: &Method, allowed: &'static str, inbound: Inbound) -> Result<Inbound, Fault> {
    if method.as_str() == allowed {
        Ok(inbound)
    } else {
        Err(Fault::method(method.as_str(), allowed))
    }
}

/// A path segment without percent-encoding: models are called `publisher%2Fmodel` by some SDKs.
pub(crate) fn decoded(segment: &str) -> Result<String, Fault> {
    if !segment.contains('%') {
        return Ok(segment.to_owned());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| (byte as char).to_digit(16).ok_or_else(bad_escape);
                bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
                rest = after;
            }
            (b'%', _) => return Err(bad_escape()),
            (byte, after) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| bad_escape())
}

/// A path as a generous reader may take it: what is no escape stands for itself, what is no text for a mark.
pub(crate) fn loosely_decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|byte| (*byte as char).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push((high * 16 + low) as u8);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn bad_escape() -> Fault {
    Fault::new(
        FaultKind::Malformed,
        "the model in the path is not valid percent-encoding",
    )
}

fn operation_path(path: &str) -> Inbound {
    match path {
        "/health" | "/livez" => Inbound::Live,
        "/readyz" => Inbound::Ready,
        "/metrics" => Inbound::Metrics,
        _ => Inbound::Control,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn read(method: &str, path: &str, header: Option<&str>) -> (Dialect, Result<Inbound, Fault>) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(name) = header {
            request = request.header(name, "x");
        }
        Inbound::read(&request.body(()).unwrap().into_parts().0)
    }

    fn call(path: &str) -> CallPath {
        match read("POST", path, None).1 {
            Ok(Inbound::Call(call)) => call,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn calls_are_found_under_every_prefix() {
        for prefix in ["", "/api", "/api/proxy"] {
            let surface = call(&format!("{prefix}/v1/chat/completions")).surface;
            assert_eq!(surface, Surface::new(Operation::Chat, Dialect::OpenaiChat));
        }
        assert_eq!(call("/v1/messages").surface.dialect, Dialect::AnthropicMessages);
        assert_eq!(
            call("/v1/messages/count_tokens").surface.operation,
            Operation::CountTokens
        );
        assert_eq!(call("/v1/responses").surface.dialect, Dialect::OpenaiResponses);
        assert_eq!(call("/v1/embeddings/").surface.operation, Operation::Embeddings);
        for (path, operation) in [
            ("/v1/images/generations", Operation::ImageGenerations),
            ("/v1/images/edits", Operation::ImageEdits),
            ("/v1/images/variations", Operation::ImageVariations),
            ("/v1/audio/speech", Operation::Speech),
            ("/v1/audio/transcriptions", Operation::Transcriptions),
            ("/v1/audio/translations", Operation::Translations),
            ("/v1/moderations", Operation::Moderations),
            ("/v1/rerank", Operation::Rerank),
            ("/v1/v2/rerank", Operation::Rerank),
            ("/v2/rerank", Operation::Rerank),
        ] {
            assert_eq!(
                call(path).surface,
                Surface::new(operation, Dialect::OpenaiChat),
                "{path}"
            );
        }
    }

    #[test]
    fn gemini_has_its_model_in_the_path() {
        for version in ["v1beta", "v1"] {
            let call = call(&format!(
                "/{version}/models/local%2Fgemma:streamGenerateContent?alt=sse"
            ));
            assert_eq!(call.model.as_deref(), Some("local/gemma"));
            assert!(call.method.unwrap().streams);
        }
    }

    #[test]
    fn sessions_are_found_with_their_model_under_every_prefix() {
        for path in [
            "/v1/realtime?model=gpt%2Drealtime",
            "/api/v1/realtime?intent=x&model=gpt-realtime",
            "/openai/v1/realtime?model=gpt-realtime",
            "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-realtime",
        ] {
            let (dialect, inbound) = read("GET", path, None);
            let Ok(Inbound::Realtime(call)) = inbound else {
                panic!("{path}")
            };
            assert_eq!(dialect, Dialect::OpenaiChat);
            assert_eq!(call.model.as_deref(), Some("gpt-realtime"), "{path}");
        }
        let refused = |method, path| read(method, path, None).1.unwrap_err().kind;
        assert_eq!(refused("POST", "/v1/realtime?model=m"), FaultKind::MethodNotAllowed);
        assert_eq!(refused("GET", "/v1/realtime?call_id=rtc_1"), FaultKind::Forbidden);
    }

    #[test]
    fn models_are_listed_in_the_callers_format() {
        for (path, header, dialect) in [
            ("/v1/models", None, Dialect::OpenaiChat),
            ("/v1/models", Some("anthropic-version"), Dialect::AnthropicMessages),
            ("/v1/models", Some("x-goog-api-key"), Dialect::Gemini),
            ("/v1beta/models", None, Dialect::Gemini),
        ] {
            assert_eq!(read("GET", path, header), (dialect, Ok(Inbound::Models(dialect))));
        }
        assert_eq!(
            read("GET", "/v1/models/gpt-4o", None).1,
            Ok(Inbound::ModelCard(Dialect::OpenaiChat, "gpt-4o".to_owned()))
        );
    }

    #[test]
    fn the_rest_is_passthrough_operation_or_control() {
        assert_eq!(
            read("POST", "/v1/files", None).1,
            Ok(Inbound::Passthrough(Dialect::OpenaiChat, "/files".to_owned()))
        );
        assert_eq!(read("GET", "/livez", None).1, Ok(Inbound::Live));
        assert_eq!(read("GET", "/api/me/balance", None).1, Ok(Inbound::Control));
        assert_eq!(read("GET", "/v1/dashboard/billing/usage", None).1, Ok(Inbound::Control));
        let (_, refused) = read("GET", "/v1/chat/completions", None);
        assert_eq!(refused.unwrap_err().kind, FaultKind::MethodNotAllowed);
    }
}
