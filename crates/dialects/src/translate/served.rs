//! What a provider did by itself, on its way to a client of another family and back.
//!
//! On the way to the client: a step in the upstream's own words is told in those of all formats ([`Deed`]), of which each
//! encoder says what it can. Behind it goes what only the provider can read (the encrypted content of what was found,
//! without which Anthropic takes no search back): in a redacted thought with a wrapped seal, because that is what clients of
//! every format keep and send back, and how seals of thoughts travel too ([`Signature`]).
//!
//! On the way back: what was carried so takes the place of what was told of it, if the provider's format is asked again.
//! Others take no steps but their own, and refuse those that lack what only they can give; so the steps are left out for them, and
//! named as a loss, as they are where the client lost what was carried. A history is never given words of ours.

use std::ops::Range;

use domain::{Dialect, Operation, Surface};
use serde_json::{Value, json};

use crate::hub::{
    Act, Content, Deed, Event, Losses, Message, Page, Part, Request, Role, Signature, Thinking, is_made, native_name,
    nested, weight,
};
use crate::limits::{CARRIED_MAX, STEPPING_CHOICES_MAX};
use crate::{anthropic_messages, bedrock_converse, gemini, openai_responses};

/// Begins the seal of a thought that is none, but carries what a provider did.
const CARRIED: &str = "served:";

/// Places of parts that are made here; decoders give low ones, and at most [`crate::limits::PARTS_MAX`].
const PLACES: u32 = 1 << 30;

/// What a part in a family's own words says in those of all; nothing where they have none.
fn deeds(origin: Dialect, native: &Value, losses: &mut Losses) -> Vec<Deed> {
    match origin {
        Dialect::AnthropicMessages => anthropic_messages::served::deeds(native, losses),
        Dialect::OpenaiResponses => openai_responses::served::deeds(native, losses),
        Dialect::Gemini => gemini::served::deeds(native, losses),
        Dialect::BedrockConverse => bedrock_converse::served::deeds(native),
        // It shows nothing of it.
        Dialect::OpenaiChat => Vec::new(),
    }
}

/// What becomes of a part.
#[derive(Debug)]
enum Told {
    /// It is no step.
    NoStep,
    /// It is one that nobody else has words for.
    Wordless,
    /// These say the same.
    As(Vec<Part>),
}

/// Tells an answer's steps to a client of another format.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    from: Dialect,
    to: Dialect,
    /// What was told since the last other part, in the provider's words.
    carried: Vec<Value>,
    bytes: usize,
    /// Places given so far.
    places: u32,
    /// Whether a search was told where it was made; Gemini tells it once more at the end, and only then what was found.
    has_searched: bool,
    /// What was found, until the search has it.
    pages: Vec<Page>,
    /// The last search of a stream, until it is known what was found.
    waiting: Vec<Part>,
    /// The places of parts that were told as others.
    replaced: Vec<u32>,
    /// Whose steps these are.
    choice: u32,
    /// Those of the other answers of a stream.
    others: Vec<Self>,
}

impl Steps {
    pub(super) const fn new(from: Dialect, to: Dialect) -> Self {
        Self {
            from,
            to,
            carried: Vec::new(),
            bytes: 0,
            places: PLACES,
            has_searched: false,
            pages: Vec::new(),
            waiting: Vec::new(),
            replaced: Vec::new(),
            choice: 0,
            others: Vec::new(),
        }
    }

    /// A whole answer's parts.
    pub(super) fn parts(&mut self, parts: &mut Vec<Part>, losses: &mut Losses) {
        // What stands beside a whole answer's content comes before it.
        self.has_searched = parts.iter().any(|part| self.searches(part));
        let is_concerned = |part: &Part| matches!(part.content, Content::Native { .. });
        if self.from == self.to || !parts.iter().any(is_concerned) {
            return;
        }
        let mut told = Vec::with_capacity(parts.len());
        for part in std::mem::take(parts) {
            match self.told(&part, losses) {
                Told::NoStep => {
                    told.extend(self.carrier(losses));
                    told.push(part);
                }
                Told::Wordless => told.push(part),
                Told::As(made) => told.extend(made),
            }
        }
        told.extend(self.carrier(losses));
        give(std::mem::take(&mut self.pages), &mut told);
        *parts = told;
    }

