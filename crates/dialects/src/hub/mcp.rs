//! Remote (MCP) servers, whose tools a provider calls by itself.
//!
//! Anthropic and OpenAI both have them, and say differently which tools may be called: a list of those that may (OpenAI), a
//! switch for all and one for each (Anthropic), and who is asked before a call (OpenAI only). What a client forbade stays
//! forbidden: where a format has no word for the bounds that another drew, the server is left out there and named as a loss.
//! A tool that is missing does less harm than one that deletes what nobody wanted deleted.

use domain::Secret;

use super::Losses;

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mcp {
    /// What calls of its tools name it by.
    pub(crate) label: String,
    /// Where it is. The provider goes there, not we.
    pub(crate) url: String,
    /// What the provider shows it, without `Bearer`.
    pub(crate) token: Option<Secret>,
    /// Which of its tools may be called, and nobody is asked before.
    pub(crate) offer: Offer,
    /// Members of the declaration that no other family has a word for.
    pub(crate) unsaid: Vec<String>,
}

/// Which tools of a server may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// All that it has.
    All,
    /// These.
    Only(Vec<String>),
    /// All but these.
    AllBut(Vec<String>),
    /// Only the family that it was said in can say which, for this reason.
    Bounded(&'static str),
}

impl Mcp {
    /// Notes what another family's declaration cannot say.
    pub(crate) fn note_unsaid(&self, losses: &mut Losses) {
        for member in &self.unsaid {
            let why = match member.as_str() {
                "require_approval" => {
                    "nobody is asked before a call; tools for which a person would be are not offered"
                }
                "defer_loading" => "its tools are shown to the model from the beginning",
                _ => "only the client's format can say it of a server",
            };
            losses.note(format!("tools.mcp.{member}"), why);
        }
    }

    /// Notes that the server is not declared.
    pub(crate) fn leave_out(losses: &mut Losses, reason: &'static str) {
        losses.note("tools.mcp", reason);
    }
}

impl Offer {
    /// Only those of these that are offered already.
    pub(crate) fn narrowed(self, names: Vec<String>) -> Self {
        match self {
            Self::All => Self::Only(names),
            Self::Only(offered) => Self::Only(offered.into_iter().filter(|name| names.contains(name)).collect()),
            Self::AllBut(denied) => Self::Only(names.into_iter().filter(|name| !denied.contains(name)).collect()),
            Self::Bounded(reason) => Self::Bounded(reason),
        }
    }

    /// All that are offered but these.
    pub(crate) fn without(self, names: &[String]) -> Self {
        match self {
            Self::Only(offered) => Self::Only(offered.into_iter().filter(|name| !names.contains(name)).collect()),
            Self::All => Self::AllBut(names.to_vec()),
            Self::AllBut(mut denied) => {
                denied.extend(names.iter().cloned());
                Self::AllBut(denied)
            }
            Self::Bounded(reason) => Self::Bounded(reason),
        }
    }

    /// Whether nothing is.
    pub(crate) const fn is_nothing(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn offers_only_ever_shrink() {
        let only = Offer::Only(names(&["a", "b"]));
        assert_eq!(Offer::All.narrowed(names(&["a"])), Offer::Only(names(&["a"])));
        assert_eq!(only.clone().narrowed(names(&["b", "c"])), Offer::Only(names(&["b"])));
        assert_eq!(
            Offer::AllBut(names(&["a"])).narrowed(names(&["a", "b"])),
            Offer::Only(names(&["b"]))
        );
        assert_eq!(only.without(&names(&["a"])), Offer::Only(names(&["b"])));
        assert_eq!(Offer::All.without(&names(&["a"])), Offer::AllBut(names(&["a"])));
        assert!(Offer::Only(names(&["a"])).narrowed(names(&["b"])).is_nothing());
        assert_eq!(Offer::Bounded("r").narrowed(names(&["a"])), Offer::Bounded("r"));
    }

    #[test]
    fn tokens_are_not_shown() {
        let server = Mcp {
            label: "s".to_owned(),
            url: "https://s.example".to_owned(),
            token: Some(Secret::new("very-secret")),
            offer: Offer::All,
            unsaid: Vec::new(),
        };
        assert!(!format!("{server:?}").contains("very-secret"));
    }
}
