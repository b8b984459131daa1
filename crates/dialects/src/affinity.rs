//! What requests have in common that should meet again at the same provider account.
//!
//! Providers keep the processed beginning of a prompt for some minutes, per account, and charge a tenth for reading it
//! again. A request says in several ways what it belongs to; the first of these that is there decides, because it says
//! most about which cache will be met:
//!
//! 1. `prompt_cache_key`, which is made for exactly this; a stored `conversation` (Responses), a `cachedContent` (Gemini),
//!    which exist in one account only;
//! 2. `user`, or `safety_identifier`, its successor;
//! 3. `metadata.user_id` (Messages), in which Claude Code names its session too;
//! 4. the beginning of the conversation: instructions and first message, as bytes. Later turns repeat them unchanged.
//!
//! It is a second look over the body, for calls whose strategy asks: the scan that every call has knows nothing of it.

use std::ops::Range;

use domain::{Dialect, Operation, Surface};

use crate::json::{Cursor, Kind, Syntax};

/// A name longer than this is not one; the beginning of it is as good.
const HASHED_MAX: usize = 64 * 1024;

/// The affinity of a request; `None` where it says nothing that another could repeat. The same for the same bytes, in
/// every process.
pub fn affinity(surface: Surface, body: &[u8]) -> Option<u64> {
    let mut found = Found::default();
    let mut cursor = Cursor::lenient(body);
    // The body was scanned before: what cannot be read here has been refused already.
    cursor.object(|key, value| found.member(surface, key, value)).ok()?;
    let Found { named, first, second } = found;
    if let Some((rank, name)) = named {
        return Some(mixed(u64::from(rank), slice(body, &name)));
    }
    let prefix = [first?, second.unwrap_or_default()];
    let beginning = prefix.iter().fold(PREFIX, |hash, span| mixed(hash, slice(body, span)));
    Some(beginning)
}

/// The affinity that the caller names itself, beside the request.
pub fn named_affinity(session: &[u8]) -> u64 {
    mixed(SESSION, session)
}

/// Begin the hashes of things that are no name of the request's, so that equal bytes of another kind are another thing.
const PREFIX: u64 = 0x70;
const SESSION: u64 = 0x73;

#[derive(Default)]
struct Found {
    /// The best name so far, and which it is.
    named: Option<(u8, Range<usize>)>,
    /// The first message. Without one there is no beginning.
    first: Option<Range<usize>>,
    /// Instructions that stand beside the messages.
    second: Option<Range<usize>>,
}

impl Found {
    fn member(&mut self, surface: Surface, key: &[u8], value: &mut Cursor<'_>) -> Result<(), Syntax> {
        let is_chat = surface.operation == Operation::Chat;
        match (surface.dialect, key) {
            (_, b"prompt_cache_key") | (Dialect::Gemini, b"cachedContent" | b"cached_content") => self.name(1, value),
            (Dialect::OpenaiResponses, b"conversation") => self.conversation(value),
            (_, b"user") => self.name(2, value),
            (_, b"safety_identifier") => self.name(3, value),
            (_, b"metadata") => value
                .object_if(|key, member| match key {
                    b"user_id" => self.name(4, member),
                    _ => member.skip().map(|_| ()),
                })
                .map(|_| ()),
            (Dialect::AnthropicMessages, b"system")
            | (Dialect::OpenaiResponses, b"instructions")
            | (Dialect::Gemini, b"systemInstruction" | b"system_instruction") => {
                self.second = Some(value.skip()?);
                Ok(())
            }
            (Dialect::OpenaiChat | Dialect::AnthropicMessages, b"messages")
            | (Dialect::OpenaiResponses, b"input")
            | (Dialect::Gemini, b"contents")
                if is_chat =>
            {
                self.messages(value)
            }
            _ => value.skip().map(|_| ()),
        }
    }

    fn name(&mut self, rank: u8, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        let text = value.string_if()?.filter(|text| !text.is_empty());
        if let Some(text) = text
            && self.named.as_ref().is_none_or(|(best, _)| rank < *best)
        {
            self.named = Some((rank, text.at..text.at + text.raw.len()));
        }
        Ok(())
    }

    /// An id, or an object with one.
    fn conversation(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if value.kind()? == Kind::String {
            return self.name(1, value);
        }
        let id = |key: &[u8], member: &mut Cursor<'_>| match key {
            b"id" => self.name(1, member),
            _ => member.skip().map(|_| ()),
        };
        value.object_if(id).map(|_| ())
    }

    /// Everything up to the first message that is no instruction, that one included.
    fn messages(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if value.kind()? == Kind::String {
            let text = value.skip()?;
            self.first = Some(text);
            return Ok(());
        }
        let mut complete = false;
        value.array_if(|message| {
            let mut look = message.clone();
            let span = message.skip()?;
            if !complete {
                let start = self.first.as_ref().map_or(span.start, |first| first.start);
                self.first = Some(start..span.end);
                complete = !is_instruction(&mut look)?;
            }
            Ok::<(), Syntax>(())
        })?;
        Ok(())
    }
}

