//! From the client's dialect to the upstream's and back.
//!
//! A call's request is decoded once and encoded for each target that is tried. A stream is watched by the same
//! [`StreamTap`] as in pass-through: what counts as content, what is billed and whether the answer is whole do not depend
//! on whether it is translated. Only what the tap releases, whole and well-formed events, is decoded and told anew in
//! the client's format; the end is held back in the same way. So a cut stream can be told as an error, never as a success.

use std::borrow::Cow;

use bytes::Bytes;
use domain::{Dialect, FailureClass, Operation, Surface, Usage};

use crate::answer::{Nonsense, Report, Stored};
use crate::hub::{
    BadRequest, Event, Loss, Losses, Neighbours, OutputFormat, Request, Telling, Tool, documents_as_texts, nested,
    results_behind_calls,
};
use crate::limits::SCHEMA_DEPTH_MAX;
use crate::sse;
use crate::stream::frames::frames;
use crate::stream::{self, Framing, StreamEnd, StreamFault, StreamTap, TapState};
use crate::tasks::SoundTap;
use crate::{anthropic_messages, bedrock_converse, gemini, openai_chat, openai_responses};

mod beginning;
mod coder;
mod count;
mod embeddings;
mod expected;
mod files;
mod fit;
mod halves;
mod names;
mod passing;
mod resume;
mod served;
mod thread;
mod wanted;
mod whole;

pub use beginning::Beginning;
use coder::{StreamDecoder, StreamEncoder};
pub use count::count_answer;
use embeddings::Texts;
pub use expected::Expected;
use halves::Halves;
use names::{Back, ToolNames};
use passing::Passing;
pub(crate) use passing::{Footing, Place};
use served::Steps;
pub use thread::Standing;
use thread::Thread;
pub use wanted::{Fetched, Wanted, WrongType};
pub(crate) use whole::translate_answer;
use whole::{stream_answer, told_usage};

/// What an encoder must know of the target.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// The most tokens that it can generate; 0: not known.
    pub max_output: u64,
    /// Whether it thinks before it answers; `None`: not known.
    pub thinks: Option<bool>,
    /// Whether a chat stream is to be asked for its usage (`stream_options.include_usage`).
    pub include_usage: bool,
    /// What is particular to the provider.
    pub quirks: &'a domain::provider::Quirks,
}

/// What an encoder of answers must know of the request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The model in the client's words, where the upstream does not say who answered.
    pub model: String,
    /// A name for the answer where the upstream gives none, unique among all calls; letters and digits.
    pub id: String,
    /// When the call began, in seconds since 1970, where the upstream does not say.
    pub created: i64,
    /// Whether the client asked the stream for its usage.
    pub stream_usage: bool,
    /// Gemini without `alt=sse`: the stream is one JSON array.
    pub json_array: bool,
    /// Whether the answer is kept to be asked for again (Responses): then its name is ours, since nobody else's need be
    /// unique.
    pub(crate) is_kept: bool,
    /// What the answer repeats of the request (Responses).
    pub(crate) echo: serde_json::Map<String, serde_json::Value>,
    /// What the client calls its tools.
    pub(crate) tools: ToolNames,
    /// What is told of the usage where the upstream says nothing; `None`: nothing.
    pub expected: Option<Expected>,
}

/// A call's facts from which its [`Reply`] is made.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client's surface.
    pub surface: Surface,
    /// The model as the client named it, in the body or in the path.
    pub model: &'a str,
    /// Whether a stream is wanted: in the body, or (Gemini) by the path.
    pub stream: bool,
    /// See [`Reply::json_array`].
    pub json_array: bool,
    /// See [`Reply::id`].
    pub id: &'a str,
    /// See [`Reply::created`].
    pub created: i64,
}

/// A request that can be told in any dialect.
#[derive(Clone, Debug)]
pub struct Question {
    asked: Kind,
    /// For the answer.
    pub reply: Reply,
    /// Files that were fetched for targets that want bytes.
    fetched: Vec<Fetched>,
}

