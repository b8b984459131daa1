//! One skipping scan over a request, and the few bytes that may change in it.
//!
//! The scan finds what admission and routing need and remembers where it stands, so that a changed model name or an
//! added option is a splice: every other byte reaches the upstream as the client wrote it, which keeps prompt caches
//! warm and unknown fields alive.
//!
//! A key that decides money or routing must stand there once. JSON readers disagree about duplicates (first or last),
//! and whoever sends two `model`s hopes that gateway and upstream are two such readers.

use std::ops::Range;

use bytes::Bytes;
use domain::{Dialect, Operation, Surface, Units};
use smallvec::SmallVec;

use crate::hub::{Signature, is_made_name};
use crate::json::{Cursor, Figure, Kind, Syntax, count, utf8};
use crate::limits::SEARCHES_UNASKED_MAX;
use crate::tasks::form::Form;
use crate::tasks::request::Compared;
use crate::{anthropic_messages, gemini, openai_chat, openai_responses, tasks};

mod edit;
mod needs;
mod references;
mod system;

pub use needs::needs;
pub use references::References;
pub use system::{PROMPT_GAP, inject_system, own_instructions};

/// What must be known of a request before it can be admitted and routed.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one request")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for; always `None` in Gemini's format, where the path names it.
    pub model: Option<String>,
    /// Whether a stream is asked for. In Gemini's format the path says it.
    pub stream: bool,
    /// The most output tokens that the request allows per choice, where it says; of several limits the largest.
    pub output_bound: Option<u64>,
    /// How many answers are asked for, at least 1.
    pub choices: u64,
    /// Whether input lies outside the body: URLs, file ids, earlier responses, caches, or tools that the provider
    /// runs and whose results it feeds back; or in a document, whose compressed pages may be any number of tokens.
    pub by_reference: bool,
    /// What the request names that lives at an upstream, or is kept here; nothing in nearly every request.
    pub references: Option<Box<References>>,
    /// Whether the answer is to be worked out in the background (Responses).
    pub background: bool,
    /// Whether the answer may be kept to be continued (Responses).
    pub keep: bool,
    /// Whether the provider is to keep the answer besides giving it (Chat Completions).
    pub stores: bool,
    /// Pictures and sounds inside the body: their bytes say little about their tokens.
    pub inline_media: u32,
    /// Whether tools are offered.
    pub tools: bool,
    /// Whether it says what, of `OpenAI`'s two formats, only Chat Completions can say: stop sequences, several answers, seeds,
    /// penalties, sound.
    pub wants_chat: bool,
    /// The most web searches that the provider may run for this answer and bill one by one.
    pub searches: u64,
    /// What a task asks for; `None` for everything else.
    pub units: Option<Box<Units>>,
    /// Texts to complete in one request (classic completions): each is answered by its own choices.
    prompts: u64,
    /// The decisive keys that were met, and [`FOREIGN_SEAL`].
    met: u32,
    places: Places,
}

/// Where things stand in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    dialect: Option<Dialect>,
    /// From `{` to `}`, both included.
    object: Range<usize>,
    has_members: bool,
    /// The literals that name the model: one, but in Gemini's batches.
    models: SmallVec<[Range<usize>; 1]>,
    usage_option: UsageOption,
    /// The body is a form.
    form: Option<Box<Form>>,
}

/// How the client stands to `stream_options.include_usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum UsageOption {
    /// There is no `stream_options`.
    #[default]
    Absent,
    /// There is one that is no object (`null`): the literal.
    Literal(Range<usize>),
    /// There is one without `include_usage`: where `{` stands, and whether members follow.
    Object { open: usize, has_members: bool },
    /// `include_usage` is there: its literal.
    Given { literal: Range<usize>, asked: bool },
}

