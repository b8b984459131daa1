//! A stream that was written beforehand and is spoken at the pace of a model.
//!
//! The whole answer is known before its first word (it is short and bounded), so the script is a queue and not a
//! generator: nothing can go wrong once it has begun. The pauses are real, because what a newcomer should see is
//! streaming.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Sleep;

/// The pause before each word: about 65 words a second, the pace of a fast model.
const WORD_PAUSE: Duration = Duration::from_millis(15);

/// The events of a stream that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Script {
    events: VecDeque<Event>,
    pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Event {
    /// Whether a pause comes before it.
    paced: bool,
    bytes: Bytes,
}

impl Script {
    /// A script that says nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an event that follows the one before it at once.
    pub(crate) fn at_once(&mut self, bytes: Bytes) {
        self.events.push_back(Event { paced: false, bytes });
    }

    /// Adds an event that follows after the pause of a word.
    pub(crate) fn paced(&mut self, bytes: Bytes) {
        self.events.push_back(Event { paced: true, bytes });
    }

    /// The next event; `None` at the end. Needs a tokio runtime with time.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.events.front().is_some_and(|event| event.paced) {
            let pause = self
                .pause
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(WORD_PAUSE)));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(self.events.pop_front().map(|event| event.bytes))
    }
}

/// A server-sent event with data only, as `OpenAI` Chat has them.
pub(crate) fn data_event(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

/// A server-sent event that is named after the `type` in its data, as Anthropic and `OpenAI` Responses have them.
pub(crate) fn named_event(value: &Value) -> Bytes {
    let name = value.get("type").and_then(Value::as_str).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {value}\n\n"))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_words_wait() {
        let mut script = Script::new();
        script.at_once(Bytes::from_static(b"head"));
        script.paced(Bytes::from_static(b"one"));
        script.paced(Bytes::from_static(b"two"));
        script.at_once(Bytes::from_static(b"tail"));
        let start = Instant::now();
        let mut heard = Vec::new();
        while let Some(event) = poll_fn(|cx| script.poll_next(cx)).await {
            heard.push((event, start.elapsed() / 15));
        }
        let at = |words: u64| Duration::from_millis(words);
        let expected = [("head", at(0)), ("one", at(1)), ("two", at(2)), ("tail", at(2))];
        assert_eq!(heard.len(), expected.len());
        for ((event, when), (text, due)) in heard.iter().zip(expected) {
            assert_eq!(event, text);
            // The timer of tokio has a resolution of one millisecond.
            assert!(
                *when >= due && *when < due + Duration::from_micros(500),
                "{text} came at {when:?} words"
            );
        }
    }

    #[test]
    fn events_are_framed() {
        let value = serde_json::json!({"type": "ping"});
        assert_eq!(data_event(&value), "data: {\"type\":\"ping\"}\n\n");
        assert_eq!(named_event(&value), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    }
}
