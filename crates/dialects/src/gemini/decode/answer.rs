//! A whole answer: a stream of one event, read with the difference that parts stay as they are told apart.

use super::stream::Reader;
use crate::answer::Nonsense;
use crate::gemini::served::BESIDE;
use crate::hub::{Answer, Collector, Content};

/// Reads the answer of `generateContent`.
pub(crate) fn answer(body: &[u8]) -> Result<Answer, Nonsense> {
    let mut reader = Reader::of_whole_answer();
    let mut events = Vec::new();
    reader.chunk(body, &mut events)?;
    reader.finish(&mut events);
    let mut collector = Collector::default();
    for event in events {
        collector.push(event);
    }
    let mut answer = collector.into_answer();
    for choice in &mut answer.choices {
        // It was done before the words that rest on it.
        choice.parts.sort_by_key(|part| !is_beside(&part.content));
    }
    answer.extra.members.extend(reader.into_leftovers());
    Ok(answer)
}

/// Whether it stands beside the content.
fn is_beside(content: &Content) -> bool {
    match content {
        Content::Native { value, .. } => BESIDE.iter().any(|name| value.get(name).is_some()),
        _ => false,
    }
}