/// Keys that may stand in a request once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Once {
    /// The model.
    Model,
    /// Whether to stream.
    Stream,
    /// Options of the stream.
    StreamOptions,
    /// The first name of the output bound.
    Bound,
    /// Its second name.
    OtherBound,
    /// Its third name.
    ThirdBound,
    /// How many choices.
    Choices,
    /// How many are tried.
    BestOf,
    /// The input.
    Input,
    /// The system prompt.
    System,
    /// Tools.
    Tools,
    /// What the input refers to.
    Reference,
    /// A second such key.
    OtherReference,
    /// The tier that decides the price.
    Tier,
    /// The quality of pictures.
    Quality,
    /// Their size.
    Size,
    /// Whether to answer later.
    Background,
    /// Whether to keep the answer.
    Keep,
}

/// Who runs a tool, by what that may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// The client: only its declaration is input.
    OfClient,
    /// The provider, who feeds its results back as input.
    Hosted,
    /// The provider, who bills each search besides.
    Search,
}

impl Tool {
    /// One that the provider runs, or not.
    pub(crate) const fn hosted(is_hosted: bool) -> Self {
        if is_hosted { Self::Hosted } else { Self::OfClient }
    }
}

/// What to change in a request on its way out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edits<'a> {
    /// The model name of the target. May always be given: a name that is there already costs nothing.
    pub model: Option<&'a str>,
    /// Take the model out instead: it stands in the path, and the provider does not take it in the body too.
    pub omit_model: bool,
    /// Top-level members to take out.
    pub omit: &'a [String],
    /// Ask for the usage chunk of an `OpenAI` stream.
    pub include_usage: bool,
    /// Top-level fields and their JSON text, added where the client did not send the field.
    pub params: &'a [(String, String)],
}

/// The bit for a seal of another provider, beside those of [`Once`].
const FOREIGN_SEAL: u32 = 1 << 31;

/// In [`RequestFacts::met`]: the object that is being read names an item, whose id comes next. (SDKs write the type first.)
const ITEM_NEXT: u32 = 1 << 30;

/// Why a request cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at byte {offset} of the body)")]
pub struct ScanError {
    /// Where, in bytes from the start of the body.
    pub offset: usize,
    /// What is wrong and the mend.
    pub what: String,
}

impl From<Syntax> for ScanError {
    fn from(error: Syntax) -> Self {
        Self {
            offset: error.at,
            what: format!("not a valid JSON object: {}", error.what),
        }
    }
}

impl Default for RequestFacts {
    fn default() -> Self {
        Self {
            model: None,
            stream: false,
            output_bound: None,
            choices: 1,
            by_reference: false,
            references: None,
            background: false,
            keep: true,
            stores: false,
            inline_media: 0,
            tools: false,
            wants_chat: false,
            searches: 0,
            units: None,
            prompts: 1,
            met: 0,
            places: Places::default(),
        }
    }
}

/// Reads the facts of a request.
///
/// What passes through without being metered need not be JSON: then nothing is known of it.
///
/// # Errors
/// If the body is no JSON object in UTF-8, or says a decisive thing twice or in a type that providers read differently.
pub fn scan(surface: Surface, body: &[u8]) -> Result<RequestFacts, ScanError> {
    let facts = scan_object(surface, body);
    if surface.operation == Operation::Passthrough {
        Ok(facts.unwrap_or_default())
    } else {
        facts
    }
}

/// Reads the facts of a request that is a form with this boundary (see [`crate::form_boundary`]).
///
/// # Errors
/// If the body is no such form, or says a decisive thing twice or in a way that readers of forms take differently.
pub fn scan_form(surface: Surface, boundary: &str, body: &[u8]) -> Result<RequestFacts, ScanError> {
    let mut facts = RequestFacts::default();
    facts.places.dialect = Some(surface.dialect);
    let form = tasks::request::form(&mut facts, surface.operation, boundary, body)?;
    facts.places.form = Some(Box::new(form));
    Ok(facts)
}

