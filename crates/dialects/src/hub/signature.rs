//! Seals that providers put on reasoning, and how they travel through foreign formats.
//!
//! A provider accepts back only what it sealed itself, so a seal always carries whose it is. Formats have one field for a
//! seal and no place for its origin; where a seal travels through a foreign format it is wrapped in a prefix that names
//! the origin. A client sends back what it got, and the wrapped seal comes home. A seal without the prefix is of the
//! format that it stands in.

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

impl Signature {
    /// A seal read from a field of `dialect`.
    pub(crate) fn read(dialect: Dialect, text: &str) -> Self {
        let unwrapped = text.strip_prefix(WRAPPED).and_then(|rest| {
            let (name, value) = rest.split_once(':')?;
            let origin = Dialect::ALL.into_iter().find(|known| known.name() == name)?;
            Some(Self {
                origin,
                value: value.to_owned(),
            })
        });
        unwrapped.unwrap_or_else(|| Self {
            origin: dialect,
            value: text.to_owned(),
        })
    }

    /// The seal as it is written into an *answer* of `dialect`, to a client that will send it back.
    pub(crate) fn for_client(&self, dialect: Dialect) -> String {
        if self.origin == dialect {
            self.value.clone()
        } else {
            format!("{WRAPPED}{}:{}", self.origin.name(), self.value)
        }
    }

    /// The seal as an *upstream* of `dialect` gets it; `None`: it is not of that format and would be refused.
    pub(crate) fn for_upstream(&self, dialect: Dialect) -> Option<&str> {
        (self.origin == dialect).then_some(self.value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_foreign_seal_is_kept_from_upstreams() {
        let seal = Signature::read(Dialect::AnthropicMessages, "tollgate:gemini:abc");
        assert_eq!(seal.for_upstream(Dialect::AnthropicMessages), None);
        assert_eq!(
            Signature::read(Dialect::Gemini, "tollgate:nobody:abc").origin,
            Dialect::Gemini
        );
    }
}
