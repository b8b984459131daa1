//! Remote (MCP) servers: anthropic 2.14, `types/beta/beta_request_mcp_server_url_definition_param.py` and
//! `beta_mcp_toolset_param.py`; how they go together: <https://platform.claude.com/docs/en/agents-and-tools/mcp-connector>.
//!
//! A server is declared in two places: where it is in `mcp_servers`, and which of its tools there are in a `mcp_toolset`
//! among the tools. Until November 2025 the former had both. Here the two are one tool, kept in their own words as an object
//! with both, which the encoder takes apart again.

use domain::Secret;
use serde_json::{Map, Value, json};

use super::OWN;
use crate::hub::{Hosted, HostedKind, Mcp, Offer, Tool};

/// Where the two declarations stand in the native words of the tool.
pub(in super::super) const SERVER: &str = "mcp_server";
pub(in super::super) const TOOLSET: &str = "mcp_toolset";

/// Puts servers with their toolsets among the tools, those without one behind; `false`: they are not in the shape that we
/// know, and nothing was done.
pub(super) fn join(servers: &Value, tools: &mut Vec<Tool>) -> bool {
    let Some(servers) = servers.as_array() else {
        return false;
    };
    if servers.is_empty() || !servers.iter().all(|server| declared(server, None).is_some()) {
        return false;
    }
    for server in servers {
        let set = tools.iter_mut().find_map(|tool| match tool {
            Tool::Hosted(hosted) if is_toolset_of(&hosted.native, server) => Some(hosted),
            _ => None,
        });
        match set {
            Some(set) => *set = hosted(server, Some(&set.native)),
            None => tools.push(Tool::Hosted(hosted(server, None))),
        }
    }
    true
}

fn is_toolset_of(native: &Value, server: &Value) -> bool {
    native["type"] == TOOLSET && native["mcp_server_name"] == server["name"]
}

fn hosted(server: &Value, set: Option<&Value>) -> Hosted {
    let mut native = json!({SERVER: server});
    if let Some(set) = set {
        native[TOOLSET] = set.clone();
    }
    Hosted {
        kind: declared(server, set).map_or(HostedKind::Other, HostedKind::Mcp),
        origin: OWN,
        native,
    }
}

fn declared(server: &Value, set: Option<&Value>) -> Option<Mcp> {
    if server["type"] != "url" {
        return None;
    }
    let text = |name: &str| server[name].as_str();
    let mut unsaid = Vec::new();
    let mut note = |members: &Value, said: &[&str]| {
        let others = members.as_object().into_iter().flatten();
        let others = others.filter(|(name, value)| !value.is_null() && !said.contains(&name.as_str()));
        unsaid.extend(others.map(|(name, _)| name.clone()));
    };
    note(
        server,
        &["type", "name", "url", "authorization_token", "tool_configuration"],
    );
    if let Some(set) = set {
        note(
            set,
            &["type", "mcp_server_name", "cache_control", "configs", "default_config"],
        );
        if is_deferred(set) {
            unsaid.push("defer_loading".to_owned());
        }
    }
    Some(Mcp {
        label: text("name")?.to_owned(),
        url: text("url")?.to_owned(),
        token: text("authorization_token").map(Secret::new),
        offer: set.map_or_else(|| of_server(&server["tool_configuration"]), of_set),
        unsaid,
    })
}

/// As it was said before there were toolsets.
fn of_server(configuration: &Value) -> Offer {
    if configuration["enabled"] == false {
        return Offer::Only(Vec::new());
    }
    match configuration["allowed_tools"].as_array() {
        Some(names) => Offer::Only(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        None => Offer::All,
    }
}

fn of_set(set: &Value) -> Offer {
    let empty = Map::new();
    let configs = set["configs"].as_object().unwrap_or(&empty);
    let switched = |wanted: bool| {
        let those = configs.iter().filter(|(_, config)| config["enabled"] == wanted);
        those.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    if set["default_config"]["enabled"] == false {
        return Offer::Only(switched(true));
    }
    let denied = switched(false);
    let listed = set["tools"].as_array().map(|tools| {
        let names = tools.iter().filter_map(|tool| tool["name"].as_str());
        names.map(str::to_owned).collect::<Vec<_>>()
    });
    match (listed, denied.is_empty()) {
        // Where the listing is given, there are no others.
        (Some(names), _) => Offer::Only(names).without(&denied),
        (None, true) => Offer::All,
        (None, false) => Offer::AllBut(denied),
    }
}

fn is_deferred(set: &Value) -> bool {
    let configs = set["configs"].as_object();
    let each = configs.into_iter().flatten().map(|(_, config)| config);
    std::iter::once(&set["default_config"])
        .chain(each)
        .any(|config| config["defer_loading"] == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn toolsets_switch_tools_on_and_off() {
        for (set, offer) in [
            (json!({}), Offer::All),
            (json!({"default_config": {"enabled": true}}), Offer::All),
            (
                json!({"default_config": {"enabled": false}, "configs": {"a": {"enabled": true}, "b": {"enabled": false}}}),
                Offer::Only(names(&["a"])),
            ),
            (
                json!({"configs": {"a": {"enabled": true}, "b": {"enabled": false}}}),
                Offer::AllBut(names(&["b"])),
            ),
            (
                json!({"configs": {"b": {"enabled": false}}, "tools": [{"name": "a"}, {"name": "b"}]}),
                Offer::Only(names(&["a"])),
            ),
        ] {
            assert_eq!(of_set(&set), offer, "{set}");
        }
        assert_eq!(of_server(&json!({"enabled": false})), Offer::Only(vec![]));
        assert_eq!(of_server(&json!({"allowed_tools": ["a"]})), Offer::Only(names(&["a"])));
        assert_eq!(of_server(&Value::Null), Offer::All);
    }

    #[test]
    fn what_is_not_understood_stays_as_it_is() {
        let mut tools = Vec::new();
        for servers in [
            json!([]),
            json!({}),
            json!([{"type": "stdio", "name": "a"}]),
            json!([{"type": "url", "name": "a", "url": "u"}, {"type": "url"}]),
        ] {
            assert!(!join(&servers, &mut tools), "{servers}");
        }
        assert_eq!(tools, []);
    }
}
