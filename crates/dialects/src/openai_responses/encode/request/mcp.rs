//! Remote (MCP) servers: openai 3.57, `types/responses/tool_param.py` (`Mcp`).

use domain::Secret;
use serde_json::{Map, Value};

use super::super::item::set;
use crate::hub::{Losses, Mcp, Offer};

/// Declares a server of another family's; `None`: it is left out.
pub(super) fn declare(server: &Mcp, losses: &mut Losses) -> Option<Value> {
    let allowed = match &server.offer {
        // None of its tools is wanted, which goes without a server.
        offer if offer.is_nothing() => return None,
        Offer::All => None,
        Offer::Only(names) => Some(names.clone()),
        Offer::AllBut(_) => {
            Mcp::leave_out(
                losses,
                "OpenAI cannot forbid some of a server's tools; the server is left out",
            );
            return None;
        }
        Offer::Bounded(reason) => {
            Mcp::leave_out(losses, reason);
            return None;
        }
    };
    server.note_unsaid(losses);
    let mut members = Map::new();
    members.insert("type".to_owned(), "mcp".into());
    members.insert("server_label".to_owned(), label(&server.label, losses).into());
    members.insert("server_url".to_owned(), server.url.clone().into());
    set(&mut members, "authorization", server.token.as_ref().map(Secret::expose));
    set(&mut members, "allowed_tools", allowed);
    // Nobody else asks a person before each call, which is what happens here where nothing is said.
    members.insert("require_approval".to_owned(), "never".into());
    Some(Value::Object(members))
}

/// A label of letters, digits, dashes and underscores, beginning with a letter; OpenAI takes no others
/// (<https://github.com/pomerium/mcp-app-demo/issues/18>).
fn label(label: &str, losses: &mut Losses) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let plain = label.chars().map(|letter| if is_plain(letter) { letter } else { '_' });
    let mut told: String = plain.collect();
    if !told.starts_with(|first: char| first.is_ascii_alphabetic()) {
        told.insert_str(0, "mcp_");
    }
    losses.note_if(
        told != label,
        "tools.mcp.name",
        "OpenAI's labels have letters, digits, dashes and underscores only; what else there is became an underscore",
    );
    told
}
