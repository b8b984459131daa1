//! The tap on a stream: passes bytes through untouched and watches them.
//!
//! Only whole, well-formed events are released, so a client never sees half of one and a fault can always be told in
//! its own event. Nothing is written again: what goes out are slices of what came in, one per chunk where nothing is
//! hidden. The terminal event is held back until `finish`, so that the receipt can be written before the client knows
//! that it is done.
//!
//! What is absent on purpose: any repair. An event that is not JSON ends the stream as broken; the one thing added is a
//! terminator that a provider forgot after an answer that is demonstrably whole.

use bytes::{Bytes, BytesMut};
use domain::{Dialect, Surface};
use smallvec::SmallVec;

use crate::answer::{Report, ReportedFailure, UsageReport};
use crate::json::{Syntax, utf8};
use crate::limits::{EVENT_MAX, TRAILER_MAX};
use crate::observation::{Mark, Observation, Sign};
use crate::openai_responses::Instructions;
use crate::provider_error::ProviderError;
use crate::sse::{Event, Framer};
use crate::{anthropic_messages, bedrock_converse, gemini, openai_chat, openai_responses, tasks};

mod array;
pub(crate) mod frames;
mod framing;
pub(crate) mod stencil;
mod unwrap;

pub(crate) use array::element;
use array::{ArrayFramer, Edge};
use frames::FrameFramer;
use framing::Cut;
pub(crate) use framing::Framing;
use stencil::Stencil;
pub use unwrap::{Unwrapper, Wrapping};

/// How a stream is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// What was asked, in which format.
    pub surface: Surface,
    /// Hide the usage-only chunk, because the client did not ask for it.
    pub hide_usage_chunk: bool,
    /// Gemini without `alt=sse`: one JSON array instead of events.
    pub json_array: bool,
}

impl TapOptions {
    /// Whether the stream is one JSON array.
    pub(crate) fn is_array(self) -> bool {
        self.json_array && self.surface.dialect == Dialect::Gemini
    }

    /// How the stream is cut into pieces, at its start.
    fn framing(self) -> Framing {
        match self.surface.dialect {
            Dialect::Gemini if self.json_array => Framing::Array(ArrayFramer::default()),
            Dialect::BedrockConverse => Framing::Frames(FrameFramer::default()),
            _ => Framing::Events(Framer::default()),
        }
    }
}

/// Where the stream stands after a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapState {
    /// More is to come.
    Open,
    /// The terminal marker was seen: the answer is whole. Read the rest of the body if it comes at once (that frees the
    /// connection, and lets a trailing `[DONE]` through), then call `finish`; anything else that comes is dropped.
    Terminal,
    /// The stream cannot go on.
    Broken(StreamFault),
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// An event is not what the dialect allows. It was not released.
    Malformed {
        /// Its number, from 1.
        event: u64,
    },
    /// The provider reported an error instead of going on. The event was not released.
    ErrorEvent(ReportedFailure),
    /// It ended before it was complete.
    Truncated,
    /// One event is longer than a stream may hold back.
    TooLong,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// It is whole. Look at [`Report::failure`]: a whole stream can end with the provider's own word that it failed.
    Complete {
        /// The bytes held back so far: to be released once the receipt is written.
        last: Bytes,
    },
    /// It is not.
    Incomplete {
        /// Why not.
        why: StreamFault,
    },
}

/// Passes a stream through and watches it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are findings, independent of each other, not a state"
)]
#[derive(Debug)]
pub struct StreamTap {
    options: TapOptions,
    framing: Framing,
    seen: Observation,
    state: TapState,
    /// The beginning of an event that has not ended.
    partial: BytesMut,
    /// Whole events held back: the terminal one, or one that may turn out to be the last.
    tail: SmallVec<[Bytes; 2]>,
    /// Bytes in `tail` that are there only because of what stands before them.
    trailer: usize,
    /// The event before, if more of its kind may follow.
    stencil: Stencil,
    events: u64,
    /// The last number that an event was read to have (Responses), and which event that was.
    numbered: Option<(u64, u64)>,
    has_content: bool,
    started: bool,
    /// `[DONE]` was seen.
    done: bool,
    /// The provider reported an error before the model had come to its end.
    failed_early: bool,
    /// What the answer repeats in place of what the upstream was told.
    repeated: Option<Box<Instructions>>,
}

