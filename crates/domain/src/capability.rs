//! What models can do, and what requests need.
//!
//! Much of it is not known of every model, so there are three answers, and only a known "no" keeps a request away from a
//! model: a list that forgets to say that a model sees pictures must not take them from those who use it so today.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that one model can do and another cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Asks for functions of the client to be called.
    Tools,
    /// Asks for several at once.
    ParallelTools,
    /// Answers in JSON of a given schema.
    Schema,
    /// Sees pictures.
    Image,
    /// Hears.
    Audio,
    /// Reads PDF.
    Document,
    /// Watches films.
    Video,
    /// Thinks before it answers.
    Thinking,
    /// Goes on with a text that stands as its own last message, instead of answering it.
    Prefill,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Tools,
        Self::ParallelTools,
        Self::Schema,
        Self::Image,
        Self::Audio,
        Self::Document,
        Self::Video,
        Self::Thinking,
        Self::Prefill,
    ];

    /// The word in configuration, tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::ParallelTools => "parallel_tools",
            Self::Schema => "schema",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Video => "video",
            Self::Thinking => "thinking",
            Self::Prefill => "prefill",
        }
    }

    /// What a request has that needs it, for errors.
    pub const fn needed_by(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::ParallelTools => "parallel tool calls",
            Self::Schema => "an answer by JSON Schema",
            Self::Image => "images",
            Self::Audio => "audio",
            Self::Document => "PDF documents",
            Self::Video => "video",
            Self::Thinking => "thinking",
            Self::Prefill => "prefilled answers",
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u16);

impl CapabilitySet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Puts one in.
    pub const fn insert(&mut self, one: Capability) {
        self.0 |= 1 << one as u8;
    }

    /// Takes one out.
    pub const fn remove(&mut self, one: Capability) {
        self.0 &= !(1 << one as u8);
    }

    /// Whether one is in it.
    pub const fn contains(self, one: Capability) -> bool {
        self.0 & (1 << one as u8) != 0
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in it, in the order of [`Capability::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |one| self.contains(*one))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        let mut set = Self::EMPTY;
        for one in all {
            set.insert(one);
        }
        set
    }
}

/// What is known of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What it can do.
    pub can: CapabilitySet,
    /// What it cannot.
    pub cannot: CapabilitySet,
}

impl Capabilities {
    /// Whether it can; `None`: not known.
    pub const fn of(self, one: Capability) -> Option<bool> {
        if self.can.contains(one) {
            Some(true)
        } else if self.cannot.contains(one) {
            Some(false)
        } else {
            None
        }
    }

    /// Notes that it can, or cannot.
    pub const fn set(&mut self, one: Capability, can: bool) {
        let (to, from) = if can {
            (&mut self.can, &mut self.cannot)
        } else {
            (&mut self.cannot, &mut self.can)
        };
        to.insert(one);
        from.remove(one);
    }
}

/// `models[].capabilities`: what is known of a model better than the catalog knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CapabilitiesDecl {
    /// Asks for functions of the client to be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Asks for several at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tools: Option<bool>,
    /// Answers in JSON of a given schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<bool>,
    /// Sees pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<bool>,
    /// Hears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// Reads PDF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<bool>,
    /// Watches films.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<bool>,
    /// Thinks before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
    /// Goes on with a text that stands as its own last message, which recovery needs of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<bool>,
}

impl CapabilitiesDecl {
    /// What it says of one; `None`: nothing.
    pub const fn of(&self, one: Capability) -> Option<bool> {
        match one {
            Capability::Tools => self.tools,
            Capability::ParallelTools => self.parallel_tools,
            Capability::Schema => self.schema,
            Capability::Image => self.image,
            Capability::Audio => self.audio,
            Capability::Document => self.document,
            Capability::Video => self.video,
            Capability::Thinking => self.thinking,
            Capability::Prefill => self.prefill,
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is known, corrected by it.
    #[must_use]
    pub fn over(&self, mut known: Capabilities) -> Capabilities {
        for one in Capability::ALL {
            if let Some(can) = self.of(one) {
                known.set(one, can);
            }
        }
        known
    }
}

/// What a request needs of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What it must be able to do.
    pub capabilities: CapabilitySet,
    /// Tokens that the prompt probably has; 0: nobody knows.
    pub tokens: u64,
    /// Tokens that the prompt has at least, as surely as can be said.
    pub least_tokens: u64,
}

/// What a model lacks for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A capability.
    Capability(Capability),
    /// Room in its context window.
    Context {
        /// Whether the prompt is too long for certain; otherwise that is our guess.
        certain: bool,
    },
}

impl Lack {
    /// The word in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capability(one) => one.name(),
            Self::Context { .. } => "context",
        }
    }
}

impl Needs {
    /// The same, with nothing that is only our guess.
    #[must_use]
    pub const fn certain(self) -> Self {
        Self {
            tokens: self.least_tokens,
            ..self
        }
    }

    /// What a model of these capabilities and this context window (0: not known) lacks; `None`: nothing that is known.
    pub fn lack(&self, known: Capabilities, context: u64) -> Option<Lack> {
        if let Some(one) = self.capabilities.and(known.cannot).iter().next() {
            return Some(Lack::Capability(one));
        }
        let is_over = |tokens: u64| context != 0 && tokens > context;
        is_over(self.tokens).then(|| Lack::Context {
            certain: is_over(self.least_tokens),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(can: &[Capability], cannot: &[Capability]) -> Capabilities {
        Capabilities {
            can: can.iter().copied().collect(),
            cannot: cannot.iter().copied().collect(),
        }
    }

    #[test]
    fn only_a_known_no_is_a_lack() {
        let model = known(&[Capability::Tools], &[Capability::Image]);
        let needs = |all: &[Capability]| Needs {
            capabilities: all.iter().copied().collect(),
            ..Needs::default()
        };
        assert_eq!(needs(&[Capability::Tools, Capability::Audio]).lack(model, 0), None);
        assert_eq!(
            needs(&[Capability::Tools, Capability::Image]).lack(model, 0),
            Some(Lack::Capability(Capability::Image))
        );
    }

    #[test]
    fn a_prompt_may_be_too_long_for_certain_or_by_guess() {
        let needs = Needs {
            tokens: 100,
            least_tokens: 20,
            ..Needs::default()
        };
        for (context, lack) in [
            (0, None),
            (100, None),
            (99, Some(Lack::Context { certain: false })),
            (19, Some(Lack::Context { certain: true })),
        ] {
            assert_eq!(needs.lack(Capabilities::default(), context), lack, "{context}");
        }
    }

    #[test]
    fn a_declaration_goes_before_what_is_known() {
        let decl = CapabilitiesDecl {
            tools: Some(false),
            image: Some(true),
            ..CapabilitiesDecl::default()
        };
        let corrected = decl.over(known(&[Capability::Tools, Capability::Audio], &[Capability::Image]));
        assert_eq!(
            corrected,
            known(&[Capability::Audio, Capability::Image], &[Capability::Tools])
        );
        assert_eq!(corrected.of(Capability::Video), None);
    }
}
