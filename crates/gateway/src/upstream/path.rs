//! Paths of surfaces, filled in.

use std::borrow::Cow;

use domain::{Dialect, Operation, Surface};

/// What is asked, where a provider says it in the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) served: Surface,
    /// The model's name there.
    pub(crate) model: &'a str,
    /// The client's own method (Gemini), in pass-through.
    pub(crate) method: Option<&'a str>,
    pub(crate) stream: bool,
}

/// Fills in the template of a surface.
pub(crate) fn path<'t>(template: &'t str, asked: &Asked<'_>) -> Cow<'t, str> {
    if !template.contains('{') {
        return Cow::Borrowed(template);
    }
    let method = asked.method.unwrap_or_else(|| method(asked.served, asked.stream));
    // Resource names of Google's have slashes that are meant; in a name of Amazon's they would split it.
    let keeps_slash = template.contains("{method}") && asked.served.dialect != Dialect::BedrockConverse;
    let template = chosen(template, asked.stream);
    let filled = template
        .replace("{model}", &encoded(asked.model, keeps_slash))
        .replace("{method}", method);
    Cow::Owned(filled)
}

/// The template with one of the two words of `{whole|streamed}`.
fn chosen(template: &str, stream: bool) -> Cow<'_, str> {
    let parts = || {
        let (before, rest) = template.split_once('|')?;
        let (before, whole) = before.rsplit_once('{')?;
        let (streamed, after) = rest.split_once('}')?;
        Some([before, if stream { streamed } else { whole }, after].concat())
    };
    parts().map_or(Cow::Borrowed(template), Cow::Owned)
}

/// Whether the model's name stands in the path, so that it is not said in the body too. Gemini's own bodies name it as a
/// resource in places, which is checked against the path.
pub(crate) fn names_model(template: &str, dialect: Dialect) -> bool {
    dialect != Dialect::Gemini && template.contains("{model}")
}

/// What is asked, where the path says it: Gemini's, Bedrock's, and Anthropic's on Vertex AI.
const fn method(served: Surface, stream: bool) -> &'static str {
    match (served.dialect, served.operation, stream) {
        (Dialect::BedrockConverse, _, false) => "converse",
        (Dialect::BedrockConverse, _, true) => "converse-stream",
        (Dialect::AnthropicMessages, _, false) => "rawPredict",
        (Dialect::AnthropicMessages, _, true) => "streamRawPredict",
        (_, Operation::CountTokens, _) => "countTokens",
        (_, Operation::Embeddings, _) => "batchEmbedContents",
        (_, _, false) => "generateContent",
        (_, _, true) => "streamGenerateContent",
    }
}

/// A model's name as a path segment.
fn encoded(model: &str, keeps_slash: bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(model.len());
    for byte in model.bytes() {
        match byte {
            b'/' if keeps_slash => out.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => out.push(byte as char),
            _ => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)] as char);
                out.push(HEX[usize::from(byte & 15)] as char);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, dialect: Dialect, model: &str, stream: bool) -> String {
        let asked = Asked {
            served: Surface::new(Operation::Chat, dialect),
            model,
            method: None,
            stream,
        };
        path(template, &asked).into_owned()
    }

    #[test]
    fn models_and_methods_are_filled_in() {
        let bedrock = |model, stream| filled("/model/{model}/{method}", Dialect::BedrockConverse, model, stream);
        assert_eq!(
            bedrock("anthropic.claude-v1:0", false),
            "/model/anthropic.claude-v1%3A0/converse"
        );
        assert_eq!(
            bedrock("arn:aws:bedrock:r:1:inference-profile/x", true),
            "/model/arn%3Aaws%3Abedrock%3Ar%3A1%3Ainference-profile%2Fx/converse-stream"
        );
        let invoke = |model, stream| {
            let template = "/model/{model}/{invoke|invoke-with-response-stream}";
            filled(template, Dialect::AnthropicMessages, model, stream)
        };
        assert_eq!(invoke("arn:x/y", false), "/model/arn%3Ax%2Fy/invoke");
        assert_eq!(invoke("a-v1:0", true), "/model/a-v1%3A0/invoke-with-response-stream");
        let google = |dialect, stream| filled("/p/{model}:{method}", dialect, "a/b@1", stream);
        assert_eq!(google(Dialect::Gemini, true), "/p/a/b@1:streamGenerateContent");
        assert_eq!(google(Dialect::AnthropicMessages, true), "/p/a/b@1:streamRawPredict");
        assert_eq!(google(Dialect::AnthropicMessages, false), "/p/a/b@1:rawPredict");
        assert_eq!(
            filled("/chat/completions", Dialect::OpenaiChat, "m", true),
            "/chat/completions"
        );
    }
}