    /// Whether it is a search of Google's, told where it was made.
    fn searches(&self, part: &Part) -> bool {
        match &part.content {
            Content::Native { origin, value } => {
                *origin == self.from && self.from == Dialect::Gemini && gemini::served::searches(value)
            }
            _ => false,
        }
    }

    /// An event of a stream.
    pub(super) fn event(&mut self, event: Event, out: &mut Vec<Event>, losses: &mut Losses) {
        if self.from == self.to {
            out.push(event);
            return;
        }
        match self.of(&event) {
            Some(steps) => steps.own(event, out, losses),
            None => out.push(event),
        }
    }

    /// Whose an event is. Of answers besides the first there are some only where several were wanted; of more than Google gives
    /// steps are lost.
    fn of(&mut self, event: &Event) -> Option<&mut Self> {
        let choice = match event {
            Event::Open { choice, .. } | Event::Close { choice, .. } | Event::Stop { choice, .. } => *choice,
            _ => return None,
        };
        if choice == self.choice {
            return Some(self);
        }
        let known = self.others.iter().position(|other| other.choice == choice);
        let begins = matches!(event, Event::Open { part, .. } if matches!(part.content, Content::Native { .. }));
        if known.is_none() && begins && self.others.len() < STEPPING_CHOICES_MAX - 1 {
            self.others.push(Self {
                choice,
                ..Self::new(self.from, self.to)
            });
            return self.others.last_mut();
        }
        self.others.get_mut(known?)
    }

    fn own(&mut self, event: Event, out: &mut Vec<Event>, losses: &mut Losses) {
        match &event {
            Event::Open { place, part, .. } => match self.told(part, losses) {
                Told::NoStep => self.tell_carrier(out, losses),
                Told::Wordless => {}
                Told::As(made) => {
                    self.replaced.push(*place);
                    for part in made {
                        self.tell_in_time(part, out);
                    }
                    if is_beside(part) {
                        self.tell_waiting(out);
                    }
                    return;
                }
            },
            Event::Close { place, .. } => {
                if let Some(at) = self.replaced.iter().position(|known| known == place) {
                    self.replaced.swap_remove(at);
                    return;
                }
            }
            Event::Stop { .. } => self.end(out, losses),
            _ => {}
        }
        out.push(event);
    }

    /// After the last event.
    pub(super) fn finish(&mut self, out: &mut Vec<Event>, losses: &mut Losses) {
        self.end(out, losses);
        for other in &mut self.others {
            other.end(out, losses);
        }
    }

    fn end(&mut self, out: &mut Vec<Event>, losses: &mut Losses) {
        self.tell_waiting(out);
        self.tell_carrier(out, losses);
    }

    /// Tells a step, or lets it wait: Google tells what a search found at the end of the stream, for all searches together, and
    /// formats whose steps are one item with what they found cannot say it of an item that is whole. So the last one waits.
    fn tell_in_time(&mut self, part: Part, out: &mut Vec<Event>) {
        let waits = self.from == Dialect::Gemini;
        match deed(&part).filter(|_| waits) {
            Some(Deed {
                act: Act::Search(_), ..
            }) => {
                self.tell_waiting(out);
                self.waiting.push(part);
            }
            Some(Deed { id, act: Act::Found(_) })
                if self.waiting.first().and_then(deed).is_some_and(|asked| asked.id == *id) =>
            {
                self.waiting.push(part);
            }
            _ => self.tell(part, out),
        }
    }

    fn tell_waiting(&mut self, out: &mut Vec<Event>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        give(std::mem::take(&mut self.pages), &mut waiting);
        for part in waiting {
            self.tell(part, out);
        }
    }

    fn tell(&mut self, part: Part, out: &mut Vec<Event>) {
        let (choice, place) = (self.choice, self.places);
        self.places += 1;
        let part = Box::new(part);
        out.push(Event::Open { choice, place, part });
        out.push(Event::Close { choice, place });
    }

    fn tell_carrier(&mut self, out: &mut Vec<Event>, losses: &mut Losses) {
        if let Some(part) = self.carrier(losses) {
            self.tell(part, out);
        }
    }