/// What becomes of a piece of the stream.
#[derive(Debug)]
enum Fate {
    Release,
    /// Not for the client.
    Drop,
    /// Held back until another comes, or the end.
    Hold,
    /// Belongs to what is held back, if anything is.
    Follow,
    Terminal,
    Broken(StreamFault),
}

impl StreamTap {
    /// A tap for a stream that has not begun.
    pub fn new(options: TapOptions) -> Self {
        Self {
            framing: options.framing(),
            options,
            seen: Observation::default(),
            state: TapState::Open,
            partial: BytesMut::new(),
            tail: SmallVec::new(),
            trailer: 0,
            stencil: Stencil::default(),
            events: 0,
            numbered: None,
            has_content: false,
            started: false,
            done: false,
            failed_early: false,
            repeated: None,
        }
    }

    /// The same, for a stream whose answer is to repeat these instructions.
    #[must_use]
    pub fn repeating(self, instructions: Instructions) -> Self {
        Self {
            repeated: Some(Box::new(instructions)),
            ..self
        }
    }

    /// Takes a chunk of the upstream's body and appends to `out` what may go to the client now.
    ///
    /// After `Broken` nothing more is taken; after `Terminal` only what belongs to the end.
    pub fn push(&mut self, mut chunk: Bytes, out: &mut Vec<Bytes>) -> TapState {
        let released = out.len();
        if self.is_running() && !self.partial.is_empty() {
            self.complete_partial(&mut chunk, out);
        }
        if self.is_running() && !chunk.is_empty() {
            self.pass(&chunk, out);
        }
        if let Some(repeated) = &self.repeated {
            for events in out.iter_mut().skip(released) {
                *events = repeated.restore_events(events);
            }
        }
        self.state.clone()
    }

    /// The upstream's body ended: cleanly, or it broke off.
    pub fn finish(&mut self, clean_end: bool) -> StreamEnd {
        let mut padding: &[u8] = b"";
        if clean_end && !self.partial.is_empty() && self.is_running() {
            padding = self.take_unended();
        }
        match &self.state {
            TapState::Terminal => self.complete(b"", b""),
            TapState::Broken(why) => StreamEnd::Incomplete { why: why.clone() },
            TapState::Open if !clean_end => self.truncated(),
            TapState::Open => match self.missing_terminator() {
                Some(terminator) => self.complete(padding, terminator),
                None => self.truncated(),
            },
        }
    }

    /// The upstream's body broke off. An answer whose stop reason was read is whole all the same: what came half behind it
    /// was none of it.
    pub(crate) fn finish_cut(&mut self) -> StreamEnd {
        let is_whole = self.state == TapState::Open && self.seen.may_end(self.options.surface);
        if is_whole {
            self.partial.clear();
        }
        self.finish(is_whole)
    }

    /// Whether the model has come to its end, whatever else is wrong with the stream. An end that is said with an error, in
    /// one event, is the error's.
    pub(crate) fn has_stopped(&self) -> bool {
        !self.failed_early && self.is_at_end()
    }

    fn is_at_end(&self) -> bool {
        let surface = self.options.surface;
        // Bedrock says the usage behind the end, and the end of that is the stream's.
        let awaits_usage = surface.dialect == Dialect::BedrockConverse && self.seen.closing;
        awaits_usage || self.seen.may_end(surface)
    }

    /// Whether content was seen: text, thinking or a tool call. From here on the answer is committed.
    pub const fn has_content(&self) -> bool {
        self.has_content
    }

    /// What was observed so far.
    pub fn report(&self) -> Report {
        Report {
            complete: self.state == TapState::Terminal,
            ..self.seen.report.clone()
        }
    }

    /// What is read, in which format.
    pub(crate) const fn surface(&self) -> Surface {
        self.options.surface
    }

    /// Whether the stream is one JSON array.
    pub(crate) fn is_array(&self) -> bool {
        self.options.is_array()
    }

    /// How such a stream is cut into pieces, at its start.
    pub(crate) fn framing(&self) -> Framing {
        self.options.framing()
    }

    /// How many events were read.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// The number of the event that could be told next, in a format that numbers them (Responses); else 0.
    pub(crate) fn next_number(&self) -> u64 {
        let not_told = match self.state {
            TapState::Terminal | TapState::Broken(StreamFault::Malformed { .. } | StreamFault::ErrorEvent(_)) => 1,
            TapState::Open | TapState::Broken(StreamFault::Truncated | StreamFault::TooLong) => 0,
        };
        let next = |(number, event): (u64, u64)| number.saturating_add(self.events - event + 1);
        self.numbered.map_or(0, next).saturating_sub(not_told)
    }

