//! A whole answer: a stream of one event, read with the difference that parts stay as they are told apart.

use super::stream::Reader;
use crate::answer::Nonsense;
use crate::hub::{Answer, Collector};

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
    answer.extra.members.extend(reader.into_leftovers());
    Ok(answer)
}