/// What is asked.
#[derive(Clone, Debug)]
enum Kind {
    /// An answer.
    Conversation(Box<Request>),
    /// How many tokens the request has.
    Count(Box<Request>),
    /// Vectors.
    Texts(Box<Texts>),
}

/// A request as an upstream gets it.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The body.
    pub body: Bytes,
    /// What the target's format cannot say.
    pub losses: Vec<Loss>,
    /// The whole answer, where it is to be kept and the body is a stream.
    pub kept: Option<String>,
}

impl Question {
    /// Reads a client's request.
    ///
    /// # Errors
    /// If something in it is not what its format says.
    pub fn read(asked: &Asked<'_>, body: &[u8]) -> Result<Self, BadRequest> {
        let mut reply = Reply {
            model: asked.model.to_owned(),
            id: asked.id.to_owned(),
            created: asked.created,
            json_array: asked.json_array,
            ..Reply::default()
        };
        let kind = match asked.surface.operation {
            Operation::Embeddings => Kind::Texts(Box::new(Texts::read(asked.surface.dialect, body)?)),
            Operation::CountTokens => {
                let request = conversation(asked, body)?;
                reply.tools = ToolNames::of(&request, asked.surface.dialect);
                Kind::Count(Box::new(request))
            }
            // Tasks have one format, and never come here.
            _ => {
                let mut request = conversation(asked, body)?;
                reply.stream_usage = request.stream_usage;
                reply.echo = std::mem::take(&mut request.echo);
                reply.tools = ToolNames::of(&request, asked.surface.dialect);
                Kind::Conversation(Box::new(request))
            }
        };
        Ok(Self {
            asked: kind,
            reply,
            fetched: Vec::new(),
        })
    }

    /// Says what the client itself gave as instructions, for formats whose answers repeat them.
    pub fn repeat_instructions(&mut self, own: serde_json::Value) {
        if let Some(known) = self.reply.echo.get_mut("instructions") {
            *known = own;
        }
    }

    /// Says whether the answer will be kept, and what it continues.
    pub fn keep(&mut self, is_kept: bool, previous: Option<&str>) {
        self.reply.is_kept = is_kept;
        for (name, value) in [
            ("store", serde_json::Value::from(is_kept)),
            ("previous_response_id", previous.into()),
        ] {
            if let Some(known) = self.reply.echo.get_mut(name) {
                *known = value;
            }
        }
    }

    /// Tells it in an upstream's dialect.
    ///
    /// # Errors
    /// If the target's format cannot say something without which the request would mean something else.
    pub fn encode(&self, dialect: Dialect, target: &Target<'_>) -> Result<Encoded, BadRequest> {
        let mut losses = Losses::default();
        let body = match &self.asked {
            Kind::Conversation(request) => {
                written(dialect, self.filled(request, dialect, target), target, &mut losses)?
            }
            Kind::Count(request) => {
                let body = written(dialect, self.filled(request, dialect, target), target, &mut losses)?;
                count::request(dialect, body, target)?
            }
            Kind::Texts(texts) => texts.encode(dialect, target, &mut losses)?,
        };
        Ok(Encoded {
            body: body.to_string().into(),
            losses: losses.into_vec(),
            kept: None,
        })
    }

    /// Tells a whole answer to the client, in the dialect `to`; as a stream where it asked for one. `report` is what [`crate::read_answer`] found in it: what is
    /// billed is what is told.
    ///
    /// # Errors
    /// If it is not what its format says.
    pub fn answer(&self, from: Dialect, to: Dialect, body: &[u8], report: &Report) -> Result<Encoded, Nonsense> {
        let told = match &self.asked {
            Kind::Conversation(request) if request.stream => {
                return stream_answer(from, to, body, report, &self.reply);
            }
            Kind::Conversation(_) => return translate_answer(from, to, body, report, &self.reply),
            Kind::Count(_) => count_answer(to, count::read(from, body)?),
            Kind::Texts(texts) => embeddings::answer(from, to, body, texts, told_usage(&report.usage), &self.reply)?,
        };
        Ok(Encoded {
            body: told.to_string().into(),
            losses: Vec::new(),
            kept: None,
        })
    }
}