    /// What was observed so far, without copying it; `complete` is not set in it.
    pub(crate) const fn seen(&self) -> &Report {
        &self.seen.report
    }

    /// Whether the answer is whole but for its terminator: `Some(true)` with its usage, `Some(false)` without.
    pub fn lacks_only_its_terminator(&self) -> Option<bool> {
        let is_whole = self.state == TapState::Open && self.partial.is_empty();
        let has_usage = self.seen.report.usage != UsageReport::None;
        (is_whole && self.seen.may_end(self.options.surface)).then_some(has_usage)
    }

    /// Whether a heartbeat may be inserted now. Always: only whole events are released.
    pub const fn between_events(&self) -> bool {
        true
    }

    const fn is_running(&self) -> bool {
        !matches!(self.state, TapState::Broken(_))
    }

    /// Takes from `chunk` what belongs to the event that began earlier.
    fn complete_partial(&mut self, chunk: &mut Bytes, out: &mut Vec<Bytes>) {
        let cut = self.framing.next(chunk, 0);
        let taken = chunk.split_to(cut.map_or(chunk.len(), |cut| cut.at));
        self.keep(&taken);
        if let (Some(cut), true) = (cut, self.is_running()) {
            let piece = self.partial.split().freeze();
            match self.judge(&piece, cut.edge) {
                Fate::Release => {
                    self.release_tail(out);
                    out.push(piece);
                }
                fate => self.carry_out(fate, piece, out),
            }
        }
    }

    /// Passes on what is whole in `chunk`, in one slice if nothing is held back, and keeps the rest.
    fn pass(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) {
        let (mut run, mut at) = (0, 0);
        while let Some(Cut { at: end, edge }) = self.framing.next(chunk, at) {
            let fate = self.judge(chunk.get(at..end).unwrap_or_default(), edge);
            if matches!(fate, Fate::Release) {
                self.release_tail(out);
            } else {
                release(chunk, run..at, out);
                self.carry_out(fate, chunk.slice(at..end), out);
                run = end;
            }
            at = end;
            if !self.is_running() {
                return;
            }
        }
        release(chunk, run..at, out);
        self.keep(chunk.get(at..).unwrap_or_default());
    }

    fn carry_out(&mut self, fate: Fate, piece: Bytes, out: &mut Vec<Bytes>) {
        match fate {
            Fate::Release => {
                self.release_tail(out);
                out.push(piece);
            }
            Fate::Drop => {}
            Fate::Hold => {
                self.release_tail(out);
                self.tail.push(piece);
            }
            Fate::Follow => {
                self.trailer += piece.len();
                self.tail.push(piece);
            }
            Fate::Terminal => {
                self.tail.push(piece);
                self.state = TapState::Terminal;
            }
            Fate::Broken(why) => self.state = TapState::Broken(why),
        }
    }

    fn release_tail(&mut self, out: &mut Vec<Bytes>) {
        if !self.tail.is_empty() {
            out.extend(self.tail.drain(..));
            self.trailer = 0;
        }
    }

