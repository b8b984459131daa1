//! Remote (MCP) servers, declared in two places ([`crate::anthropic_messages::decode`] says why).
//!
//! As of the beta of November 2025, which has a toolset for each server (`anthropic-beta` is told so by
//! [`crate::Question::betas`]). What Anthropic refuses is left out: addresses without TLS ("must start with https://",
//! <https://platform.claude.com/docs/en/agents-and-tools/mcp-connector>).

use domain::Dialect;
use serde_json::{Value, json};

use crate::anthropic_messages::decode::{SERVER, TOOLSET};
use crate::anthropic_messages::encode::OWN;
use crate::anthropic_messages::encode::blocks::Members;
use crate::hub::{Losses, Mcp, Offer};

/// Where it is said where they are.
pub(super) const SERVERS: &str = "mcp_servers";

/// Declares a server: where it is, and which of its tools there are. `None`: it is left out.
pub(super) fn declare(
    server: &Mcp,
    origin: Dialect,
    mut native: Value,
    is_taken: bool,
    losses: &mut Losses,
) -> Option<(Value, Option<Value>)> {
    if !is_taken {
        Mcp::leave_out(losses, "the target calls no remote servers");
        return None;
    }
    if origin == OWN {
        let set = native.get_mut(TOOLSET).map(Value::take);
        return Some((native.get_mut(SERVER)?.take(), set));
    }
    if !server.url.starts_with("https://") {
        Mcp::leave_out(losses, "Anthropic goes to https addresses only; the server is left out");
        return None;
    }
    let set = set(server, losses)?;
    server.note_unsaid(losses);
    let mut declared = Members::new();
    declared.insert("type".to_owned(), "url".into());
    declared.insert("name".to_owned(), server.label.clone().into());
    declared.insert("url".to_owned(), server.url.clone().into());
    if let Some(token) = &server.token {
        declared.insert("authorization_token".to_owned(), token.expose().into());
    }
    Some((declared.into(), Some(set)))
}

fn set(server: &Mcp, losses: &mut Losses) -> Option<Value> {
    let mut set = json!({"type": TOOLSET, "mcp_server_name": server.label});
    let mut switch = |names: &[String], on: bool| {
        let each = names.iter().map(|name| (name.clone(), json!({"enabled": on})));
        set["configs"] = each.collect::<Members>().into();
    };
    match &server.offer {
        Offer::All => {}
        Offer::Only(names) => {
            switch(names, true);
            set["default_config"] = json!({"enabled": false});
        }
        Offer::AllBut(names) => switch(names, false),
        Offer::Bounded(reason) => {
            Mcp::leave_out(losses, reason);
            return None;
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use domain::Secret;

    use super::*;

    fn server(url: &str, offer: Offer) -> Mcp {
        Mcp {
            label: "s".to_owned(),
            url: url.to_owned(),
            token: Some(Secret::new("t")),
            offer,
            unsaid: Vec::new(),
        }
    }

    fn told(server: &Mcp, is_taken: bool) -> (Option<(Value, Option<Value>)>, usize) {
        let mut losses = Losses::default();
        let told = declare(server, Dialect::OpenaiResponses, Value::Null, is_taken, &mut losses);
        (told, losses.as_slice().len())
    }

    #[test]
    fn what_would_be_refused_is_left_out_and_named() {
        let fine = server("https://s.example", Offer::All);
        let (declared, lost) = told(&fine, true);
        let (place, set) = declared.unwrap();
        assert_eq!(
            place,
            json!({"type": "url", "name": "s", "url": "https://s.example", "authorization_token": "t"})
        );
        assert_eq!(
            (set, lost),
            (Some(json!({"type": "mcp_toolset", "mcp_server_name": "s"})), 0)
        );
        assert_eq!(told(&fine, false), (None, 1), "as on Vertex and Bedrock");
        assert_eq!(told(&server("http://s.example", Offer::All), true), (None, 1));
        assert_eq!(
            told(&server("https://s.example", Offer::Bounded("why")), true),
            (None, 1)
        );
    }
}
