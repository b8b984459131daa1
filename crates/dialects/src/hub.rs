//! The one vocabulary that all wire formats are decoded into and encoded from (ADR 2).
//!
//! With N formats there are N decoders and N encoders, not N × N converters. The price is that this vocabulary must be
//! able to say whatever any two formats can both say; where it cannot, something is lost between them that need not be,
//! and the vocabulary is widened. What only one family of formats can say travels beside it, as [`Extra`] members that
//! the same family puts back, so that nothing is lost on the way from OpenAI to OpenAI either.
//!
//! A *request* is a list of messages made of parts. An *answer* is a list of choices made of the same parts; a *stream*
//! is an answer told piece by piece ([`Event`]), and [`Collector`] turns it into the answer that it tells.
//!
//! What a target format cannot say is never dropped in silence: encoders note it in [`Losses`].

mod answer;
mod collect;
mod deed;
mod document;
mod event;
mod fields;
mod loss;
mod mcp;
pub(crate) mod nested;
mod pairs;
mod part;
mod request;
mod signature;
mod tool;

pub(crate) use answer::{Answer, CUT_CALL, Choice, Stop, StopReason};
pub(crate) use collect::Collector;
pub(crate) use deed::{Act, Deed, MADE, Page, is_made, is_made_name, native_name};
pub(crate) use document::{Telling, as_texts, documents_as_texts, is_search_result};
pub(crate) use event::{Delta, Event, weight};
pub use fields::BadRequest;
pub(crate) use fields::{Fields, compact};
pub use loss::Loss;
pub(crate) use loss::Losses;
pub(crate) use mcp::{Mcp, Offer};
pub(crate) use pairs::{Neighbours, results_behind_calls};
pub(crate) use part::{
    CacheMark, Citation, Cited, CitedSource, Content, DocumentPlace, Extra, Media, MediaKind, NO_OBJECT, Part, Source,
    Thinking, ToolCall, ToolResult, nameless,
};
pub(crate) use request::{
    Effort, Message, OutputFormat, Reasoning, Request, Role, Sampling, ThinkingBudget, Verbosity,
};
pub(crate) use signature::Signature;
pub(crate) use tool::{Hosted, HostedKind, Tool, ToolChoice, free_text};