    /// Keeps the beginning of an event.
    fn keep(&mut self, bytes: &[u8]) {
        if self.state == TapState::Terminal {
            // One byte more than may follow: enough to know, however the bytes were cut, that it was too long.
            let room = (TRAILER_MAX + 1).saturating_sub(self.partial.len());
            self.partial.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            return;
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > EVENT_MAX {
            self.state = TapState::Broken(StreamFault::TooLong);
        }
    }

    fn judge(&mut self, piece: &[u8], edge: Edge) -> Fate {
        match self.state {
            TapState::Open if piece.len() > EVENT_MAX => return Fate::Broken(StreamFault::TooLong),
            // Of such a piece only the beginning was kept: it must not be read.
            TapState::Terminal if piece.len() > TRAILER_MAX => return Fate::Drop,
            _ => {}
        }
        match (&self.framing, edge) {
            (_, Edge::Nonsense) => {
                self.events += 1;
                self.malformed()
            }
            (_, Edge::Close) => self.terminal(),
            (Framing::Array(framer), Edge::Piece) => {
                let is_bare = framer.is_bare();
                let fate = self.read(array::element(piece));
                // An object where the array should be can only be an error.
                if is_bare && !matches!(fate, Fate::Broken(_)) {
                    self.malformed()
                } else {
                    fate
                }
            }
            (Framing::Events(_), Edge::Piece) => self.judge_event(piece),
            // Nothing that follows the last frame belongs to the answer.
            (Framing::Frames(_), Edge::Piece) if self.state != TapState::Open => Fate::Drop,
            (Framing::Frames(_), Edge::Piece) => self.read(piece),
        }
    }

    fn judge_event(&mut self, piece: &[u8]) -> Fate {
        let text = if self.started {
            piece
        } else {
            piece.strip_prefix(BYTE_ORDER_MARK).unwrap_or(piece)
        };
        self.started = true;
        let event = Event::read(text);
        let data = event.data.as_deref().unwrap_or_default().trim_ascii();
        if data == b"[DONE]" {
            return self.judge_done();
        }
        match self.state {
            TapState::Open if event.name == b"error" && !data.is_empty() => self.read_error(data),
            TapState::Open if !data.is_empty() => self.read(data),
            TapState::Open if self.tail.is_empty() || self.trailer + piece.len() > TRAILER_MAX => Fate::Release,
            TapState::Open => Fate::Follow,
            TapState::Terminal | TapState::Broken(_) => Fate::Drop,
        }
    }

    /// `[DONE]` ends a chat stream. Some gateways put it after the real end of other formats, where it is kept.
    fn judge_done(&mut self) -> Fate {
        let was_done = std::mem::replace(&mut self.done, true);
        match self.state {
            TapState::Open => self.terminal(),
            _ if was_done => Fate::Drop,
            _ => Fate::Follow,
        }
    }

    fn read(&mut self, data: &[u8]) -> Fate {
        self.events += 1;
        if let Some(said) = self.stencil.fit(data) {
            self.seen.report.content_bytes += said;
            return Fate::Release;
        }
        let before = self.seen.report.content_bytes;
        let was_at_end = self.is_at_end();
        self.seen.holes.clear();
        let Ok(sign) = self.read_sign(data) else {
            return self.malformed();
        };
        // Not by an error's, which is not told and may have any.
        if let (Some(number), false) = (self.seen.sequence.take(), matches!(sign.mark, Mark::Error(_))) {
            self.numbered = Some((number, self.events));
        }
        if self.state == TapState::Open && sign.is_plain() {
            self.stencil
                .cut(data, &self.seen.holes, self.seen.report.content_bytes - before);
        } else {
            self.stencil.clear();
        }
        match sign.mark {
            Mark::Error(error) => {
                self.failed_early = !was_at_end;
                return Fate::Broken(StreamFault::ErrorEvent(error));
            }
            Mark::End => return self.terminal(),
            Mark::Perhaps | Mark::None => self.has_content |= sign.content,
        }
        match sign.mark {
            Mark::Perhaps => Fate::Hold,
            _ if sign.usage_only && self.options.hide_usage_chunk => Fate::Drop,
            _ => Fate::Release,
        }
    }

    /// An event that is called an error is one, whatever is in it.
    fn read_error(&mut self, data: &[u8]) -> Fate {
        let was_at_end = self.is_at_end();
        let fate = self.read(data);
        // What the reader took for the failure that it is may have to be passed on.
        if matches!(fate, Fate::Broken(_)) || self.seen.report.failure.is_some() {
            return fate;
        }
        self.failed_early = !was_at_end;
        Fate::Broken(StreamFault::ErrorEvent(ProviderError::read(data).reported()))
    }

    fn read_sign(&mut self, data: &[u8]) -> Result<Sign, Syntax> {
        if matches!(self.framing, Framing::Frames(_)) {
            return bedrock_converse::answer::read_frame(data, &mut self.seen);
        }
        utf8(data)?;
        let Surface { operation, dialect } = self.options.surface;
        match dialect {
            Dialect::OpenaiChat if operation.is_task() => tasks::answer::read_event(operation, data, &mut self.seen),
            Dialect::OpenaiChat => openai_chat::answer::read(data, &mut self.seen),
            Dialect::OpenaiResponses => openai_responses::answer::read_event(data, &mut self.seen, self.has_content),
            Dialect::AnthropicMessages => anthropic_messages::answer::read_event(data, &mut self.seen),
            Dialect::Gemini => gemini::answer::read(data, &mut self.seen),
            Dialect::BedrockConverse => Err(Syntax {
                at: 0,
                what: "the dialect has no events of this kind",
            }),
        }
    }

    /// The terminal marker: believed only where the answer before it is whole.
    fn terminal(&self) -> Fate {
        match self.state {
            TapState::Open if self.seen.may_terminate(self.options.surface) => Fate::Terminal,
            TapState::Open => Fate::Broken(StreamFault::Truncated),
            TapState::Terminal | TapState::Broken(_) => Fate::Drop,
        }
    }

    const fn malformed(&self) -> Fate {
        match self.state {
            TapState::Open => Fate::Broken(StreamFault::Malformed { event: self.events }),
            TapState::Terminal | TapState::Broken(_) => Fate::Drop,
        }
    }

    /// At a clean end: takes an event that lacks only its blank line. Returns what is missing at its end.
    fn take_unended(&mut self) -> &'static [u8] {
        let piece = self.partial.split().freeze();
        let missing = match &self.framing {
            Framing::Events(framer) => framer.missing(),
            Framing::Array(_) | Framing::Frames(_) => b"",
        };
        if self.state == TapState::Terminal && piece.len() > TRAILER_MAX {
            return b"";
        }
        if self.is_only_space(&piece) {
            if self.tail.len() < 2 || piece.len() <= TRAILER_MAX {
                self.tail.push(piece);
                return missing;
            }
            return b"";
        }
        let fate = match &self.framing {
            Framing::Events(_) if Event::read(&piece).data.is_some() => self.judge(&piece, Edge::Piece),
            Framing::Events(_) | Framing::Array(_) | Framing::Frames(_) => self.malformed(),
        };
        match fate {
            Fate::Release | Fate::Hold | Fate::Follow => self.tail.push(piece),
            Fate::Terminal => self.carry_out(Fate::Terminal, piece, &mut Vec::new()),
            // What is not shown lacks nothing.
            Fate::Drop => return b"",
            // What does not read as an event was cut in the middle.
            Fate::Broken(StreamFault::Malformed { .. }) => self.state = TapState::Broken(StreamFault::Truncated),
            Fate::Broken(why) => self.state = TapState::Broken(why),
        }
        missing
    }

