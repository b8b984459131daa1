//! Wire formats: what Tollgate must understand of a request, an answer and a stream, and what it must say itself.
//!
//! Where client and upstream speak the same dialect, bytes pass through untouched; this crate then only *looks*: one
//! skipping scan over a request ([`scan`]), one over a whole answer ([`read_answer`]), one per stream event
//! ([`StreamTap`]). Nothing is parsed into a document model and written again, because that is where gateways lose
//! fields, reorder keys before cache markers and spend most of their CPU (see `performance.md`).
//!
//! Where they differ, the request is decoded into one vocabulary (`hub`) and encoded from it, and so is the answer on its
//! way back ([`translate`]). The dialect folders hold what is particular to one format, the modules at the top what all of
//! them share.
//!
//! Deliberately absent: IO, clocks, money, any knowledge of which upstream is asked.

pub mod affinity;
pub mod answer;
pub mod batch;
pub mod classify;
pub mod conversation;
pub mod fuzz;
pub mod listing;
pub mod realtime;
pub mod refusal;
pub mod request;
pub mod stream;
pub mod tasks;
pub mod translate;

mod anthropic_messages;
mod bedrock_converse;
mod gemini;
mod hub;
mod json;
mod limits;
mod mask;
mod observation;
mod openai_chat;
mod openai_responses;
mod provider_error;
mod schema;
mod searches;
mod sequence;
mod sse;
mod usage;

pub use affinity::{affinity, named_affinity};
pub use answer::{Finish, Nonsense, Report, ReportedFailure, SideUsage, Stored, UsageReport, read_answer};
pub use classify::{Allowance, Verdict, classify, refusal_cause, words_of};
pub use hub::nested::read as read_json;
pub use hub::{BadRequest, Loss};
pub use listing::{ListedModel, model_card, model_list};
pub use openai_responses::{Instructions, Restorer};
pub use refusal::{Rendered, heartbeat, in_band, in_band_numbered, in_band_opening, refusal, retell_refusal};
pub use request::{
    Edits, PROMPT_GAP, References, RequestFacts, ScanError, inject_system, needs, own_instructions, scan, scan_form,
};
pub use searches::always_searches;
pub use stream::{StreamEnd, StreamFault, StreamTap, TapOptions, TapState, Unwrapper, Wrapping};
pub use tasks::{FormField, SoundTap, form_boundary, form_fields};
pub use translate::{
    Asked, Beginning, Encoded, Expected, Fetched, Question, Reply, Standing, Target, Transcoder, Wanted, WrongType,
    count_answer,
};
