//! The thread of an answer that may have to be taken up elsewhere.
//!
//! A model that recovers goes on with an answer that its upstream broke off: another one is given what was said so far and
//! says the rest. For that we must know what the client has been told (the text, and whether something else was told that
//! nobody can go on with), and join the rest to it so that the client sees one answer: one start, one text that goes on
//! where it stopped, no part opened twice. All of it happens on the vocabulary's events, before the encoder, so that it is
//! the same for every format.
//!
//! Two things stand at the joint. A beginning must not end in white space (Anthropic answers 400, and elsewhere the model
//! goes astray between two tokens), so it is given without, and the white space that the client has already is taken off
//! what the model says next. And some say the beginning once more before they go on (Mistral's do; `@ai-sdk/mistral` 3.0.69
//! skips it too): it is held back while it agrees with what was said, and dropped when it is all of it.

use crate::hub::{Content, Delta, Event, Part};
use crate::limits::{ECHO_MIN, PREFILL_MAX};

/// How an answer stands that broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The client was told nothing that it would see: the answer can begin again.
    Silent,
    /// The client has this text, white space at its end left out: a model can go on behind it.
    Spoken(String),
    /// Nobody can go on with it.
    Lost(&'static str),
}

/// What the client was told of an answer, and how the rest is joined to it.
#[derive(Debug, Default)]
pub(crate) struct Thread {
    /// The answer's text as the client has it.
    told: String,
    /// Why nobody can go on with it.
    lost: Option<&'static str>,
    /// The text part that is open.
    open: Option<u32>,
    /// The thinking that is open.
    thinking: Option<u32>,
    has_thought: bool,
    /// The first place that was not opened yet.
    free: u32,
    joint: Option<Joint>,
}

/// Where the rest of an answer is joined to what was told.
#[derive(Debug)]
struct Joint {
    /// What is added to the places of the rest.
    base: u32,
    /// The part of the rest that goes on in an open one, and that.
    merged: Option<(u32, u32)>,
    /// Places of the rest whose parts are texts.
    texts: Vec<u32>,
    /// What the model may say once more, and what it has said of it.
    echo: Option<Echo>,
    /// White space that the client has and the model was not given.
    owed: String,
}

#[derive(Debug)]
struct Echo {
    expected: String,
    heard: String,
}

impl Thread {
    /// How the answer stands.
    pub(crate) fn standing(&self) -> Standing {
        let spoken = self.told.trim_end();
        match self.lost {
            Some(why) => Standing::Lost(why),
            None if self.thinking.is_some() => Standing::Lost("the model was thinking"),
            None if spoken.is_empty() && self.has_thought => Standing::Lost("the model had only thought"),
            None if spoken.is_empty() => Standing::Silent,
            None => Standing::Spoken(spoken.to_owned()),
        }
    }

    /// Why nobody can go on with it, whatever comes.
    pub(crate) const fn is_lost(&self) -> Option<&'static str> {
        self.lost
    }

    /// Whether a text is open.
    pub(crate) const fn in_text(&self) -> bool {
        self.open.is_some()
    }

    /// Nobody can go on with it any more.
    pub(crate) const fn lose(&mut self, why: &'static str) {
        self.lost = Some(why);
    }

    /// What comes from now on is the rest of the answer, from another stream, whose model was given `begun` as the beginning.
    /// `is_repeated`: it is known to say that once more.
    pub(crate) fn join(&mut self, begun: String, is_repeated: bool) {
        let spoken = self.told.trim_end().len();
        let may_echo = begun.len() >= if is_repeated { 1 } else { ECHO_MIN };
        self.joint = Some(Joint {
            base: self.free,
            merged: None,
            texts: Vec::new(),
            echo: may_echo.then(|| Echo {
                expected: begun,
                heard: String::new(),
            }),
            owed: self.told.get(spoken..).unwrap_or_default().to_owned(),
        });
    }

    /// Takes what a stream says and appends what is to be told.
    pub(crate) fn push(&mut self, event: Event, out: &mut Vec<Event>) {
        let before = out.len();
        match self.joint.take() {
            None => out.push(event),
            Some(mut joint) => {
                joint.push(event, &mut self.open, out);
                self.joint = Some(joint);
            }
        }
        for event in out.get(before..).unwrap_or_default() {
            self.see(event);
        }
    }

    /// Notes what is told.
    fn see(&mut self, event: &Event) {
        match event {
            Event::Open { choice: 1.., .. } | Event::Delta { choice: 1.., .. } | Event::Stop { choice: 1.., .. } => {
                self.lose("it is one of several answers");
            }
            Event::Open { place, part, .. } => {
                self.free = self.free.max(place.saturating_add(1));
                self.see_part(*place, part);
            }
            Event::Delta { place, delta, .. } => match delta {
                Delta::Text(text) if self.open == Some(*place) => self.say(text),
                Delta::Citation(_) => self.lose("it cites"),
                Delta::Text(_) | Delta::Arguments(_) | Delta::Signature(_) => {}
            },
            Event::Close { place, .. } => {
                self.open.take_if(|open| open == place);
                self.thinking.take_if(|open| open == place);
            }
            Event::Stop { .. } => self.lose("it had come to its end"),
            Event::Start { .. } | Event::Logprobs { .. } | Event::Usage(_) | Event::ServiceTier(_) => {}
        }
    }

    fn see_part(&mut self, place: u32, part: &Part) {
        match &part.content {
            Content::Text { text, citations } if citations.is_empty() => {
                self.open = Some(place);
                self.say(text);
            }
            Content::Text { .. } => self.lose("it cites"),
            Content::Thinking(_) => {
                self.thinking = Some(place);
                self.has_thought = true;
            }
            Content::ToolCall(_) => self.lose("it called a tool"),
            Content::Refusal(_) => self.lose("it declines"),
            Content::Media(_) | Content::ToolResult(_) | Content::Native { .. } | Content::Deed(_) => {
                self.lose("it holds more than text");
            }
        }
    }

    fn say(&mut self, text: &str) {
        if self.told.len() + text.len() > PREFILL_MAX {
            self.lose("it is too long to be taken up");
            self.told = String::new();
        }
        if self.lost.is_none() {
            self.told.push_str(text);
        }
    }
}

