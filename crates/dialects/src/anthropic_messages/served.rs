//! What Anthropic runs itself, and how it is said of others: a block of what was asked for, and one of what came of it.
//!
//! Names: `anthropic` 2.11, `types/server_tool_use_block.py`, `web_search_tool_result_block.py`,
//! `web_fetch_tool_result_block.py`, `code_execution_tool_result_block.py`, `bash_code_execution_tool_result_block.py`,
//! `types/beta/beta_mcp_tool_use_block.py`.

use serde_json::{Value, json};

use crate::hub::{Act, Deed, Losses, MADE, Page, compact, nested};

/// What a block says in the words of all formats; nothing where they have none (a search among tools, an editor).
pub(crate) fn deeds(block: &Value, losses: &mut Losses) -> Vec<Deed> {
    let id = text(block, "id")
        .or_else(|| text(block, "tool_use_id"))
        .unwrap_or_default();
    let act = match text(block, "type") {
        Some("server_tool_use") => asked(block),
        Some("mcp_tool_use") => Some(Act::Remote {
            server: owned(block, "server_name"),
            tool: owned(block, "name"),
            arguments: block.get("input").map_or_else(|| "{}".to_owned(), compact),
        }),
        Some("web_search_tool_result") => Some(Act::Found(found(&block["content"]))),
        Some("web_fetch_tool_result") => Some(Act::Fetched(fetched(&block["content"]))),
        Some("code_execution_tool_result" | "bash_code_execution_tool_result") => Some(ran(&block["content"], losses)),
        Some("mcp_tool_result") => Some(Act::Replied {
            text: words(&block["content"]),
            is_error: block["is_error"] == true,
        }),
        _ => None,
    };
    act.map(|act| Deed::new(id, act)).into_iter().collect()
}

fn asked(block: &Value) -> Option<Act> {
    let input = &block["input"];
    Some(match text(block, "name")? {
        "web_search" => Act::Search(text(input, "query").map(str::to_owned).into_iter().collect()),
        "web_fetch" => Act::Fetch(owned(input, "url")),
        "code_execution" => Act::Run {
            code: owned(input, "code"),
            language: "python",
        },
        "bash_code_execution" => Act::Run {
            code: owned(input, "command"),
            language: "bash",
        },
        _ => return None,
    })
}

fn found(content: &Value) -> Result<Vec<Page>, String> {
    let Some(list) = content.as_array() else {
        return Err(failed(content));
    };
    let page = |value: &Value| Page {
        url: owned(value, "url"),
        title: owned(value, "title"),
        age: text(value, "page_age").map(str::to_owned),
        text: String::new(),
    };
    Ok(list.iter().map(page).collect())
}

fn fetched(content: &Value) -> Result<Page, String> {
    if text(content, "type") != Some("web_fetch_result") {
        return Err(failed(content));
    }
    let document = &content["content"];
    let source = &document["source"];
    Ok(Page {
        url: owned(content, "url"),
        title: owned(document, "title"),
        age: None,
        // A PDF is there in base64, which nobody reads as text.
        text: text(source, "data")
            .filter(|_| source["type"] == "text")
            .unwrap_or_default()
            .to_owned(),
    })
}

fn ran(content: &Value, losses: &mut Losses) -> Act {
    if content.get("error_code").is_some() {
        return Act::Ran {
            text: failed(content),
            is_error: true,
        };
    }
    losses.note_if(
        content.get("encrypted_stdout").is_some(),
        "code execution: output",
        "only Anthropic can read it",
    );
    let has_files = content["content"].as_array().is_some_and(|files| !files.is_empty());
    losses.note_if(
        has_files,
        "code execution: files",
        "they are kept at the provider, under names that only it knows",
    );
    let printed = [owned(content, "stdout"), owned(content, "stderr")];
    Act::Ran {
        text: printed
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        is_error: content["return_code"].as_i64().is_some_and(|code| code != 0),
    }
}

fn failed(content: &Value) -> String {
    text(content, "error_code").unwrap_or("unavailable").to_owned()
}

/// The texts of a list of blocks, or the text.
fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| text(block, "text")).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn owned(value: &Value, name: &str) -> String {
    text(value, name).unwrap_or_default().to_owned()
}