fn scan_object(surface: Surface, body: &[u8]) -> Result<RequestFacts, ScanError> {
    utf8(body)?;
    let mut facts = RequestFacts::default();
    let mut compared = Compared::default();
    facts.places.dialect = Some(surface.dialect);
    let mut cursor = Cursor::lenient(body);
    facts.places.object = cursor.object(|key, value| {
        facts.places.has_members = true;
        match surface.dialect {
            Dialect::OpenaiChat if surface.operation.is_task() => {
                tasks::request::field(&mut facts, &mut compared, surface.operation, key, value)
            }
            Dialect::OpenaiChat => openai_chat::request::field(&mut facts, surface.operation, key, value),
            Dialect::OpenaiResponses => openai_responses::request::field(&mut facts, key, value),
            Dialect::AnthropicMessages => anthropic_messages::request::field(&mut facts, key, value),
            Dialect::Gemini => gemini::request::field(&mut facts, key, value),
            Dialect::BedrockConverse => Ok(value.skip().map(|_| ())?),
        }
    })?;
    cursor.end()?;
    if surface.operation.is_task() {
        tasks::request::complete(&mut facts, compared, surface.operation, body.len() as u64)?;
    }
    facts.choices = facts.choices.max(1).saturating_mul(facts.prompts);
    Ok(facts)
}

impl RequestFacts {
    /// Whether it brings back a seal of another provider, wrapped by us on the way to the client: the target would refuse it.
    pub const fn has_foreign_seals(&self) -> bool {
        self.met & FOREIGN_SEAL != 0
    }

    /// Whether the client itself asked for the usage chunk of an `OpenAI` stream.
    pub const fn asked_for_usage(&self) -> bool {
        matches!(self.places.usage_option, UsageOption::Given { asked: true, .. })
    }

    /// Applies `edits` to the body that was scanned; every other byte stays. Returns the same `Bytes` if nothing changes.
    pub fn edit(&self, body: &Bytes, edits: &Edits<'_>) -> Bytes {
        match &self.places.form {
            Some(form) => form.edit(body, edits),
            None => edit::apply(&self.places, body, edits),
        }
    }

    /// What a task asks for, to be filled in.
    pub(crate) fn units_mut(&mut self) -> &mut Units {
        self.units.get_or_insert_default()
    }

    /// Notes a decisive key; an error if it was met before.
    pub(crate) fn once(&mut self, slot: Once, key: &[u8], value: &Cursor<'_>) -> Result<(), ScanError> {
        if self.meet(slot) {
            return Ok(());
        }
        let key = String::from_utf8_lossy(key);
        Err(mend(value, format!("`{key}` is given twice: send it once")))
    }

    /// The same for a field of a form.
    pub(crate) fn once_at(&mut self, slot: Once, name: &str, offset: usize) -> Result<(), ScanError> {
        if self.meet(slot) {
            return Ok(());
        }
        Err(ScanError {
            offset,
            what: format!("`{name}` is given twice: send it once"),
        })
    }

    /// Whether it is met for the first time.
    const fn meet(&mut self, slot: Once) -> bool {
        let bit = 1 << slot as u32;
        let is_first = self.met & bit == 0;
        self.met |= bit;
        is_first
    }

    /// Reads the model's name.
    pub(crate) fn take_model(&mut self, value: &mut Cursor<'_>) -> Result<(), ScanError> {
        let start = value.clone();
        match value.kind()? {
            Kind::String => {
                let text = value.string()?;
                self.model = Some(text.decode().into_owned());
                self.places.models.push(text.at - 1..value.position());
            }
            Kind::Null => self.places.models.push(value.skip()?),
            _ => return Err(mend(&start, "`model` must be a string".to_owned())),
        }
        Ok(())
    }

    /// Remembers where a model is named that does not decide the routing.
    pub(crate) fn note_model(&mut self, value: &mut Cursor<'_>) -> Result<(), ScanError> {
        let span = value.skip()?;
        self.places.models.push(span);
        Ok(())
    }