/// Reads a conversation, in the client's dialect.
fn conversation(asked: &Asked<'_>, body: &[u8]) -> Result<Request, BadRequest> {
    let mut request = match asked.surface.dialect {
        Dialect::OpenaiChat => openai_chat::decode::request(body),
        Dialect::OpenaiResponses => openai_responses::decode::request(body),
        Dialect::AnthropicMessages => anthropic_messages::decode::request(body),
        Dialect::Gemini => gemini::decode::request(body),
        Dialect::BedrockConverse => Err(BadRequest::new(
            "body",
            "Bedrock Converse is a format of upstreams only",
        )),
    }?;
    asked.model.clone_into(&mut request.model);
    refuse_deep_schemas(&request)?;
    request.stream = asked.stream;
    request.link_tools();
    Ok(request)
}

/// Schemas are walked by functions that call themselves.
fn refuse_deep_schemas(request: &Request) -> Result<(), BadRequest> {
    let is_deep = |schema: &serde_json::Value| nested::is_deeper(schema, SCHEMA_DEPTH_MAX);
    let tools = request.tools.iter().any(|tool| match tool {
        Tool::Function { schema, .. } => schema.as_ref().is_some_and(is_deep),
        Tool::Custom { .. } | Tool::Hosted(_) => false,
    });
    let format = matches!(&request.format, Some(OutputFormat::Schema { schema, .. }) if is_deep(schema));
    let place = match (tools, format) {
        (true, _) => "tools",
        (_, true) => "response_format",
        _ => return Ok(()),
    };
    Err(BadRequest::new(
        place,
        format!("a schema is nested more than {SCHEMA_DEPTH_MAX} levels deep"),
    ))
}

/// Writes a conversation in an upstream's dialect.
fn written(
    dialect: Dialect,
    mut request: Request,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<serde_json::Value, BadRequest> {
    refuse_kept(&request, dialect)?;
    served::settle(&mut request, dialect, target.thinks, losses);
    if dialect != Dialect::AnthropicMessages {
        anthropic_messages::decode::settle_client_tools(&mut request.tools);
    }
    if let Some(telling) = telling(dialect, request.extra.origin) {
        documents_as_texts(&mut request.messages, telling, losses);
    }
    match dialect {
        // There results are items, which stand anywhere.
        Dialect::OpenaiResponses => {}
        Dialect::OpenaiChat => results_behind_calls(&mut request.messages, Neighbours::Apart),
        _ => results_behind_calls(&mut request.messages, Neighbours::Joined),
    }
    let mut body = match dialect {
        Dialect::OpenaiChat => openai_chat::encode::request(request, target, losses),
        Dialect::OpenaiResponses => openai_responses::encode::request(request, target, losses),
        Dialect::AnthropicMessages => anthropic_messages::encode::request(request, target, losses),
        Dialect::Gemini => gemini::encode::request(request, target, losses),
        Dialect::BedrockConverse => bedrock_converse::encode::request(request, target, losses),
    }?;
    fit::fit(&mut body, target, losses);
    Ok(body)
}

/// How documents are told; `None`: the format has its own words for those of text.
///
/// Chat Completions takes PDFs only (<https://developers.openai.com/api/docs/guides/file-inputs>). Google's names of files are
/// not for models, and its API refuses them; what Anthropic's clients call a title is for the model to read.
fn telling(dialect: Dialect, origin: Option<Dialect>) -> Option<Telling> {
    let (text_files, names) = match dialect {
        Dialect::AnthropicMessages | Dialect::BedrockConverse => return None,
        Dialect::OpenaiChat => (false, true),
        Dialect::OpenaiResponses => (true, true),
        Dialect::Gemini => (true, origin != Some(Dialect::AnthropicMessages)),
    };
    Some(Telling { text_files, names })
}

/// Members by which a request names a part of the conversation that its own provider keeps. The first
/// request in a `conversation` of Responses would be whole without it; but nothing tells it from the next ones.
const KEPT: [&str; 4] = ["cachedContent", "cached_content", "prompt", "conversation"];

/// Without what its provider keeps, a request means something else. (An earlier answer is named by a member of the
/// vocabulary, see [`Request::previous`].)
fn refuse_kept(request: &Request, dialect: Dialect) -> Result<(), BadRequest> {
    let keeps = matches!(request.extra.origin, Some(Dialect::Gemini | Dialect::OpenaiResponses));
    let is_foreign = request.extra.origin != Some(dialect);
    let says = |name: &&str| {
        let member = request.extra.members.get(*name);
        member.is_some_and(|value| !value.is_null() && value != "")
    };
    match KEPT.into_iter().find(says) {
        Some(name) if keeps && is_foreign => Err(BadRequest::new(
            name,
            "it names what only its own provider keeps; send the whole conversation instead",
        )),
        _ => Ok(()),
    }
}

/// A stream on its way to the client, in its own dialect or in another one.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "pass-through is the usual case, and must not pay an allocation"
)]
pub enum Transcoder {
    /// The bytes pass through; the tap watches.
    Passthrough(StreamTap),
    /// The bytes pass through, and nobody could read them.
    Sound(SoundTap),
    /// The answer is told anew.
    Translate(Box<Translation>),
}

