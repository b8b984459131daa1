//! A stream: each event is a whole answer with the next pieces.
//!
//! Pieces of text that follow each other are one text of the hub; a sealed part is always one of its own, since Google
//! forbids joining it with others. Citations and the reason come with the last pieces; both are kept until the end, the
//! citations because they count from the start of texts that are still growing.

use std::collections::BTreeMap;

use domain::Dialect;
use serde_json::{Map, Value};

use super::grounding::{self, Said};
use super::partial::PartialArgs;
use super::{camel_members, part};
use crate::answer::Nonsense;
use crate::gemini::served::{BESIDE, TOO_LATE};
use crate::gemini::{logprobs, words};
use crate::hub::{BadRequest, Content, Delta, Event, Extra, Fields, Part, Signature, Stop, Thinking, ToolCall, nested};
use crate::limits::CHOICES_MAX;

/// Reads the events of an upstream's stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder(Reader);

impl StreamDecoder {
    pub(crate) fn event(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Nonsense> {
        self.0.chunk(data, out)
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        self.0.finish(out);
    }
}

/// Reads answers, whole ones and pieces.
#[derive(Debug, Default)]
pub(super) struct Reader {
    is_whole: bool,
    is_started: bool,
    candidates: BTreeMap<u32, Candidate>,
    blocked: Option<String>,
    /// What a whole answer's first candidate has that nobody else has a word for.
    leftovers: Map<String, Value>,
}

/// What is known of one candidate.
#[derive(Debug, Default)]
struct Candidate {
    next: u32,
    /// The text or the thinking that grows.
    run: Option<Run>,
    /// The call whose arguments come in pieces.
    call: Option<(u32, PartialArgs)>,
    has_call: bool,
    said: Vec<Said>,
    grounding: Option<Value>,
    pages_read: Option<Value>,
    cited: Option<Value>,
    /// Whether something cites a text that was told to its end.
    cites_too_late: bool,
    finish: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    place: u32,
    is_thinking: bool,
}

/// Says events of one choice.
struct Teller<'a> {
    choice: u32,
    out: &'a mut Vec<Event>,
}

impl Teller<'_> {
    fn open(&mut self, place: u32, part: Part) {
        let (choice, part) = (self.choice, Box::new(part));
        self.out.push(Event::Open { choice, place, part });
    }

    fn delta(&mut self, place: u32, delta: Delta) {
        let choice = self.choice;
        self.out.push(Event::Delta { choice, place, delta });
    }

    fn close(&mut self, place: u32) {
        let choice = self.choice;
        self.out.push(Event::Close { choice, place });
    }
}

impl Reader {
    /// Keeps parts apart as the answer does.
    pub(super) fn of_whole_answer() -> Self {
        Self {
            is_whole: true,
            ..Self::default()
        }
    }

    /// Reads an answer or the next piece of one.
    pub(super) fn chunk(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let not_json = |what| Nonsense::NotJson { offset: 0, what };
        let value = nested::read(data).map_err(|_| not_json("malformed JSON"))?;
        let Value::Object(members) = value else {
            return Err(not_json("not an object"));
        };
        let mut fields = Fields::of_map(String::new(), camel_members(members));
        // What was consumed comes from the tap.
        fields.take("usageMetadata");
        let candidates = match fields.take("candidates") {
            None => Vec::new(),
            Some(Value::Array(candidates)) => candidates,
            Some(_) => return Err(Nonsense::Lacks("a list of candidates")),
        };
        self.start(fields, out)?;
        for (position, candidate) in candidates.into_iter().enumerate() {
            self.candidate(position, candidate, out)?;
        }
        self.failure()
            .map_or(Ok(()), |word| Err(Nonsense::Error(words::failure(word))))
    }

    /// The word of a failure, where no candidate has anything better.
    fn failure(&self) -> Option<&str> {
        let failed = |candidate: &Candidate| {
            let word = candidate.finish.as_deref();
            word.is_some_and(|word| words::is_failure(word, candidate.has_call))
        };
        let first = self.candidates.values().next()?;
        self.candidates
            .values()
            .all(failed)
            .then_some(first.finish.as_deref())?
    }