    fn told(&mut self, part: &Part, losses: &mut Losses) -> Told {
        let Content::Native { origin, value } = &part.content else {
            return Told::NoStep;
        };
        if *origin != self.from || !is_step(part) {
            return Told::NoStep;
        }
        let is_beside = is_beside(part);
        // What stands beside an answer's content is not taken back in a conversation.
        if !is_beside && self.from != Dialect::BedrockConverse {
            self.bytes += weight(value);
            if self.bytes <= CARRIED_MAX {
                self.carried.push(value.clone());
            }
        }
        let mut deeds = deeds(*origin, value, losses);
        let searches = |deed: &Deed| matches!(deed.act, Act::Search(_));
        if is_beside && self.has_searched {
            // Google tells at the end once more what it searched for, and only there what it found.
            deeds.retain_mut(|deed| match &mut deed.act {
                Act::Found(Ok(pages)) => {
                    self.pages.append(pages);
                    false
                }
                Act::Search(_) => false,
                _ => true,
            });
        }
        self.has_searched |= deeds.iter().any(searches);
        if deeds.is_empty() && !is_beside {
            return Told::Wordless;
        }
        let parts = deeds.into_iter().map(|deed| Part::new(Content::Deed(Box::new(deed))));
        Told::As(parts.collect())
    }

    /// The thought that carries what was told.
    fn carrier(&mut self, losses: &mut Losses) -> Option<Part> {
        let carried = std::mem::take(&mut self.carried);
        let bytes = std::mem::take(&mut self.bytes);
        losses.note_if(
            bytes > CARRIED_MAX,
            "what a tool of the provider's found",
            "it is too much to be carried through another format and back",
        );
        if carried.is_empty() || bytes > CARRIED_MAX {
            return None;
        }
        let value = format!("{CARRIED}{}", Value::Array(carried));
        Some(Part::new(Content::Thinking(Thinking {
            signature: Some(Signature {
                origin: self.from,
                value,
            }),
            redacted: true,
            ..Thinking::default()
        })))
    }
}

/// Whether it stands beside an answer's content.
fn is_beside(part: &Part) -> bool {
    match &part.content {
        Content::Native { origin, value } => *origin == Dialect::Gemini && !gemini::served::is_part(value),
        _ => false,
    }
}

fn deed(part: &Part) -> Option<&Deed> {
    match &part.content {
        Content::Deed(deed) => Some(deed),
        _ => None,
    }
}

/// Says what was found of the last search; nobody tells which one found it.
fn give(pages: Vec<Page>, parts: &mut Vec<Part>) {
    if pages.is_empty() {
        return;
    }
    let last = |is: fn(&Act) -> bool| {
        let is = |part: &Part| deed(part).is_some_and(|deed| is(&deed.act));
        parts.iter().rposition(is)
    };
    let found = last(|act| matches!(act, Act::Found(_)));
    let asked = last(|act| matches!(act, Act::Search(_)));
    if let Some(Content::Deed(deed)) = found.and_then(|at| Some(&mut parts.get_mut(at)?.content)) {
        deed.act = Act::Found(Ok(pages));
    } else if let Some(at) = asked
        && let Some(id) = parts.get(at).and_then(deed).map(|deed| deed.id.clone())
    {
        let came = Deed::new(&id, Act::Found(Ok(pages)));
        parts.insert(at + 1, Part::new(Content::Deed(Box::new(came))));
    }
}

/// Says the steps of a conversation as an upstream of this dialect takes them. `thinks`: whether the model does.
pub(super) fn settle(request: &mut Request, to: Dialect, thinks: Option<bool>, losses: &mut Losses) {
    for message in &mut request.messages {
        let is_concerned = message.role == Role::Assistant && message.parts.iter().any(concerns);
        if is_concerned {
            settle_turn(message, to, thinks, losses);
        }
    }
}

fn concerns(part: &Part) -> bool {
    matches!(part.content, Content::Native { .. }) || carried(part).is_some()
}

/// Whose steps a thought carries.
fn carried(part: &Part) -> Option<(Dialect, &str)> {
    match &part.content {
        Content::Thinking(Thinking {
            signature: Some(seal), ..
        }) => Some((seal.origin, seal.value.strip_prefix(CARRIED)?)),
        _ => None,
    }
}

