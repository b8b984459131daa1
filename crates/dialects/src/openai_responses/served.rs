//! What the provider runs itself: one item, which tells what was asked for and what came of it.
//!
//! Names: `openai` 3.52, `types/responses/response_function_web_search.py`, `response_code_interpreter_tool_call.py`,
//! `response_output_item.py` (`McpCall`).

use serde_json::{Map, Value, json};

use super::{list_of, text_of};
use crate::hub::{Act, Deed, Losses, Page, nested};

/// What an item says in the words of all formats; nothing where they have none.
pub(crate) fn deeds(item: &Value, losses: &mut Losses) -> Vec<Deed> {
    let Some((asked, came)) = acts(item, losses) else {
        return Vec::new();
    };
    let id = text_of(item, "id").unwrap_or_default();
    vec![Deed::new(id, asked), Deed::new(id, came)]
}

fn acts(item: &Value, losses: &mut Losses) -> Option<(Act, Act)> {
    let status = text_of(item, "status").unwrap_or("completed");
    let has_failed = matches!(status, "failed" | "incomplete");
    match text_of(item, "type")? {
        "web_search_call" => Some(web(item, has_failed)),
        "code_interpreter_call" => Some(code(item, has_failed, losses)),
        "mcp_call" => {
            let owned = |name: &str| text_of(item, name).unwrap_or_default().to_owned();
            let asked = Act::Remote {
                server: owned("server_label"),
                tool: owned("name"),
                arguments: text_of(item, "arguments").unwrap_or("{}").to_owned(),
            };
            let error = item.get("error").filter(|error| !error.is_null());
            let text = match error {
                Some(Value::String(error)) => error.clone(),
                Some(error) => said(error),
                None => owned("output"),
            };
            let is_error = error.is_some() || has_failed;
            Some((asked, Act::Replied { text, is_error }))
        }
        _ => None,
    }
}

/// The words of an error of a remote tool.
fn said(error: &Value) -> String {
    if let Some(message) = text_of(error, "message") {
        return message.to_owned();
    }
    let texts: Vec<&str> = list_of(error, "content")
        .iter()
        .filter_map(|block| text_of(block, "text"))
        .collect();
    if texts.is_empty() {
        error.to_string()
    } else {
        texts.join("\n")
    }
}

fn web(item: &Value, has_failed: bool) -> (Act, Act) {
    let action = item.get("action").unwrap_or(&Value::Null);
    let url = text_of(action, "url").unwrap_or_default().to_owned();
    let page = |url: &str| Page {
        url: url.to_owned(),
        ..Page::default()
    };
    let unavailable = || Err("unavailable".to_owned());
    if matches!(text_of(action, "type"), Some("open_page" | "find_in_page")) {
        let came = if has_failed { unavailable() } else { Ok(page(&url)) };
        return (Act::Fetch(url), Act::Fetched(came));
    }
    let queries = list_of(action, "queries").iter().filter_map(Value::as_str);
    let mut queries: Vec<String> = queries.map(str::to_owned).collect();
    if queries.is_empty() {
        queries.extend(text_of(action, "query").map(str::to_owned));
    }
    let sources = list_of(action, "sources").iter();
    let pages = sources.filter_map(|source| text_of(source, "url")).map(page).collect();
    let came = if has_failed {
        Err("unavailable".to_owned())
    } else {
        Ok(pages)
    };
    (Act::Search(queries), Act::Found(came))
}

fn code(item: &Value, has_failed: bool, losses: &mut Losses) -> (Act, Act) {
    // xAI's are like calls of functions.
    let inside = text_of(item, "arguments").and_then(|arguments| nested::read(arguments.as_bytes()).ok());
    let code = text_of(item, "code").or_else(|| text_of(inside.as_ref()?, "code"));
    let outputs = list_of(item, "outputs");
    let logs: Vec<&str> = outputs.iter().filter_map(|output| text_of(output, "logs")).collect();
    losses.note_if(
        logs.len() < outputs.len(),
        "code execution: pictures",
        "they are kept at the provider, under addresses that only it knows",
    );
    let asked = Act::Run {
        code: code.unwrap_or_default().to_owned(),
        language: "python",
    };
    let came = Act::Ran {
        text: logs.join("\n"),
        is_error: has_failed,
    };
    (asked, came)
}

/// The item of something that another provider did; `None`: it only says what came of something.
pub(super) fn item(deed: &Deed, id: &str) -> Option<Map<String, Value>> {
    let item = match &deed.act {
        Act::Search(queries) => json!({
            "id": id,
            "type": "web_search_call",
            "status": "in_progress",
            "action": {"type": "search", "query": queries.first(), "queries": queries},
        }),
        Act::Fetch(url) => json!({
            "id": id,
            "type": "web_search_call",
            "status": "in_progress",
            "action": {"type": "open_page", "url": url},
        }),
        Act::Run { code, .. } => json!({
            "id": id,
            "type": "code_interpreter_call",
            "status": "in_progress",
            "code": code,
            // The format demands one; nobody else's sandbox has a name here.
            "container_id": "",
            "outputs": null,
        }),
        Act::Remote {
            server,
            tool,
            arguments,
        } => json!({
            "id": id,
            "type": "mcp_call",
            "status": "in_progress",
            "server_label": server,
            "name": tool,
            "arguments": arguments,
            "output": null,
            "error": null,
            "approval_request_id": null,
        }),
        Act::Found(_) | Act::Fetched(_) | Act::Ran { .. } | Act::Replied { .. } => return None,
    };
    match item {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// What ids of such items begin with.
pub(super) const fn prefix(deed: &Deed) -> &'static str {
    match deed.act {
        Act::Search(_) | Act::Found(_) | Act::Fetch(_) | Act::Fetched(_) => "ws",
        Act::Run { .. } | Act::Ran { .. } => "ci",
        Act::Remote { .. } | Act::Replied { .. } => "mcp",
    }
}

/// Completes an item by what came of it.
pub(super) fn complete(item: &mut Map<String, Value>, act: Act, losses: &mut Losses) {
    let mut status = "completed";
    match act {
        Act::Found(Ok(pages)) => {
            losses.note_if(
                pages.iter().any(|page| !page.title.is_empty() || page.age.is_some()),
                "web search: titles",
                "Responses lists addresses only; what is cited has its title",
            );
            let sources: Vec<Value> = pages
                .into_iter()
                .map(|page| json!({"type": "url", "url": page.url}))
                .collect();
            if let Some(Value::Object(action)) = item.get_mut("action") {
                action.insert("sources".to_owned(), sources.into());
            }
        }
        Act::Fetched(Ok(page)) => {
            losses.note_if(
                !page.text.is_empty(),
                "web fetch: text",
                "Responses does not show what a page says",
            );
        }
        Act::Found(Err(_)) | Act::Fetched(Err(_)) => {
            losses.note("web search: error", "Responses says that it failed, not why");
            status = "failed";
        }
        Act::Ran { text, is_error } => {
            let logs = json!([{"type": "logs", "logs": text}]);
            item.insert("outputs".to_owned(), logs);
            status = if is_error { "failed" } else { "completed" };
        }
        Act::Replied { text, is_error: false } => {
            item.insert("output".to_owned(), text.into());
        }
        Act::Replied { text, is_error: true } => {
            let content = json!([{"type": "text", "text": text}]);
            let error = json!({"type": "mcp_tool_execution_error", "content": content});
            item.insert("error".to_owned(), error);
            status = "failed";
        }
        Act::Search(_) | Act::Fetch(_) | Act::Run { .. } | Act::Remote { .. } => {}
    }
    item.insert("status".to_owned(), status.into());
}