fn is_instruction(message: &mut Cursor<'_>) -> Result<bool, Syntax> {
    let mut instructs = false;
    message.object_if(|key, member| {
        if key != b"role" {
            return member.skip().map(|_| ());
        }
        let role = member.string_if()?;
        instructs = role.is_some_and(|role| role.is("system") || role.is("developer"));
        Ok(())
    })?;
    Ok(instructs)
}

fn slice<'a>(body: &'a [u8], span: &Range<usize>) -> &'a [u8] {
    let end = span.end.min(span.start + HASHED_MAX);
    body.get(span.start..end).unwrap_or_default()
}

/// Eight bytes at a time, multiplied and folded. Written here because it must never change: replicas of two versions
/// have to agree, which the hashers of libraries do not promise.
fn mixed(begin: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(FACTOR);
        product ^ (product >> 32)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(begin, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    step(step(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn of(dialect: Dialect, body: &Value) -> Option<u64> {
        affinity(Surface::new(Operation::Chat, dialect), body.to_string().as_bytes())
    }

    fn chat(more: &Value) -> Option<u64> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of(Dialect::OpenaiChat, &body)
    }

    #[test]
    fn the_most_telling_name_decides_wherever_it_stands() {
        let all = json!({"metadata": {"user_id": "m"}, "user": "u", "prompt_cache_key": "k", "safety_identifier": "s"});
        assert_eq!(chat(&all), chat(&json!({"prompt_cache_key": "k"})));
        assert_eq!(
            chat(&json!({"metadata": {"user_id": "m"}, "user": "u"})),
            chat(&json!({"user": "u"}))
        );
        let kinds = ["prompt_cache_key", "user", "safety_identifier"].map(|key| chat(&json!({key: "same"})));
        assert!(
            kinds[0] != kinds[1] && kinds[1] != kinds[2] && kinds[0] != kinds[2],
            "{kinds:?}"
        );
        assert_eq!(
            chat(&json!({"user": "", "metadata": null})),
            chat(&json!({})),
            "an empty name is none"
        );
    }

    #[test]
    fn later_turns_have_the_affinity_of_the_first() {
        let turn = |messages: Value| of(Dialect::OpenaiChat, &json!({"messages": messages}));
        let system = json!({"role": "system", "content": "be brief"});
        let hello = json!({"role": "user", "content": "hello"});
        let first = turn(json!([system, hello]));
        assert!(first.is_some());
        assert_eq!(
            turn(json!([system, hello, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "go"}])),
            first
        );
        assert_ne!(turn(json!([system, {"role": "user", "content": "bye"}])), first);
        assert_ne!(turn(json!([hello])), first);
        assert_eq!(turn(json!([])), None);
    }

    #[test]
    fn every_format_names_its_own_things() {
        let claude = |session: &str, text: &str| {
            let body = json!({"system": "s", "messages": [{"role": "user", "content": text}], "metadata": {"user_id": session}});
            of(Dialect::AnthropicMessages, &body)
        };
        assert_eq!(claude("a", "one"), claude("a", "two"));
        assert_ne!(claude("a", "one"), claude("b", "one"));
        let stored = |conversation: Value| {
            of(
                Dialect::OpenaiResponses,
                &json!({"conversation": conversation, "input": "x"}),
            )
        };
        assert_eq!(stored(json!("conv_1")), stored(json!({"id": "conv_1"})));
        let gemini = |system: &str, more: Value| {
            let mut body =
                json!({"systemInstruction": {"parts": [{"text": system}]}, "contents": [{"parts": [{"text": "x"}]}]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(Dialect::Gemini, &body)
        };
        assert_ne!(gemini("a", json!({})), gemini("b", json!({})));
        assert_eq!(
            gemini("a", json!({"cachedContent": "c/1"})),
            gemini("b", json!({"cached_content": "c/1"}))
        );
        let embedding = Surface::new(Operation::Embeddings, Dialect::OpenaiChat);
        assert_eq!(affinity(embedding, br#"{"input": "x"}"#), None);
        assert!(affinity(embedding, br#"{"input": "x", "user": "u"}"#).is_some());
    }

    #[test]
    fn never_changes() {
        // Replicas of two versions stand side by side while they are replaced.
        assert_eq!(named_affinity(b"session-1"), 14_791_471_206_032_222_037);
        assert_eq!(chat(&json!({"user": "alice"})), Some(17_136_020_278_040_223_952));
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for dialect in Dialect::ALL {
                let _any = affinity(Surface::new(Operation::Chat, dialect), &body);
            }
        }

        #[test]
        fn other_names_are_other_affinities(one in "[a-z0-9-]{1,40}", other in "[a-z0-9-]{1,40}") {
            prop_assert_eq!(named_affinity(one.as_bytes()) == named_affinity(other.as_bytes()), one == other);
        }
    }
}