    /// Reads whether to stream.
    pub(crate) fn take_stream(&mut self, value: &mut Cursor<'_>) -> Result<(), ScanError> {
        let start = value.clone();
        let kind = value.kind()?;
        let span = value.skip()?;
        match kind {
            Kind::Bool => self.stream = span.len() == b"true".len(),
            Kind::Null => {}
            _ => return Err(mend(&start, "`stream` must be true or false".to_owned())),
        }
        Ok(())
    }

    /// Reads an output bound. `-1` is none: so clients of llama.cpp and LM Studio write it, and other providers refuse it
    /// themselves.
    pub(crate) fn take_bound(&mut self, key: &[u8], value: &mut Cursor<'_>) -> Result<(), ScanError> {
        if value.kind()? == Kind::Number {
            let mut ahead = value.clone();
            let literal = ahead.skip()?;
            if ahead.slice(literal) == b"-1" {
                *value = ahead;
                return Ok(());
            }
        }
        self.output_bound = self.output_bound.max(whole_number(key, value)?);
        Ok(())
    }

    /// Reads a number of choices.
    pub(crate) fn take_choices(&mut self, key: &[u8], value: &mut Cursor<'_>) -> Result<(), ScanError> {
        self.choices = self.choices.max(whole_number(key, value)?.unwrap_or(1));
        Ok(())
    }

    /// Counts the texts of a classic completion: one, or one per string (or list of tokens) in a list.
    pub(crate) fn take_prompts(&mut self, value: &mut Cursor<'_>) -> Result<(), ScanError> {
        let mut texts = 0;
        value.array_if(|element| {
            texts += u64::from(matches!(element.kind()?, Kind::String | Kind::Array));
            element.skip().map(|_| ())
        })?;
        self.prompts = texts.max(1);
        Ok(())
    }

    /// Reads `stream_options`.
    pub(crate) fn take_stream_options(&mut self, value: &mut Cursor<'_>) -> Result<(), ScanError> {
        if value.kind()? != Kind::Object {
            self.places.usage_option = UsageOption::Literal(value.skip()?);
            return Ok(());
        }
        let (mut given, mut has_members) = (None, false);
        let span = value.object(|key, member| {
            has_members = true;
            if key != b"include_usage" {
                return Ok::<(), ScanError>(member.skip().map(|_| ())?);
            }
            if given.is_some() {
                return Err(mend(member, "`include_usage` is given twice: send it once".to_owned()));
            }
            let is_bool = member.kind()? == Kind::Bool;
            let literal = member.skip()?;
            given = Some((literal.clone(), is_bool && literal.len() == b"true".len()));
            Ok(())
        })?;
        self.places.usage_option = match given {
            Some((literal, asked)) => UsageOption::Given { literal, asked },
            None => UsageOption::Object {
                open: span.start,
                has_members,
            },
        };
        Ok(())
    }

    /// Notes a reference if the value holds anything.
    pub(crate) fn take_reference(&mut self, value: &mut Cursor<'_>) -> Result<(), ScanError> {
        self.by_reference |= crate::observation::is_filled(value)?;
        Ok(())
    }

    /// Reads a flag that providers take as a boolean only.
    pub(crate) fn flag(value: &mut Cursor<'_>) -> Result<Option<bool>, Syntax> {
        let kind = value.kind()?;
        let span = value.skip()?;
        Ok((kind == Kind::Bool).then(|| span.len() == b"true".len()))
    }

    /// Notes a search that knows no bound, if it is one.
    pub(crate) const fn offer_search(&mut self, is_search: bool) {
        if is_search {
            self.searches = self.searches.saturating_add(SEARCHES_UNASKED_MAX);
        }
    }