    /// After the last piece: citations, then the end of each candidate.
    pub(super) fn finish(&mut self, out: &mut Vec<Event>) {
        let candidates = std::mem::take(&mut self.candidates);
        if candidates.is_empty() {
            let blocked = self.blocked.take().map(|word| words::blocked(&word));
            out.extend(blocked.map(|stop| Event::Stop { choice: 0, stop }));
        }
        for (choice, mut candidate) in candidates {
            let stop = candidate.end(self.is_whole, &mut Teller { choice, out });
            out.extend(stop.map(|stop| Event::Stop { choice, stop }));
        }
    }

    /// What a whole answer's first candidate has besides.
    pub(super) fn into_leftovers(self) -> Map<String, Value> {
        self.leftovers
    }

    fn start(&mut self, mut fields: Fields, out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let feedback = fields
            .has("promptFeedback")
            .then(|| fields.clone().take("promptFeedback"))
            .flatten();
        let reason = feedback
            .as_ref()
            .and_then(|feedback| feedback.get("blockReason")?.as_str());
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            self.blocked = Some(reason.to_owned());
        }
        if std::mem::replace(&mut self.is_started, true) {
            return Ok(());
        }
        let created = fields.text("createTime").map_err(nonsense)?;
        out.push(Event::Start {
            id: fields.text("responseId").map_err(nonsense)?.unwrap_or_default(),
            model: fields.text("modelVersion").map_err(nonsense)?.unwrap_or_default(),
            created: created
                .and_then(|time| time.parse::<jiff::Timestamp>().ok())
                .map(jiff::Timestamp::as_second),
            extra: fields.rest(Dialect::Gemini),
        });
        Ok(())
    }

    fn candidate(&mut self, position: usize, value: Value, out: &mut Vec<Event>) -> Result<(), Nonsense> {
        let mut fields = match value {
            Value::Object(members) => Fields::of_map(String::new(), camel_members(members)),
            _ => return Err(Nonsense::Lacks("candidates that are objects")),
        };
        let index = fields.count("index").map_err(nonsense)?.unwrap_or(position as u64);
        if index >= CHOICES_MAX as u64 {
            return Err(Nonsense::Lacks("a possible number of candidates"));
        }
        let choice = index as u32;
        let is_whole = self.is_whole;
        let candidate = self.candidates.entry(choice).or_default();
        for (name, slot) in [
            ("groundingMetadata", &mut candidate.grounding),
            ("urlContextMetadata", &mut candidate.pages_read),
            ("citationMetadata", &mut candidate.cited),
        ] {
            if let Some(value) = fields.take(name).filter(is_telling) {
                *slot = Some(value);
            }
        }
        let finish = fields.text("finishReason").map_err(nonsense)?;
        if let Some(word) = finish.filter(|word| !word.is_empty() && word != "FINISH_REASON_UNSPECIFIED") {
            candidate.finish = Some(word);
        }
        let mut teller = Teller { choice, out };
        if let Some(content) = fields.object("content").map_err(nonsense)? {
            candidate.content(content, is_whole, &mut teller)?;
        }
        let logprobs = fields.take("logprobsResult").and_then(|result| logprobs::read(&result));
        if let Some(value) = logprobs {
            out.push(Event::Logprobs { choice, value });
        }
        if is_whole && choice == 0 {
            let cited = candidate
                .cited
                .clone()
                .map(|value| ("citationMetadata".to_owned(), value));
            self.leftovers = fields.into_map();
            self.leftovers.extend(cited);
        }
        Ok(())
    }
}

