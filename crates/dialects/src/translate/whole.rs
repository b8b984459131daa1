//! Whole answers, told anew in the client's format: from the one tree that was read, so order and kinds of what was said stay as
//! they are; what is told as usage is what is billed, not what the body says of it.

use domain::{Dialect, Usage};

use super::coder::StreamEncoder;
use super::served::Steps;
use super::{Encoded, Reply};
use crate::answer::{Nonsense, Report, UsageReport};
use crate::hub::{Answer, Event, Losses};
use crate::{anthropic_messages, bedrock_converse, gemini, openai_chat, openai_responses};

/// Translates a whole answer to a conversation.
pub(crate) fn translate_answer(
    from: Dialect,
    to: Dialect,
    body: &[u8],
    report: &Report,
    reply: &Reply,
) -> Result<Encoded, Nonsense> {
    let mut losses = Losses::default();
    let mut answer = read_answer(from, body, report, reply)?;
    steps(from, to, &mut answer, &mut losses);
    if matches!(to, Dialect::AnthropicMessages | Dialect::Gemini) {
        answer.drop_cut_calls(&mut losses);
    }
    let told = match to {
        Dialect::OpenaiChat => openai_chat::encode::answer(answer, reply, &mut losses),
        Dialect::OpenaiResponses => openai_responses::encode::answer(answer, reply, &mut losses),
        Dialect::AnthropicMessages => anthropic_messages::encode::answer(answer, reply, &mut losses),
        Dialect::Gemini => gemini::encode::answer(answer, reply, &mut losses),
        Dialect::BedrockConverse => return Err(Nonsense::Lacks("a client of Bedrock Converse")),
    };
    Ok(Encoded {
        body: told.to_string().into(),
        losses: losses.into_vec(),
        kept: None,
    })
}

/// Tells a whole answer as the stream that the client asked for: some upstreams give the one where the other was wanted.
pub(super) fn stream_answer(
    from: Dialect,
    to: Dialect,
    body: &[u8],
    report: &Report,
    reply: &Reply,
) -> Result<Encoded, Nonsense> {
    let mut losses = Losses::default();
    let mut answer = read_answer(from, body, report, reply)?;
    steps(from, to, &mut answer, &mut losses);
    // Formats that tell the prompt's tokens at their beginning can do so here.
    let usage = answer.usage.take().map(Event::Usage);
    let mut events = answer.into_events();
    events.splice(1..1, usage);
    let mut encoder = StreamEncoder::new(to, reply.clone());
    let mut told = Vec::new();
    for event in events {
        if !encoder.event(event, &mut told, &mut losses) {
            return Err(Nonsense::Lacks("an end within the limits"));
        }
    }
    encoder.finish(&mut told, &mut losses);
    Ok(Encoded {
        body: told.into(),
        losses: losses.into_vec(),
        kept: encoder.take_kept(),
    })
}

/// Tells what the provider did by itself in words that the client's format has.
fn steps(from: Dialect, to: Dialect, answer: &mut Answer, losses: &mut Losses) {
    for choice in &mut answer.choices {
        Steps::new(from, to).parts(&mut choice.parts, losses);
    }
}

/// Reads a whole answer; what is billed is what is told, and tools have the client's names.
fn read_answer(from: Dialect, body: &[u8], report: &Report, reply: &Reply) -> Result<Answer, Nonsense> {
    let mut answer = match from {
        Dialect::OpenaiChat => openai_chat::decode::answer(body),
        Dialect::OpenaiResponses => openai_responses::decode::answer(body),
        Dialect::AnthropicMessages => anthropic_messages::decode::answer(body),
        Dialect::Gemini => gemini::decode::answer(body),
        Dialect::BedrockConverse => bedrock_converse::decode::answer(body),
    }?;
    let expected = || Some(reply.expected?.usage(report.content_bytes));
    answer.usage = told_usage(&report.usage).or_else(expected);
    answer.service_tier.clone_from(&report.service_tier);
    reply.tools.back_from(from).answer(&mut answer);
    Ok(answer)
}

/// What the client is told of the usage. Figures that cannot be true are not billed, but told as far as they can be.
pub(super) const fn told_usage(report: &UsageReport) -> Option<Usage> {
    match report {
        UsageReport::Possible(usage) => Some(*usage),
        UsageReport::Impossible { nearest, .. } => *nearest,
        UsageReport::None => None,
    }
}
