//! Seals that providers put on reasoning, and how they travel through foreign formats.
//!
//! A provider accepts back only what it sealed itself, so a seal always carries whose it is. Formats have one field for a
//! seal and no place for its origin; where a seal travels through a foreign format it is wrapped in a prefix that names
//! the origin. A client sends back what it got, and the wrapped seal comes home. A seal without the prefix is of the
//! format that it stands in. Gemini's field holds bytes: its SDKs refuse what is not base64, and write it anew in the
//! alphabet that they like better; so there the wrapped seal is in base64, and read in either alphabet.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use domain::Dialect;

/// A provider's seal. Opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Whose.
    pub(crate) origin: Dialect,
    /// As it came.
    pub(crate) value: String,
}

/// Begins a seal that travels through a foreign format. Base64 and its URL-safe form have no colon.
const WRAPPED: &str = "tollgate:";
/// The same in base64, of any alphabet.
const WRAPPED_IN_BASE64: &str = "dG9sbGdhdGU6";

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Signature {
    /// Whether a seal in a request begins as those do that we wrapped.
    pub(crate) fn is_wrapped(text: &[u8]) -> bool {
        text.starts_with(WRAPPED.as_bytes()) || text.starts_with(WRAPPED_IN_BASE64.as_bytes())
    }

    /// A seal read from a field of `dialect`.
    pub(crate) fn read(dialect: Dialect, text: &str) -> Self {
        let unwrapped = if text.starts_with(WRAPPED_IN_BASE64) {
            decoded(text).as_deref().and_then(Self::unwrap)
        } else {
            Self::unwrap(text)
        };
        unwrapped.unwrap_or_else(|| Self {
            origin: dialect,
            value: text.to_owned(),
        })
    }

    fn unwrap(text: &str) -> Option<Self> {
        let (name, value) = text.strip_prefix(WRAPPED)?.split_once(':')?;
        let origin = Dialect::ALL.into_iter().find(|known| known.name() == name)?;
        Some(Self {
            origin,
            value: value.to_owned(),
        })
    }

    /// The seal as it is written into an *answer* of `dialect`, to a client that will send it back.
    pub(crate) fn for_client(&self, dialect: Dialect) -> String {
        if self.origin == dialect {
            return self.value.clone();
        }
        let wrapped = format!("{WRAPPED}{}:{}", self.origin.name(), self.value);
        if dialect == Dialect::Gemini {
            BASE64.encode(wrapped)
        } else {
            wrapped
        }
    }

    /// The seal as an *upstream* of `dialect` gets it; `None`: it is not of that format and would be refused.
    pub(crate) fn for_upstream(&self, dialect: Dialect) -> Option<&str> {
        (self.origin == dialect).then_some(self.value.as_str())
    }

    /// The seal as Claude at an upstream of `dialect` gets it. Claude's seals are good wherever Claude is served: "values
    /// generated on one platform work on another" (<https://platform.claude.com/docs/en/build-with-claude/extended-thinking>).
    /// So a conversation may move between Anthropic and Bedrock. `redacted`: it is nothing but the seal, which Bedrock's
    /// format, where it is bytes, has in base64 once more.
    pub(crate) fn for_claude(&self, dialect: Dialect, redacted: bool) -> Option<Cow<'_, str>> {
        use Dialect::{AnthropicMessages, BedrockConverse};
        match (self.origin, dialect) {
            (AnthropicMessages, BedrockConverse) if redacted => Some(BASE64.encode(&self.value).into()),
            (BedrockConverse, AnthropicMessages) if redacted => decoded(&self.value).map(Cow::Owned),
            (AnthropicMessages, BedrockConverse) | (BedrockConverse, AnthropicMessages) => {
                Some(self.value.as_str().into())
            }
            _ => self.for_upstream(dialect).map(Cow::Borrowed),
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let spelled = text.replace('-', "+").replace('_', "/");
    String::from_utf8(BASE64.decode(spelled).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geminis_clients_get_base64_and_may_spell_it_anew() {
        let seal = Signature {
            origin: Dialect::AnthropicMessages,
            value: "EqQBCkYIBxgC/+=>>>???".to_owned(),
        };
        let wrapped = seal.for_client(Dialect::Gemini);
        assert!(BASE64.decode(&wrapped).is_ok(), "{wrapped}");
        let respelled = wrapped.replace('+', "-").replace('/', "_");
        assert_ne!(wrapped, respelled);
        for sent_back in [wrapped.as_str(), &respelled, respelled.trim_end_matches('=')] {
            assert_eq!(Signature::read(Dialect::Gemini, sent_back), seal);
        }
    }

    #[test]
    fn a_seal_comes_home_through_any_format() {
        for origin in Dialect::ALL {
            let seal = Signature {
                origin,
                value: "EqQBCkYIBxgC/+=".to_owned(),
            };
            for through in Dialect::ALL {
                assert_eq!(Signature::read(through, &seal.for_client(through)), seal);
            }
            assert_eq!(seal.for_upstream(origin), Some("EqQBCkYIBxgC/+="));
        }
    }

    #[test]
    fn claudes_seals_move_between_its_houses() {
        let at_anthropic = Signature::read(Dialect::AnthropicMessages, "EqADCkgI");
        let at_bedrock = Signature::read(Dialect::BedrockConverse, "EqADCkgI");
        for (seal, there) in [
            (&at_anthropic, Dialect::BedrockConverse),
            (&at_bedrock, Dialect::AnthropicMessages),
            (&at_bedrock, Dialect::BedrockConverse),
        ] {
            assert_eq!(seal.for_claude(there, false).as_deref(), Some("EqADCkgI"));
        }
        let told = at_anthropic.for_claude(Dialect::BedrockConverse, true).unwrap();
        assert_eq!(told, "RXFBRENrZ0k=");
        let back = Signature::read(Dialect::BedrockConverse, &told);
        assert_eq!(
            back.for_claude(Dialect::AnthropicMessages, true).as_deref(),
            Some("EqADCkgI")
        );
        let others = Signature::read(Dialect::Gemini, "abc");
        assert_eq!(others.for_claude(Dialect::AnthropicMessages, false), None);
    }

    #[test]
    fn a_foreign_seal_is_kept_from_upstreams() {
        let seal = Signature::read(Dialect::AnthropicMessages, "tollgate:gemini:abc");
        assert_eq!(seal.for_upstream(Dialect::AnthropicMessages), None);
        assert_eq!(
            Signature::read(Dialect::Gemini, "tollgate:nobody:abc").origin,
            Dialect::Gemini
        );
    }
}
