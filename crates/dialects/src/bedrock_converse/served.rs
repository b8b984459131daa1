//! What Bedrock runs itself: Nova's search of the web and its interpreter of code, in blocks of what was asked for and of what
//! came of it.
//!
//! Names: botocore 1.44, `bedrock-runtime` (`ToolUseBlock.type`, `ToolResultBlock.type`, both in streams too); what stands in
//! them: <https://docs.aws.amazon.com/nova/latest/nova2-userguide/using-tools.html>. What a search found is hidden ("[HIDDEN]");
//! its pages are cited. In the next turn the steps are not sent back: no client speaks this format, and a model that
//! searched goes on without.

use serde_json::Value;

use crate::hub::{Act, Deed, nested};

const SEARCH: &str = "nova_grounding";
const CODE: &str = "nova_code_interpreter";

/// What a block says in the words of all formats; nothing where they have none.
pub(crate) fn deeds(block: &Value) -> Vec<Deed> {
    let told = match (block.get("toolUse"), block.get("toolResult")) {
        (Some(call), _) => asked(call).map(|act| (call, act)),
        (None, Some(result)) => came(result).map(|act| (result, act)),
        (None, None) => None,
    };
    told.map(|(of, act)| Deed::new(text(of, "toolUseId"), act))
        .into_iter()
        .collect()
}

fn asked(call: &Value) -> Option<Act> {
    let input = &call["input"];
    match text(call, "name") {
        SEARCH => {
            let query = Some(text(input, "query")).filter(|query| !query.is_empty());
            Some(Act::Search(query.map(str::to_owned).into_iter().collect()))
        }
        CODE => Some(Act::Run {
            code: text(input, "snippet").to_owned(),
            language: "python",
        }),
        _ => None,
    }
}

fn came(result: &Value) -> Option<Act> {
    let failed = text(result, "status") == "error";
    match text(result, "type").strip_suffix("_result")? {
        SEARCH if failed => Some(Act::Found(Err("unavailable".to_owned()))),
        SEARCH => Some(Act::Found(Ok(Vec::new()))),
        CODE => Some(ran(&result["content"], failed)),
        _ => None,
    }
}

/// What code printed: `{stdOut, stdErr, exitCode, isError}`, as JSON or as text of it; anything else as it is.
fn ran(content: &Value, failed: bool) -> Act {
    let mut said = Vec::new();
    let mut is_error = failed;
    for item in content.as_array().into_iter().flatten() {
        let written = item.get("text").and_then(Value::as_str);
        let read = written.and_then(|text| nested::read(text.as_bytes()).ok());
        let printed = item
            .get("json")
            .or(read.as_ref())
            .filter(|value| value.get("stdOut").is_some());
        if let Some(printed) = printed {
            said.extend([text(printed, "stdOut").to_owned(), text(printed, "stdErr").to_owned()]);
            let failed = printed["isError"] == true || printed["exitCode"].as_i64().is_some_and(|code| code != 0);
            is_error |= failed;
        } else {
            said.extend(written.map(str::to_owned));
        }
    }
    said.retain(|text| !text.is_empty());
    Act::Ran {
        text: said.join("\n"),
        is_error,
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn act(block: &Value) -> Option<Act> {
        deeds(block).pop().map(|deed| deed.act)
    }

    #[test]
    fn steps_are_what_they_are_elsewhere() {
        let call = |name: &str, input: Value| json!({"toolUse": {"toolUseId": "t", "type": "server_tool_use", "name": name, "input": input}});
        let result = |kind: &str, status: &str, content: Value| json!({"toolResult": {"toolUseId": "t", "type": kind, "status": status, "content": content}});
        let search = call("nova_grounding", json!({"query": "rain"}));
        assert_eq!(deeds(&search)[0].id, "t");
        assert_eq!(act(&search), Some(Act::Search(vec!["rain".to_owned()])));
        assert_eq!(act(&call("nova_other", json!({}))), None);
        let hidden = json!([{"text": "[HIDDEN]"}]);
        assert_eq!(
            act(&result("nova_grounding_result", "success", hidden.clone())),
            Some(Act::Found(Ok(vec![])))
        );
        assert!(matches!(
            act(&result("nova_grounding_result", "error", hidden)),
            Some(Act::Found(Err(_)))
        ));
        let run = call("nova_code_interpreter", json!({"snippet": "print(1)"}));
        assert!(matches!(act(&run), Some(Act::Run { code, .. }) if code == "print(1)"));
        let printed = json!({"stdOut": "1", "stdErr": "e", "exitCode": 1, "isError": false});
        for content in [json!([{"json": printed}]), json!([{"text": printed.to_string()}])] {
            assert_eq!(
                act(&result("nova_code_interpreter_result", "success", content)),
                Some(Act::Ran {
                    text: "1\ne".to_owned(),
                    is_error: true
                })
            );
        }
        assert_eq!(
            act(&result(
                "nova_code_interpreter_result",
                "error",
                json!([{"text": "no sandbox"}])
            )),
            Some(Act::Ran {
                text: "no sandbox".to_owned(),
                is_error: true
            })
        );
    }
}
