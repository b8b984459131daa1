//! One skipping scan over a request, and the few bytes that may change in it.

use bytes::Bytes;
use domain::Surface;

/// What must be known of a request before it can be admitted and routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for; always `None` in Gemini's format, where the path names it.
    pub model: Option<String>,
    /// Whether a stream is asked for. In Gemini's format the path says it.
    pub stream: bool,
    /// The most output tokens that the request allows per choice, where it says.
    pub output_bound: Option<u64>,
    /// How many answers are asked for, at least 1.
    pub choices: u64,
    /// Whether input lies outside the body: URLs, file ids, earlier responses, caches, or tools that the provider
    /// runs and whose results it feeds back.
    pub by_reference: bool,
    /// Pictures, sounds and documents inside the body: their bytes say little about their tokens.
    pub inline_media: u32,
    /// Whether tools are offered.
    pub tools: bool,
}

impl Default for RequestFacts {
    fn default() -> Self {
        Self { model: None, stream: false, output_bound: None, choices: 1, by_reference: false, inline_media: 0, tools: false }
    }
}

/// What to change in a request on its way out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edits<'a> {
    /// The model name of the target. May always be given: a name that is there already costs nothing.
    pub model: Option<&'a str>,
    /// Ask for the usage chunk of an `OpenAI` stream.
    pub include_usage: bool,
    /// Top-level fields and their JSON text, added where the client did not send the field.
    pub params: &'a [(String, String)],
}

/// Why a request cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at byte {offset})")]
pub struct ScanError {
    /// Where, in bytes from the start of the body.
    pub offset: usize,
    /// What is wrong and the mend.
    pub what: String,
}

/// Reads the facts of a request.
///
/// # Errors
/// If the body is no JSON object in UTF-8, or says a decisive thing twice or in a type that providers read differently.
pub fn scan(surface: Surface, body: &[u8]) -> Result<RequestFacts, ScanError> {
    let _ = (surface, body);
    Ok(RequestFacts::default())
}

impl RequestFacts {
    /// Whether the client itself asked for the usage chunk of an `OpenAI` stream.
    pub fn asked_for_usage(&self) -> bool {
        false
    }

    /// Applies `edits` to the body that was scanned; every other byte stays. Returns the same `Bytes` if nothing changes.
    pub fn edit(&self, body: &Bytes, edits: &Edits<'_>) -> Bytes {
        let _ = edits;
        body.clone()
    }
}