/// A stream that is told anew.
#[derive(Debug)]
pub struct Translation {
    tap: StreamTap,
    /// Cuts chunks into events, so that what is told does not depend on how the bytes came.
    framing: Framing,
    decoder: StreamDecoder,
    halves: Halves,
    /// `None`: what is heard is kept in `events` until it is known that it will be told, and behind what.
    encoder: Option<StreamEncoder>,
    /// Where the answer may be taken up by another stream: what was told of it.
    thread: Option<Box<Thread>>,
    /// Where it passes as it came, until it breaks off.
    passing: Option<Box<Passing>>,
    tools: ToolNames,
    /// For what this upstream calls the tools.
    back: Back,
    /// For what this upstream does by itself, once something is told.
    steps: Option<Steps>,
    usage: Option<Usage>,
    expected: Option<Expected>,
    tier: Option<String>,
    released: Vec<Bytes>,
    events: Vec<Event>,
    losses: Losses,
    fault: Option<StreamFault>,
    /// It ended before it was told to anybody.
    has_ended: bool,
}

impl Transcoder {
    /// A translation of what `tap` will release, into the dialect `to`.
    pub fn translate(tap: StreamTap, to: Dialect, reply: Reply) -> Self {
        let (tools, expected) = (reply.tools.clone(), reply.expected);
        let encoder = Some(StreamEncoder::new(to, reply));
        Self::Translate(Box::new(Translation {
            expected,
            ..Translation::new(tap, encoder, tools)
        }))
    }

    /// Takes a chunk of the upstream's body and appends to `out` what may go to the client now. See [`StreamTap::push`].
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> TapState {
        match self {
            Self::Passthrough(tap) => tap.push(chunk, out),
            Self::Sound(tap) => tap.push(chunk, out),
            Self::Translate(translation) => translation.push(&chunk, out),
        }
    }

    /// The upstream's body ended: cleanly, or it broke off. See [`StreamTap::finish`].
    pub fn finish(&mut self, clean_end: bool) -> StreamEnd {
        match self {
            Self::Passthrough(tap) => tap.finish(clean_end),
            Self::Sound(tap) => tap.finish(clean_end),
            Self::Translate(translation) => translation.finish(clean_end),
        }
    }

