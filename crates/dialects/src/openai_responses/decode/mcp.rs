//! Remote (MCP) servers: openai 3.57, `types/responses/tool_param.py` (`Mcp`).

use domain::Secret;
use serde_json::{Map, Value};

use super::super::{list_of, text_of};
use crate::hub::{Mcp, Offer};

/// Members that [`Mcp`] has, that go without saying, or that say what every family does anyway.
const SAID: [&str; 9] = [
    "type",
    "server_label",
    "server_url",
    "authorization",
    "headers",
    "allowed_tools",
    "require_approval",
    "allowed_callers",
    "defer_loading",
];

const APPROVAL: &str = "a person is asked before its tools are called, which only OpenAI does; the server is left out";
const BY_KIND: &str = "which of its tools may be called depends on what they say of themselves, which only OpenAI asks; \
                       the server is left out";

/// Reads a declaration; `None`: it is a connector or a tunnel of OpenAI's, which nobody else has.
pub(super) fn server(native: &Value) -> Option<Mcp> {
    let declared = native.as_object()?;
    let mut unsaid: Vec<String> = declared
        .iter()
        .filter(|(name, value)| !SAID.contains(&name.as_str()) && !value.is_null())
        .map(|(name, _)| name.clone())
        .collect();
    if declared.get("defer_loading") == Some(&Value::Bool(true)) {
        unsaid.push("defer_loading".to_owned());
    }
    let token = token(declared, &mut unsaid);
    Some(Mcp {
        label: text_of(native, "server_label")?.to_owned(),
        url: text_of(native, "server_url")?.to_owned(),
        token,
        offer: offer(declared, &mut unsaid),
        unsaid,
    })
}

/// What the server is shown: a member, or a header, which is how it was said before there was a member.
fn token(declared: &Map<String, Value>, unsaid: &mut Vec<String>) -> Option<Secret> {
    let mut token = declared.get("authorization").and_then(Value::as_str).map(Secret::new);
    let headers = declared.get("headers").and_then(Value::as_object);
    let mut others = false;
    for (name, value) in headers.into_iter().flatten() {
        let bearer = value.as_str().and_then(|value| {
            let is_ours = name.eq_ignore_ascii_case("authorization");
            let (scheme, rest) = value.split_once(' ')?;
            (is_ours && scheme.eq_ignore_ascii_case("bearer")).then_some(rest.trim())
        });
        match bearer {
            Some(bearer) if token.is_none() => token = Some(Secret::new(bearer)),
            _ => others = true,
        }
    }
    if others {
        unsaid.push("headers".to_owned());
    }
    token
}

/// Which tools may be called without asking. Unsaid, each call is asked for (`always` is OpenAI's default:
/// <https://platform.openai.com/docs/guides/tools-connectors-mcp#approvals>).
fn offer(declared: &Map<String, Value>, unsaid: &mut Vec<String>) -> Offer {
    let allowed = match declared.get("allowed_tools") {
        None | Some(Value::Null) => Offer::All,
        Some(Value::Array(names)) => Offer::Only(texts(names)),
        Some(filter) => match named(filter) {
            Some(names) => Offer::Only(names),
            None if filter.as_object().is_some_and(Map::is_empty) => Offer::All,
            None => return Offer::Bounded(BY_KIND),
        },
    };
    let approval = declared.get("require_approval").unwrap_or(&Value::Null);
    if approval.as_str() == Some("never") {
        return allowed;
    }
    let Some(free) = approval.get("never").and_then(named) else {
        return Offer::Bounded(APPROVAL);
    };
    let asked = match approval.get("always") {
        None | Some(Value::Null) => Vec::new(),
        Some(filter) => match named(filter) {
            Some(names) => names,
            None => return Offer::Bounded(APPROVAL),
        },
    };
    let offer = allowed.narrowed(free).without(&asked);
    if offer.is_nothing() {
        return Offer::Bounded(APPROVAL);
    }
    // Those that need an approval are not offered.
    unsaid.push("require_approval".to_owned());
    offer
}

/// The tools that a filter names; `None`: it asks for something else (too).
fn named(filter: &Value) -> Option<Vec<String>> {
    let is_by_kind = filter.get("read_only").is_some_and(|wish| !wish.is_null());
    filter.get("tool_names")?;
    (!is_by_kind).then(|| texts(list_of(filter, "tool_names")))
}

fn texts(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(members: &Value) -> Mcp {
        let mut native = json!({"type": "mcp", "server_label": "docs", "server_url": "https://mcp.example/sse"});
        native
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        server(&native).unwrap()
    }

    fn only(names: &[&str]) -> Offer {
        Offer::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn nobody_is_asked_only_where_that_is_said() {
        let offer = |members: Value| read(&members).offer;
        assert_eq!(offer(json!({"require_approval": "never"})), Offer::All);
        assert_eq!(
            offer(json!({"require_approval": "never", "allowed_tools": ["a"]})),
            only(&["a"])
        );
        assert_eq!(
            offer(json!({"require_approval": "never", "allowed_tools": {"tool_names": ["a", "b"]}})),
            only(&["a", "b"])
        );
        assert_eq!(
            offer(json!({"allowed_tools": ["a", "b"], "require_approval": {"never": {"tool_names": ["b", "c"]}}})),
            only(&["b"])
        );
        let both = json!({"require_approval": {"never": {"tool_names": ["a", "b"]}, "always": {"tool_names": ["b"]}}});
        assert_eq!(offer(both), only(&["a"]));
        for asked in [
            json!({}),
            json!({"require_approval": null}),
            json!({"require_approval": "always"}),
            json!({"require_approval": {"always": {"tool_names": ["b"]}}}),
            json!({"require_approval": {"never": {"read_only": true}}}),
            json!({"require_approval": {"never": {"read_only": true, "tool_names": ["a"]}}}),
            json!({"require_approval": {"never": {"tool_names": ["a"]}, "always": {"read_only": false}}}),
            json!({"allowed_tools": ["a"], "require_approval": {"never": {"tool_names": ["b"]}}}),
        ] {
            assert_eq!(offer(asked.clone()), Offer::Bounded(APPROVAL), "{asked}");
        }
        let by_kind = json!({"require_approval": "never", "allowed_tools": {"read_only": true}});
        assert_eq!(offer(by_kind), Offer::Bounded(BY_KIND));
    }

    #[test]
    fn a_token_is_one_wherever_it_stands() {
        let shown = |members: Value| {
            let server = read(&members);
            (server.token.map(|token| token.expose().to_owned()), server.unsaid)
        };
        let told = Some("t".to_owned());
        assert_eq!(shown(json!({"authorization": "t"})), (told.clone(), vec![]));
        assert_eq!(
            shown(json!({"headers": {"Authorization": "Bearer t"}})),
            (told.clone(), vec![])
        );
        let more = json!({"headers": {"authorization": "bearer t", "X-Team": "a"}, "server_description": "d"});
        assert_eq!(
            shown(more),
            (told, vec!["server_description".to_owned(), "headers".to_owned()])
        );
        let basic = json!({"headers": {"Authorization": "Basic dTpw"}});
        assert_eq!(shown(basic), (None, vec!["headers".to_owned()]));
    }

    #[test]
    fn connectors_are_not_remote_servers() {
        let connector = json!({"type": "mcp", "server_label": "d", "connector_id": "connector_dropbox"});
        assert_eq!(server(&connector), None);
    }
}