    /// Whether a remainder means nothing: white space after the last element, or a comment.
    fn is_only_space(&self, piece: &[u8]) -> bool {
        let is_blank = piece.trim_ascii().is_empty();
        match &self.framing {
            Framing::Events(_) => is_blank || (piece.starts_with(b":") && Event::read(piece) == Event::default()),
            Framing::Array(_) => is_blank,
            Framing::Frames(_) => false,
        }
    }

    /// What must be added for a stream that ended without its terminal marker, if it is whole at all.
    fn missing_terminator(&self) -> Option<&'static [u8]> {
        let dialect = self.options.surface.dialect;
        if self.seen.report.failure.is_some() {
            return Some(b"");
        }
        if !self.seen.may_end(self.options.surface) {
            return None;
        }
        match (dialect, &self.framing) {
            // Their last event says it; nothing follows.
            (Dialect::OpenaiChat, _) if self.options.surface.operation.is_task() => Some(b""),
            (Dialect::OpenaiChat, _) => Some(openai_chat::TERMINATOR),
            (Dialect::AnthropicMessages, _) => Some(anthropic_messages::TERMINATOR),
            (Dialect::Gemini, Framing::Events(_) | Framing::Frames(_)) => Some(b""),
            (Dialect::Gemini, Framing::Array(framer)) => framer.is_after_element().then_some(b"]"),
            (Dialect::OpenaiResponses | Dialect::BedrockConverse, _) => None,
        }
    }

    fn complete(&mut self, padding: &[u8], terminator: &'static [u8]) -> StreamEnd {
        self.state = TapState::Terminal;
        if !terminator.is_empty() {
            self.tail.push(Bytes::copy_from_slice(padding));
            self.tail.push(Bytes::from_static(terminator));
        }
        let last = if self.tail.len() == 1 {
            self.tail.remove(0)
        } else {
            Bytes::from(self.tail.concat())
        };
        self.tail.clear();
        let last = match &self.repeated {
            Some(repeated) => repeated.restore_events(&last),
            None => last,
        };
        StreamEnd::Complete { last }
    }

    fn truncated(&mut self) -> StreamEnd {
        self.state = TapState::Broken(StreamFault::Truncated);
        StreamEnd::Incomplete {
            why: StreamFault::Truncated,
        }
    }
}

/// UTF-8's; only the very first bytes of a stream may be one.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn release(chunk: &Bytes, span: std::ops::Range<usize>, out: &mut Vec<Bytes>) {
    if !span.is_empty() {
        out.push(chunk.slice(span));
    }
}

#[cfg(test)]
mod tests;