/// Names of what others did, in the letters that Anthropic takes (`^srvtoolu_[a-zA-Z0-9_]+$`).
#[derive(Debug, Default)]
pub(super) struct Names {
    asked: usize,
    /// What was asked for without a name, and nothing came of it yet: what, and its number.
    unnamed: Vec<(&'static str, usize)>,
}

impl Names {
    /// The name of a step: its own, else a new one for what is asked for, which what comes of it shares; what has no names
    /// comes in the order in which it was asked for.
    fn of(&mut self, deed: &Deed, call: &str) -> String {
        let prefix = match deed.act {
            Act::Remote { .. } | Act::Replied { .. } => "mcptoolu",
            _ => "srvtoolu",
        };
        self.asked += usize::from(deed.is_asked());
        let own = if deed.id.is_empty() {
            format!("{call}_{}", self.number(deed))
        } else {
            deed.id.clone()
        };
        let safe = own.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        format!("{prefix}{MADE}{safe}")
    }

    fn number(&mut self, deed: &Deed) -> usize {
        let kind = deed.name();
        if deed.is_asked() {
            self.unnamed.push((kind, self.asked));
            return self.asked;
        }
        let first = self.unnamed.iter().position(|(asked, _)| *asked == kind);
        first.map_or(self.asked, |at| self.unnamed.remove(at).1)
    }

    /// A block of what another provider did. `call`: the name of the answer, where steps have none.
    pub(super) fn block(&mut self, deed: Deed, call: &str, losses: &mut Losses) -> Value {
        let id = self.of(&deed, call);
        let used =
            |name: &str, input: Value| json!({"type": "server_tool_use", "id": id, "name": name, "input": input});
        let came = |kind: &str, content: Value| json!({"type": kind, "tool_use_id": id, "content": content});
        let error = |kind: &str, why: &str| json!({"type": kind, "error_code": known_error(why)});
        match deed.act {
            Act::Search(queries) => used("web_search", json!({"query": queries.join("; ")})),
            Act::Found(Ok(pages)) => {
                let pages: Vec<Value> = pages.into_iter().map(result).collect();
                came("web_search_tool_result", pages.into())
            }
            Act::Found(Err(why)) => came("web_search_tool_result", error("web_search_tool_result_error", &why)),
            Act::Fetch(url) => used("web_fetch", json!({"url": url})),
            Act::Fetched(Ok(page)) => {
                losses.note_if(
                    page.text.is_empty(),
                    "web fetch: text",
                    "the provider does not show what the page says",
                );
                came("web_fetch_tool_result", document(page))
            }
            Act::Fetched(Err(why)) => came("web_fetch_tool_result", error("web_fetch_tool_result_error", &why)),
            // Nobody but Anthropic runs anything else than Python.
            Act::Run { code, .. } => used("code_execution", json!({"code": code})),
            Act::Ran { text, is_error } => {
                let (out, err) = if is_error {
                    (String::new(), text)
                } else {
                    (text, String::new())
                };
                let printed = json!({
                    "type": "code_execution_result",
                    "stdout": out,
                    "stderr": err,
                    "return_code": i32::from(is_error),
                    "content": [],
                });
                came("code_execution_tool_result", printed)
            }
            Act::Remote {
                server,
                tool,
                arguments,
            } => {
                let input = nested::read(arguments.as_bytes()).ok().filter(Value::is_object);
                let input = input.unwrap_or_else(|| json!({"arguments": arguments}));
                json!({"type": "mcp_tool_use", "id": id, "name": tool, "server_name": server, "input": input})
            }
            Act::Replied { text, is_error } => json!({
                "type": "mcp_tool_result",
                "tool_use_id": id,
                "is_error": is_error,
                "content": [{"type": "text", "text": text}],
            }),
        }
    }
}

/// Of the words for errors the SDKs know these; the rest is that it was not to be had.
fn known_error(why: &str) -> &str {
    match why {
        "invalid_tool_input"
        | "max_uses_exceeded"
        | "too_many_requests"
        | "query_too_long"
        | "url_too_long"
        | "url_not_allowed"
        | "url_not_accessible"
        | "unsupported_content_type" => why,
        _ => "unavailable",
    }
}

fn result(page: Page) -> Value {
    let title = if page.title.is_empty() {
        page.url.clone()
    } else {
        page.title
    };
    json!({
        "type": "web_search_result",
        "url": page.url,
        "title": title,
        // The format demands it; nobody but Anthropic has one.
        "encrypted_content": "",
        "page_age": page.age,
    })
}

fn document(page: Page) -> Value {
    let title = Some(page.title).filter(|title| !title.is_empty());
    json!({
        "type": "web_fetch_result",
        "url": page.url,
        "retrieved_at": null,
        "content": {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": page.text},
            "title": title,
            "citations": null,
        },
    })
}