    /// The whole answer as it was told, where it is to be kept: after a complete end.
    pub fn take_kept(&mut self) -> Option<String> {
        match self {
            Self::Passthrough(_) | Self::Sound(_) => None,
            Self::Translate(translation) => translation.encoder.as_mut()?.take_kept(),
        }
    }

    /// Whether content was seen: from here on the answer is committed.
    pub const fn has_content(&self) -> bool {
        match self {
            Self::Passthrough(tap) => tap.has_content(),
            Self::Sound(tap) => tap.has_content(),
            Self::Translate(translation) => translation.tap.has_content(),
        }
    }

    /// What was observed so far.
    pub fn report(&self) -> Report {
        match self {
            Self::Passthrough(tap) => tap.report(),
            Self::Sound(tap) => tap.report(),
            Self::Translate(translation) => translation.tap.report(),
        }
    }

    /// Bytes that the model generated so far, as in [`report`](Self::report), without copying that.
    pub const fn content_bytes(&self) -> u64 {
        match self {
            Self::Passthrough(tap) => tap.seen().content_bytes,
            Self::Sound(_) => 0,
            Self::Translate(translation) => translation.tap.seen().content_bytes,
        }
    }

    /// How the provider says that the answer failed, if it does.
    pub fn failed(&self) -> Option<FailureClass> {
        let seen = match self {
            Self::Passthrough(tap) => tap.seen(),
            Self::Sound(_) => return None,
            Self::Translate(translation) => translation.tap.seen(),
        };
        seen.failure.as_ref().map(|failure| failure.class)
    }

    /// See [`StreamTap::lacks_only_its_terminator`].
    pub fn lacks_only_its_terminator(&self) -> Option<bool> {
        match self {
            Self::Passthrough(tap) => tap.lacks_only_its_terminator(),
            Self::Sound(_) => None,
            Self::Translate(translation) => translation.tap.lacks_only_its_terminator(),
        }
    }

    /// What the provider keeps of this answer, where that was said already.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Passthrough(tap) => tap.seen().stored.as_deref(),
            Self::Sound(_) => None,
            Self::Translate(translation) => translation.tap.seen().stored.as_deref(),
        }
    }

    /// Whether a heartbeat may be inserted now, and an error be told in words: never into sound.
    pub const fn between_events(&self) -> bool {
        match self {
            Self::Passthrough(tap) => tap.between_events(),
            Self::Sound(_) => false,
            Self::Translate(translation) => translation.tap.between_events(),
        }
    }

    /// The number of the event that the client could be told next, in a format that numbers them; else 0.
    pub fn next_number(&self) -> u64 {
        match self {
            Self::Passthrough(tap) => tap.next_number(),
            Self::Sound(_) => 0,
            Self::Translate(translation) if translation.passing.is_some() => translation.tap.next_number(),
            Self::Translate(translation) => translation.encoder.as_ref().map_or(0, StreamEncoder::next_number),
        }
    }

    /// Whether the client gets the provider's own events.
    pub const fn passes(&self) -> bool {
        match self {
            Self::Passthrough(_) | Self::Sound(_) => true,
            Self::Translate(translation) => translation.passing.is_some(),
        }
    }

    /// What the client's format could not say so far.
    pub fn losses(&self) -> &[Loss] {
        match self {
            Self::Passthrough(_) | Self::Sound(_) => &[],
            Self::Translate(translation) if translation.passing.is_some() => &[],
            Self::Translate(translation) => translation.losses.as_slice(),
        }
    }
}

impl Translation {
    fn new(tap: StreamTap, encoder: Option<StreamEncoder>, tools: ToolNames) -> Self {
        Self {
            back: tools.back_from(tap.surface().dialect),
            tools,
            framing: tap.framing(),
            decoder: StreamDecoder::new(tap.surface().dialect),
            halves: Halves::default(),
            encoder,
            thread: None,
            passing: None,
            tap,
            steps: None,
            usage: None,
            expected: None,
            tier: None,
            released: Vec::new(),
            events: Vec::new(),
            losses: Losses::default(),
            fault: None,
            has_ended: false,
        }
    }