fn settle_turn(message: &mut Message, to: Dialect, thinks: Option<bool>, losses: &mut Losses) {
    let mut told: Vec<Part> = Vec::with_capacity(message.parts.len());
    // Before it stands what another thought carried.
    let mut floor = 0;
    // Steps that came back without what they must come with.
    let mut bare: Vec<Range<usize>> = Vec::new();
    for part in std::mem::take(&mut message.parts) {
        let Some((origin, json)) = carried(&part) else {
            told.push(part);
            continue;
        };
        let natives = natives_in(origin, json, losses);
        if !natives.is_empty() {
            // What was told of them in the client's words says no more, and is no provider's own.
            let own = told.iter().rposition(|part| !is_step(part)).map_or(0, |last| last + 1);
            told.truncate(own.max(floor));
            let begin = told.len();
            let is_whole = !needs_thought(origin, thinks) || told.iter().any(|part| is_sealed(part, origin));
            told.extend(
                natives
                    .into_iter()
                    .map(|value| Part::new(Content::Native { origin, value })),
            );
            bare.extend((!is_whole).then_some(begin..told.len()));
        }
        floor = told.len();
    }
    message.parts = acceptable(told, to, &bare, losses);
}

/// What a thought carries. Clients may write one themselves; so what could not be said openly, things that others may own, is
/// not carried either: nobody has looked at it.
fn natives_in(origin: Dialect, json: &str, losses: &mut Losses) -> Vec<Value> {
    let Ok(Value::Array(natives)) = nested::read(json.as_bytes()) else {
        return Vec::new();
    };
    let body = match origin {
        Dialect::OpenaiResponses => json!({"input": natives}),
        Dialect::Gemini => json!({"contents": [{"role": "model", "parts": natives}]}),
        _ => json!({"messages": [{"role": "assistant", "content": natives}]}),
    };
    let facts = crate::scan(Surface::new(Operation::Chat, origin), body.to_string().as_bytes());
    if facts.is_ok_and(|facts| facts.references.is_none()) {
        return natives;
    }
    for native in &natives {
        losses.note(
            native_name(native),
            "it names what may be another's, and came back sealed",
        );
    }
    Vec::new()
}

/// Whether a step is refused without the thought before it. OpenAI: "Item 'ws_…' […] was provided without its required
/// 'reasoning' item". Of models that do not think there is none.
fn needs_thought(origin: Dialect, thinks: Option<bool>) -> bool {
    origin == Dialect::OpenaiResponses && thinks == Some(true)
}

/// Whether it is a thought that this provider takes back.
fn is_sealed(part: &Part, origin: Dialect) -> bool {
    match &part.content {
        Content::Thinking(Thinking {
            signature: Some(seal), ..
        }) => seal.origin == origin,
        _ => false,
    }
}

/// Whether it is something that the provider did. What stands inside of a message is not.
fn is_step(part: &Part) -> bool {
    matches!(part.content, Content::Native { .. }) && part.extra.members.is_empty()
}

/// Leaves out the steps that this upstream would refuse, though they are in its format; encoders leave out those of others.
/// Nothing is put in their place: what the model made of them follows as its own words, and ours would pass for them.
fn acceptable(parts: Vec<Part>, to: Dialect, bare: &[Range<usize>], losses: &mut Losses) -> Vec<Part> {
    let mut kept: Vec<Part> = Vec::with_capacity(parts.len());
    for (place, part) in parts.into_iter().enumerate() {
        let is_bare = bare.iter().any(|range| range.contains(&place));
        match &part.content {
            Content::Native { origin, value } if *origin == to && is_bare => {
                losses.note(native_name(value), LACKS_THOUGHT);
            }
            Content::Native { origin, value } if *origin == to && is_made(value) => {
                losses.note(native_name(value), OTHERS);
            }
            _ => kept.push(part),
        }
    }
    kept
}

const OTHERS: &str = "another provider did it, and takes it back itself only";
const LACKS_THOUGHT: &str =
    "the provider takes it back only with the sealed thought before it, which did not come back";

#[cfg(test)]
mod tests;