/// Later events repeat the metadata, some without its content.
fn is_telling(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

fn nonsense(_: BadRequest) -> Nonsense {
    Nonsense::Lacks("members of the right types")
}

impl Candidate {
    fn content(&mut self, mut content: Fields, is_whole: bool, teller: &mut Teller<'_>) -> Result<(), Nonsense> {
        for part in content.list("parts").map_err(nonsense)? {
            let Value::Object(members) = part else {
                return Err(Nonsense::Lacks("parts that are objects"));
            };
            self.part(camel_members(members), is_whole, teller)?;
        }
        Ok(())
    }

    fn part(
        &mut self,
        mut members: Map<String, Value>,
        is_whole: bool,
        teller: &mut Teller<'_>,
    ) -> Result<(), Nonsense> {
        // By far the most parts are nothing but text.
        if !is_whole
            && members.len() == 1
            && let Some(Value::String(text)) = members.get_mut("text")
        {
            self.say(std::mem::take(text), false, teller);
            return Ok(());
        }
        if let Some(Value::Object(call)) = members.get("functionCall")
            && self.is_piece(call)
        {
            return self.piece(&members, teller);
        }
        let part = part::read(Fields::of_map(String::new(), members)).map_err(nonsense)?;
        if is_whole {
            self.whole(part, teller);
        } else {
            self.tell(part, teller);
        }
        Ok(())
    }

    /// A part of a stream.
    fn tell(&mut self, part: Part, teller: &mut Teller<'_>) {
        let is_sealed = part.signature.is_some() || !part.extra.members.is_empty();
        match part.content {
            Content::Text { text, .. } if !is_sealed => self.say(text, false, teller),
            Content::Thinking(thinking) => self.think(thinking, teller),
            // A seal without words comes last and closes nothing: the text before it may still be cited.
            Content::Text { ref text, .. } if text.is_empty() => {
                let place = self.place();
                teller.open(place, part);
                teller.close(place);
            }
            _ => self.whole(part, teller),
        }
    }

    /// A part that is whole.
    fn whole(&mut self, part: Part, teller: &mut Teller<'_>) {
        self.close_call(teller);
        self.close_run(teller);
        let place = self.place();
        if let Content::Text { text, .. } = &part.content {
            self.said.push((place, text.clone()));
        }
        self.has_call |= matches!(part.content, Content::ToolCall(_));
        teller.open(place, part);
        teller.close(place);
    }

    fn think(&mut self, thinking: Thinking, teller: &mut Teller<'_>) {
        let Some(seal) = thinking.signature else {
            self.say(thinking.text, true, teller);
            return;
        };
        self.say(thinking.text, true, teller);
        let run = self.run.filter(|run| run.is_thinking);
        if let Some(run) = run {
            teller.delta(run.place, Delta::Signature(seal));
            self.close_run(teller);
        } else {
            self.whole(thinking_part(String::new(), Some(seal)), teller);
        }
    }

    /// Lets the text or the thinking grow, or begins one.
    fn say(&mut self, text: String, is_thinking: bool, teller: &mut Teller<'_>) {
        if text.is_empty() {
            return;
        }
        if let Some(run) = self.run.filter(|run| run.is_thinking == is_thinking) {
            if !is_thinking && let Some((_, said)) = self.said.last_mut() {
                said.push_str(&text);
            }
            teller.delta(run.place, Delta::Text(text));
            return;
        }
        self.close_call(teller);
        self.close_run(teller);
        let place = self.place();
        self.run = Some(Run { place, is_thinking });
        if is_thinking {
            teller.open(place, thinking_part(text, None));
        } else {
            self.said.push((place, text.clone()));
            teller.open(place, Part::text(text));
        }
    }

    /// Whether a function call is told in pieces.
    fn is_piece(&self, call: &Map<String, Value>) -> bool {
        let is_named = call
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| !name.is_empty());
        let goes_on = call.get("willContinue") == Some(&Value::Bool(true)) || call.contains_key("partialArgs");
        goes_on || (self.call.is_some() && !is_named)
    }

    fn piece(&mut self, members: &Map<String, Value>, teller: &mut Teller<'_>) -> Result<(), Nonsense> {
        let call = members.get("functionCall");
        let text = |name: &str| {
            call.and_then(|call| call.get(name)?.as_str())
                .filter(|text| !text.is_empty())
        };
        if self.call.is_none() || text("name").is_some() {
            self.close_call(teller);
            self.close_run(teller);
            let place = self.place();
            let seal = members.get("thoughtSignature").and_then(Value::as_str);
            let called = Part {
                signature: seal.map(|seal| Signature::read(Dialect::Gemini, seal)),
                ..Part::new(Content::ToolCall(ToolCall {
                    id: text("id").map(str::to_owned),
                    name: text("name").unwrap_or_default().to_owned(),
                    ..ToolCall::default()
                }))
            };
            teller.open(place, called);
            self.has_call = true;
            self.call = Some((place, PartialArgs::default()));
        }
        if let Some((_, args)) = &mut self.call {
            let pieces = call.and_then(|call| call.get("partialArgs")?.as_array());
            for piece in pieces.into_iter().flatten() {
                if !args.push(piece) {
                    return Err(Nonsense::Lacks("pieces of arguments that fit"));
                }
            }
        }
        if call.and_then(|call| call.get("willContinue")) != Some(&Value::Bool(true)) {
            self.close_call(teller);
        }
        Ok(())
    }

    fn close_call(&mut self, teller: &mut Teller<'_>) {
        if let Some((place, args)) = self.call.take() {
            teller.delta(place, Delta::Arguments(args.into_text()));
            teller.close(place);
        }
    }

    fn close_run(&mut self, teller: &mut Teller<'_>) {
        if let Some(run) = self.run.take() {
            teller.close(run.place);
        }
    }

    fn end(&mut self, is_whole: bool, teller: &mut Teller<'_>) -> Option<Stop> {
        self.close_call(teller);
        self.cite(is_whole, teller);
        self.close_run(teller);
        self.beside(teller);
        self.finish.take().map(|word| words::read(&word, self.has_call))
    }

    /// What Google did for the answer and says beside its content.
    fn beside(&mut self, teller: &mut Teller<'_>) {
        // What is cited stands with the texts, but where it came too late for all of them.
        let cited = self.cited.take();
        let only_cited = cited.filter(|_| self.cites_too_late && self.grounding.is_none() && self.pages_read.is_none());
        let values = [self.grounding.take(), self.pages_read.take(), only_cited];
        for (name, value) in BESIDE.into_iter().zip(values) {
            let Some(value) = value else { continue };
            let place = self.place();
            let mut members = Map::from_iter([(name.to_owned(), value)]);
            if std::mem::take(&mut self.cites_too_late) {
                members.insert(TOO_LATE.to_owned(), true.into());
            }
            let value = Value::Object(members);
            teller.open(
                place,
                Part::new(Content::Native {
                    origin: Dialect::Gemini,
                    value,
                }),
            );
            teller.close(place);
        }
    }

    /// Citations go to the text that they are about while it is open (of a whole answer every text is); those of earlier
    /// texts go to the last one, where their offsets mean nothing, or are lost where none is open.
    fn cite(&mut self, is_whole: bool, teller: &mut Teller<'_>) {
        let found = grounding::read(self.grounding.as_ref(), self.cited.as_ref(), &self.said);
        for (place, mut citation) in found {
            let open = if is_whole {
                place.or_else(|| self.said.last().map(|(place, _)| *place))
            } else {
                self.run.filter(|run| !run.is_thinking).map(|run| run.place)
            };
            if open != place {
                citation.span = None;
            }
            // A text of its own would be an empty message behind what stands last, a call mostly.
            let Some(open) = open else {
                self.cites_too_late = true;
                continue;
            };
            teller.delta(open, Delta::Citation(citation));
        }
    }

    const fn place(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }
}

fn thinking_part(text: String, signature: Option<Signature>) -> Part {
    Part {
        extra: Extra::default(),
        ..Part::new(Content::Thinking(Thinking {
            text,
            is_summary: true,
            signature,
            redacted: false,
        }))
    }
}