    fn push(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> TapState {
        let (mut told, mut state, mut at) = (Vec::new(), TapState::Open, 0);
        let mut is_open = false;
        while let Some(cut) = self.framing.next(chunk, at) {
            state = self.feed(chunk.slice(at..cut.at), is_open, &mut told);
            at = cut.at;
            // After a `\r` only the next byte shows the tap that the event has ended.
            is_open = at == 0 || chunk.get(at - 1) == Some(&b'\r');
            if matches!(state, TapState::Broken(_)) {
                break;
            }
        }
        if at < chunk.len() && !matches!(state, TapState::Broken(_)) {
            state = self.feed(chunk.slice(at..), is_open, &mut told);
        }
        if !told.is_empty() {
            out.push(told.into());
        }
        state
    }

    /// Takes one event, or the beginning of one; its first byte by itself where that ends the event before, which must be
    /// told before anything is known of this one.
    fn feed(&mut self, mut piece: Bytes, is_open: bool, told: &mut Vec<u8>) -> TapState {
        if is_open && piece.len() > 1 {
            let state = self.step(piece.split_to(1), told);
            if matches!(state, TapState::Broken(_)) {
                return state;
            }
        }
        self.step(piece, told)
    }

    fn step(&mut self, piece: Bytes, told: &mut Vec<u8>) -> TapState {
        let mut released = std::mem::take(&mut self.released);
        let state = self.tap.push(piece, &mut released);
        for whole in released.drain(..) {
            match self.passing {
                Some(_) => self.pass(&whole, told),
                None => self.decode_and_tell(&whole, told),
            }
        }
        self.released = released;
        match &self.fault {
            Some(fault) => TapState::Broken(fault.clone()),
            None => state,
        }
    }

    fn finish(&mut self, clean_end: bool) -> StreamEnd {
        let end = match &self.thread {
            // Nobody may say more behind its end; so that it is no break.
            Some(_) if !clean_end => self.tap.finish_cut(),
            _ => self.tap.finish(clean_end),
        };
        let last = match end {
            StreamEnd::Complete { last } => last,
            incomplete @ StreamEnd::Incomplete { .. } => return incomplete,
        };
        if self.passing.is_some() {
            return self.passed(last);
        }
        let mut told = Vec::new();
        self.decode_and_tell(&last, &mut told);
        if let Some(why) = self.fault.take() {
            if !told.is_empty() {
                self.lose("its end was held back");
            }
            return StreamEnd::Incomplete { why };
        }
        let from = self.events.len();
        self.decoder.finish(&mut self.events);
        self.halves.join(&mut self.events, from, false);
        self.has_ended = true;
        self.end(told)
    }

    /// Tells the end of a whole stream.
    fn end(&mut self, mut told: Vec<u8>) -> StreamEnd {
        if let (None, Some(expected)) = (self.usage, self.expected) {
            let usage = expected.usage(self.tap.seen().content_bytes);
            self.events.push(Event::Usage(usage));
        }
        self.tell(&mut told);
        if let Some(encoder) = &mut self.encoder {
            let mut last = Vec::new();
            if let Some(steps) = &mut self.steps {
                steps.finish(&mut last, &mut self.losses);
            }
            for event in last {
                encoder.event(event, &mut told, &mut self.losses);
            }
            encoder.finish(&mut told, &mut self.losses);
        }
        match self.fault.take() {
            Some(why) => {
                self.lose("its end was told");
                StreamEnd::Incomplete { why }
            }
            None => StreamEnd::Complete { last: told.into() },
        }
    }

    /// Decodes whole events and tells what they say.
    fn decode_and_tell(&mut self, piece: &[u8], told: &mut Vec<u8>) {
        self.note_usage();
        let is_read = if self.tap.is_array() {
            self.read_elements(piece)
        } else if self.tap.surface().dialect == Dialect::BedrockConverse {
            frames(piece).try_for_each(|frame| self.decoder.event(frame, &mut self.events))
        } else {
            sse::events(piece).try_for_each(|event| self.read(event.data.as_deref().unwrap_or_default()))
        };
        if let Err(nonsense) = is_read {
            self.fault = Some(self.unreadable(&nonsense));
        }
        self.tell(told);
    }

    /// An event that is no part of an answer is the provider's word that it failed, or nonsense.
    fn unreadable(&self, nonsense: &Nonsense) -> StreamFault {
        let said = match nonsense {
            Nonsense::Error(failure) => Some(failure),
            _ => None,
        };
        match self.tap.seen().failure.as_ref().or(said) {
            Some(failure) => StreamFault::ErrorEvent(failure.clone()),
            None => StreamFault::Malformed {
                event: self.tap.events(),
            },
        }
    }

    /// The last piece of an array may hold several elements: what was held back, and the bracket.
    fn read_elements(&mut self, piece: &[u8]) -> Result<(), Nonsense> {
        let mut rest = stream::element(piece);
        while rest.first() == Some(&b'{') {
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&serde_json::value::RawValue>();
            let Some(Ok(value)) = values.next() else {
                return Err(Nonsense::Lacks("an object"));
            };
            let end = values.byte_offset();
            self.decode(value.get().as_bytes())?;
            rest = stream::element(rest.get(end..).unwrap_or_default());
        }
        Ok(())
    }

    fn read(&mut self, data: &[u8]) -> Result<(), Nonsense> {
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        self.decode(data)
    }

    /// Reads the JSON of an event, in which a character may be cut.
    fn decode(&mut self, data: &[u8]) -> Result<(), Nonsense> {
        let from = self.events.len();
        let data = halves::marked(data);
        self.decoder.event(&data, &mut self.events)?;
        let has_marks = matches!(data, Cow::Owned(_));
        if has_marks || !self.halves.is_empty() {
            self.halves.join(&mut self.events, from, has_marks);
        }
        Ok(())
    }

    fn tell(&mut self, told: &mut Vec<u8>) {
        let Some(encoder) = &mut self.encoder else { return };
        let mut events = std::mem::take(&mut self.events);
        for event in &mut events {
            self.back.event(event);
        }
        if let Some(thread) = &mut self.thread {
            let heard = std::mem::take(&mut events);
            for event in heard {
                thread.push(event, &mut events);
            }
        }
        let from = self.tap.surface().dialect;
        let steps = self.steps.get_or_insert_with(|| Steps::new(from, encoder.dialect()));
        let mut fits = true;
        let mut ready = Vec::new();
        for event in events.drain(..) {
            if matches!(event, Event::Delta { .. }) {
                fits &= encoder.event(event, told, &mut self.losses);
                continue;
            }
            steps.event(event, &mut ready, &mut self.losses);
            for event in ready.drain(..) {
                fits &= encoder.event(event, told, &mut self.losses);
            }
        }
        if !fits {
            self.fault = Some(StreamFault::TooLong);
        }
        self.events = events;
        if self.fault == Some(StreamFault::TooLong) {
            self.lose("the format has to keep too much of it back");
        }
    }

    /// What is billed is what is told: usage and tier come from the tap, not from the decoders.
    fn note_usage(&mut self) {
        let seen = self.tap.seen();
        if let Some(usage) = told_usage(&seen.usage)
            && self.usage != Some(usage)
        {
            self.usage = Some(usage);
            self.events.push(Event::Usage(usage));
        }
        if seen.service_tier != self.tier {
            self.tier.clone_from(&seen.service_tier);
            self.events.extend(self.tier.clone().map(Event::ServiceTier));
        }
    }
}

#[cfg(test)]
mod media;
#[cfg(test)]
mod presets;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod tests;
