//! The stream decoders and encoders of all dialects, as one type each: a closed set (ADR 8).

use domain::Dialect;

use super::{Footing, Reply};
use crate::answer::Nonsense;
use crate::hub::{Event, Losses};
use crate::{anthropic_messages, bedrock_converse, gemini, openai_chat, openai_responses};

/// Reads the events of an upstream's stream.
#[derive(Debug)]
pub(crate) enum StreamDecoder {
    /// `OpenAI` Chat Completions.
    OpenaiChat(openai_chat::decode::StreamDecoder),
    /// `OpenAI` Responses.
    OpenaiResponses(openai_responses::decode::StreamDecoder),
    /// Anthropic Messages.
    AnthropicMessages(anthropic_messages::decode::StreamDecoder),
    /// Gemini.
    Gemini(gemini::decode::StreamDecoder),
    /// Bedrock Converse.
    BedrockConverse(bedrock_converse::decode::StreamDecoder),
}

/// Writes the events of a client's stream.
#[derive(Debug)]
pub(crate) enum StreamEncoder {
    /// `OpenAI` Chat Completions.
    OpenaiChat(openai_chat::encode::StreamEncoder),
    /// `OpenAI` Responses.
    OpenaiResponses(openai_responses::encode::StreamEncoder),
    /// Anthropic Messages.
    AnthropicMessages(anthropic_messages::encode::StreamEncoder),
    /// Gemini.
    Gemini(gemini::encode::StreamEncoder),
}

impl StreamDecoder {
    pub(crate) fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenaiChat => Self::OpenaiChat(openai_chat::decode::StreamDecoder::default()),
            Dialect::OpenaiResponses => Self::OpenaiResponses(openai_responses::decode::StreamDecoder::default()),
            Dialect::AnthropicMessages => Self::AnthropicMessages(anthropic_messages::decode::StreamDecoder::default()),
            Dialect::Gemini => Self::Gemini(gemini::decode::StreamDecoder::default()),
            Dialect::BedrockConverse => Self::BedrockConverse(bedrock_converse::decode::StreamDecoder::default()),
        }
    }

    /// Reads one event's data, which is JSON (of Bedrock's a whole frame), and appends what it says.
    pub(crate) fn event(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Nonsense> {
        match self {
            Self::OpenaiChat(decoder) => decoder.event(data, out),
            Self::OpenaiResponses(decoder) => decoder.event(data, out),
            Self::AnthropicMessages(decoder) => decoder.event(data, out),
            Self::Gemini(decoder) => decoder.event(data, out),
            Self::BedrockConverse(decoder) => decoder.event(data, out),
        }
    }

    /// After the last event of a whole stream: closes what is open and tells the stop reasons that were kept.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        match self {
            Self::OpenaiChat(decoder) => decoder.finish(out),
            Self::OpenaiResponses(decoder) => decoder.finish(out),
            Self::AnthropicMessages(decoder) => decoder.finish(out),
            Self::Gemini(decoder) => decoder.finish(out),
            Self::BedrockConverse(decoder) => decoder.finish(out),
        }
    }
}

impl StreamEncoder {
    /// For clients of this dialect. Nobody calls in Bedrock's: it is answered as `OpenAI` Chat.
    pub(crate) fn new(dialect: Dialect, reply: Reply) -> Self {
        match dialect {
            Dialect::OpenaiChat | Dialect::BedrockConverse => {
                Self::OpenaiChat(openai_chat::encode::StreamEncoder::new(reply))
            }
            Dialect::OpenaiResponses => Self::OpenaiResponses(openai_responses::encode::StreamEncoder::new(reply)),
            Dialect::AnthropicMessages => {
                Self::AnthropicMessages(anthropic_messages::encode::StreamEncoder::new(reply))
            }
            Dialect::Gemini => Self::Gemini(gemini::encode::StreamEncoder::new(reply)),
        }
    }

    /// The client's dialect.
    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            Self::OpenaiChat(_) => Dialect::OpenaiChat,
            Self::OpenaiResponses(_) => Dialect::OpenaiResponses,
            Self::AnthropicMessages(_) => Dialect::AnthropicMessages,
            Self::Gemini(_) => Dialect::Gemini,
        }
    }

    /// Tells one event. `false`: it would have to keep more back than it may.
    pub(crate) fn event(&mut self, event: Event, out: &mut Vec<u8>, losses: &mut Losses) -> bool {
        match self {
            Self::OpenaiChat(encoder) => encoder.event(event, out, losses),
            Self::OpenaiResponses(encoder) => encoder.event(event, out, losses),
            Self::AnthropicMessages(encoder) => encoder.event(event, out, losses),
            Self::Gemini(encoder) => encoder.event(event, out, losses),
        }
    }

    /// The whole answer, where it is to be kept.
    pub(crate) fn take_kept(&mut self) -> Option<String> {
        match self {
            Self::OpenaiResponses(encoder) => encoder.take_kept(),
            Self::OpenaiChat(_) | Self::AnthropicMessages(_) | Self::Gemini(_) => None,
        }
    }

    /// The number of the event that could be told next, where they have numbers.
    pub(crate) const fn next_number(&self) -> u64 {
        match self {
            Self::OpenaiResponses(encoder) => encoder.next_number(),
            Self::OpenaiChat(_) | Self::AnthropicMessages(_) | Self::Gemini(_) => 0,
        }
    }

    /// Whether it can go on behind events of a provider that stand so, of which it was told everything; `in_text`: a text is
    /// open there.
    pub(crate) fn can_follow(&self, footing: &Footing, in_text: bool) -> bool {
        match self {
            // Each chunk stands by itself.
            Self::OpenaiChat(_) | Self::Gemini(_) => true,
            Self::AnthropicMessages(encoder) => encoder.can_follow(footing, in_text),
            Self::OpenaiResponses(encoder) => encoder.can_follow(footing),
        }
    }

    /// What it tells from now on stands behind those events; the next has this number, where they have numbers.
    pub(crate) fn follow(&mut self, footing: &Footing, number: u64) {
        match self {
            Self::OpenaiChat(encoder) => encoder.follow(footing),
            Self::Gemini(encoder) => encoder.follow(footing),
            Self::AnthropicMessages(encoder) => encoder.follow(footing),
            Self::OpenaiResponses(encoder) => encoder.follow(footing, number),
        }
    }

    /// After the last event of a whole stream: what the format ends with, its terminator included.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, losses: &mut Losses) {
        match self {
            Self::OpenaiChat(encoder) => encoder.finish(out, losses),
            Self::OpenaiResponses(encoder) => encoder.finish(out, losses),
            Self::AnthropicMessages(encoder) => encoder.finish(out, losses),
            Self::Gemini(encoder) => encoder.finish(out, losses),
        }
    }
}