    /// Reads tools; `judge` tells from a tool's `type` what it is.
    pub(crate) fn take_tools(&mut self, value: &mut Cursor<'_>, judge: fn(&str) -> Tool) -> Result<(), ScanError> {
        value.array_if(|tool| {
            self.tools = true;
            let (mut kind, mut uses) = (Tool::OfClient, Figure::Absent);
            tool.object_if(|key, member| {
                match key {
                    b"type" => kind = kind.max(member.string_if()?.map_or(kind, |text| judge(&text.decode()))),
                    b"max_uses" => uses = member.figure()?,
                    b"vector_store_ids" => self.take_ids(member)?,
                    b"container" => self.take_id(member)?,
                    _ => {
                        member.skip()?;
                    }
                }
                Ok::<(), Syntax>(())
            })?;
            self.by_reference |= kind != Tool::OfClient;
            if kind == Tool::Search {
                let most = match uses {
                    Figure::Is(most) => most,
                    Figure::Absent | Figure::Bad => SEARCHES_UNASKED_MAX,
                };
                self.searches = self.searches.saturating_add(most);
            }
            Ok::<(), Syntax>(())
        })?;
        Ok(())
    }

    /// Walks input at any depth. `part` is shown every member and says whether it consumed the value.
    pub(crate) fn walk(&mut self, value: &mut Cursor<'_>, part: Part) -> Result<(), Syntax> {
        match value.kind()? {
            Kind::Object => {
                value.object(|key, member| {
                    if part(self, key, member)? {
                        Ok(())
                    } else {
                        self.walk(member, part)
                    }
                })?;
            }
            Kind::Array => {
                value.array(|element| self.walk(element, part))?;
            }
            _ => {
                value.skip()?;
            }
        }
        Ok(())
    }

    /// Notes whether the object that is being read names an item.
    pub(crate) const fn expect_item(&mut self, is_reference: bool) {
        self.met &= !ITEM_NEXT;
        if is_reference {
            self.met |= ITEM_NEXT;
        }
    }

    /// Whether the id that is met is that of an item which is named; asked once for each.
    pub(crate) const fn expects_item(&mut self) -> bool {
        let expects = self.met & ITEM_NEXT != 0;
        self.met &= !ITEM_NEXT;
        expects
    }

    /// Looks whether a seal is one that we wrapped.
    pub(crate) fn take_seal(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if let Some(text) = value.string_if()? {
            self.met |= u32::from(Signature::is_wrapped(text.raw)) * FOREIGN_SEAL;
        }
        Ok(())
    }

    /// Looks whether a name is one that we gave to what another provider did.
    pub(crate) fn take_step(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if let Some(text) = value.string_if()? {
            self.met |= u32::from(is_made_name(text.raw)) * FOREIGN_SEAL;
        }
        Ok(())
    }

    /// Judges a URL: `data:` holds the thing itself.
    pub(crate) fn take_url(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if let Some(text) = value.string_if()? {
            let is_inline = text
                .raw
                .get(..5)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:"));
            if is_inline {
                self.inline_media = self.inline_media.saturating_add(1);
            } else if !text.is_empty() {
                self.by_reference = true;
            }
        }
        Ok(())
    }
}

/// Looks at one member of the input; says whether it consumed the value.
pub(crate) type Part = fn(&mut RequestFacts, &[u8], &mut Cursor<'_>) -> Result<bool, Syntax>;

/// An error at a value.
fn mend(value: &Cursor<'_>, what: String) -> ScanError {
    ScanError {
        offset: value.position(),
        what,
    }
}

/// A whole number, `None` for `null`. Protobuf's JSON also takes it as text, and so do lenient readers.
fn whole_number(key: &[u8], value: &mut Cursor<'_>) -> Result<Option<u64>, ScanError> {
    let start = value.clone();
    let figure = match value.kind()? {
        Kind::String => count(value.string()?.raw).map_or(Figure::Bad, Figure::Is),
        _ => value.figure()?,
    };
    match figure {
        Figure::Is(number) => Ok(Some(number)),
        Figure::Absent => Ok(None),
        Figure::Bad => {
            let key = String::from_utf8_lossy(key);
            Err(mend(&start, format!("`{key}` must be a whole number from 0 to 2^53")))
        }
    }
}

#[cfg(test)]
mod tests;