impl Joint {
    /// Tells an event of the rest, in the places of the whole. `open` is the text part that the client saw begin.
    fn push(&mut self, event: Event, open: &mut Option<u32>, out: &mut Vec<Event>) {
        match event {
            Event::Start { .. } => {}
            Event::Open { choice: 0, place, part } => self.begin(place, part, *open, out),
            Event::Open { choice, place, part } => out.push(Event::Open {
                choice,
                place: self.base.saturating_add(place),
                part,
            }),
            Event::Delta {
                choice: 0,
                place,
                delta: Delta::Text(text),
            } if self.texts.contains(&place) => {
                if let Some(text) = self.joined(&text) {
                    out.push(self.words(place, text));
                }
            }
            Event::Delta { choice, place, delta } => out.push(Event::Delta {
                choice,
                place: self.place(choice, place),
                delta,
            }),
            Event::Close { choice, place } => {
                if choice == 0 && self.texts.contains(&place) {
                    self.unhold(place, out);
                }
                out.push(Event::Close {
                    choice,
                    place: self.place(choice, place),
                });
            }
            Event::Stop { choice: 0, stop } => {
                if let Some(place) = self.texts.last().copied() {
                    self.unhold(place, out);
                }
                out.push(Event::Stop { choice: 0, stop });
            }
            event => out.push(event),
        }
    }

    /// A part of the rest begins. The first text goes on in the part that is open; anything else ends that.
    fn begin(&mut self, place: u32, mut part: Box<Part>, open: Option<u32>, out: &mut Vec<Event>) {
        let first = match &mut part.content {
            Content::Text { text, .. } => Some(std::mem::take(text)),
            _ => None,
        };
        let goes_on = open.filter(|_| self.merged.is_none() && self.texts.is_empty());
        match (goes_on, &first) {
            (Some(open), Some(_)) => self.merged = Some((place, open)),
            (Some(open), None) => out.push(Event::Close { choice: 0, place: open }),
            (None, _) => {}
        }
        if self.merged.is_none_or(|(merged, _)| merged != place) {
            out.push(Event::Open {
                choice: 0,
                place: self.place(0, place),
                part,
            });
        }
        if let Some(text) = first {
            self.texts.push(place);
            if let Some(text) = self.joined(&text) {
                out.push(self.words(place, text));
            }
        }
    }

    fn place(&self, choice: u32, place: u32) -> u32 {
        match self.merged {
            Some((merged, open)) if choice == 0 && merged == place => open,
            _ => self.base.saturating_add(place),
        }
    }

    fn words(&self, place: u32, text: String) -> Event {
        Event::Delta {
            choice: 0,
            place: self.place(0, place),
            delta: Delta::Text(text),
        }
    }

    /// What of the model's words the client does not have; `None`: nothing, or that is not known yet.
    fn joined(&mut self, text: &str) -> Option<String> {
        let Some(echo) = &mut self.echo else {
            return self.unowed(text);
        };
        echo.heard.push_str(text);
        if let Some(rest) = echo.heard.strip_prefix(&echo.expected) {
            let rest = rest.to_owned();
            self.echo = None;
            return self.unowed(&rest);
        }
        if echo.expected.starts_with(&echo.heard) {
            return None;
        }
        let heard = std::mem::take(&mut echo.heard);
        self.echo = None;
        self.unowed(&heard)
    }

    /// The text without the white space at its beginning that the client has already.
    fn unowed(&mut self, text: &str) -> Option<String> {
        let mut rest = text;
        while let Some(sign) = self.owed.chars().next()
            && let Some(after) = rest.strip_prefix(sign)
        {
            rest = after;
            self.owed.drain(..sign.len_utf8());
        }
        if !rest.is_empty() {
            self.owed.clear();
        }
        (!rest.is_empty()).then(|| rest.to_owned())
    }

    /// A text ends while it still might have been an echo: it was none.
    fn unhold(&mut self, place: u32, out: &mut Vec<Event>) {
        let held = self.echo.take().map(|echo| echo.heard).unwrap_or_default();
        if let Some(text) = self.unowed(&held) {
            out.push(self.words(place, text));
        }
    }
}

#[cfg(test)]
mod tests;
