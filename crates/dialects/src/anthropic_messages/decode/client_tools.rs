//! Tools that Anthropic defines and the client runs.
//!
//! A client names their version and no schema, because Claude knows it. Whoever else is asked can use them all the same if it
//! is told what Anthropic publishes of them: the client runs what is called by that name, whoever calls. So they are
//! functions in the vocabulary; their type stays beside them for Anthropic, which wants that and no schema.
//!
//! Where it is published: bash and text editor in <https://platform.claude.com/docs/en/agents-and-tools/tool-use/bash-tool> and
//! its neighbours, memory in the types of the SDK (anthropic 2.14: `beta_memory_tool_20250818_command.py`), computer in
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/computer-use-tool>. A computer of 2026
//! (`computer_toolset_…`) is a tool for each action and answers in blocks of its own; it is not among them.

use serde_json::{Map, Value, json};

use super::OWN;
use crate::hub::{Extra, Tool};

/// Whether a type is one of these, of whatever version.
pub(crate) fn is_run_by_client(kind: &str) -> bool {
    kind.rsplit_once('_').is_some_and(|(tool, version)| {
        matches!(tool, "bash" | "text_editor" | "memory" | "computer")
            && version.len() == 8
            && version.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// What a tool of this type does, and its arguments; `None`: it is none of these.
pub(super) fn published(kind: &str, declared: &Map<String, Value>) -> Option<(String, Value)> {
    let (tool, version) = kind.rsplit_once('_').filter(|_| is_run_by_client(kind))?;
    Some(match tool {
        "bash" => (
            "Runs commands in a bash session, whose state lasts from call to call.".to_owned(),
            bash(),
        ),
        "text_editor" => (
            "Shows, creates and changes text files.".to_owned(),
            text_editor(version),
        ),
        "memory" => (
            "Shows, creates and changes files below /memories, which last from conversation to conversation."
                .to_owned(),
            memory(),
        ),
        "computer" => (screen(declared), computer(version)),
        _ => return None,
    })
}

fn text(about: &str) -> Value {
    json!({"type": "string", "description": about})
}

fn whole_numbers(about: &str) -> Value {
    json!({"type": "array", "items": {"type": "integer"}, "description": about})
}

fn bash() -> Value {
    json!({
        "type": "object",
        "properties": {
            "command": text("The command to run. It must be given unless `restart` is true."),
            "restart": {"type": "boolean", "description": "Whether to begin a new session."},
        },
    })
}

/// Until 2025-04 the last change could be undone.
fn text_editor(version: &str) -> Value {
    let mut commands = vec!["view", "create", "str_replace", "insert"];
    let inserted = if version < "20250429" {
        commands.push("undo_edit");
        "new_str"
    } else {
        "insert_text"
    };
    let mut properties = Map::from_iter([
        ("command".to_owned(), json!({"type": "string", "enum": commands})),
        ("path".to_owned(), text("The file or, for `view`, the folder.")),
        (
            "view_range".to_owned(),
            whole_numbers("`view`: the first and the last line, from 1; -1 as the last is the end."),
        ),
        ("file_text".to_owned(), text("`create`: what is written into the file.")),
        (
            "old_str".to_owned(),
            text("`str_replace`: the text that is replaced; it must stand there once, exactly so."),
        ),
        ("new_str".to_owned(), text("`str_replace`: the text instead of it.")),
        (
            "insert_line".to_owned(),
            json!({"type": "integer", "description": "`insert`: the line behind which the text goes; 0 is the beginning."}),
        ),
    ]);
    let about = if inserted == "new_str" {
        "`str_replace`: the text instead of it. `insert`: the text that is inserted."
    } else {
        "`insert`: the text that is inserted."
    };
    properties.insert(inserted.to_owned(), text(about));
    json!({"type": "object", "properties": properties, "required": ["command", "path"]})
}

fn memory() -> Value {
    json!({
        "type": "object",
        "properties": {
            "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
            "path": text("The file or folder; for all commands but `rename`."),
            "view_range": whole_numbers("`view`: the first and the last line."),
            "file_text": text("`create`: what is written into the file."),
            "old_str": text("`str_replace`: the text that is replaced."),
            "new_str": text("`str_replace`: the text instead of it."),
            "insert_line": {"type": "integer", "description": "`insert`: the line at which the text goes."},
            "insert_text": text("`insert`: the text that is inserted."),
            "old_path": text("`rename`: what it is called."),
            "new_path": text("`rename`: what it shall be called."),
        },
        "required": ["command"],
    })
}

/// Whether what stands beside a function says that it is one of these.
pub(crate) fn is_one(extra: &Extra) -> bool {
    extra.origin == Some(OWN) && extra.members.contains_key("type")
}

/// For other families they are functions as all others are: what description and schema tell is not said again.
pub(crate) fn settle(tools: &mut [Tool]) {
    for tool in tools {
        if let Tool::Function { extra, .. } = tool
            && is_one(extra)
        {
            extra.members.shift_remove("type");
            for name in SCREEN {
                extra.members.shift_remove(name);
            }
        }
    }
}

/// How large a computer's screen is.
const SCREEN: [&str; 2] = ["display_width_px", "display_height_px"];

fn screen(declared: &Map<String, Value>) -> String {
    let about = "Uses the mouse, the keyboard and the screen of a computer.";
    let pixels = |name: &str| declared.get(name).and_then(Value::as_u64);
    match (pixels(SCREEN[0]), pixels(SCREEN[1])) {
        (Some(width), Some(height)) => format!("{about} The screen is {width} pixels wide and {height} pixels high."),
        _ => about.to_owned(),
    }
}

fn computer(version: &str) -> Value {
    let mut actions = vec![
        "key",
        "type",
        "mouse_move",
        "left_click",
        "left_click_drag",
        "right_click",
        "middle_click",
        "double_click",
        "screenshot",
        "cursor_position",
    ];
    let mut properties = Map::from_iter([
        (
            "coordinate".to_owned(),
            whole_numbers("x and y in pixels: where the mouse acts, or goes."),
        ),
        (
            "text".to_owned(),
            text("`type`: the text. `key`: keys as xdotool names them (`ctrl+s`)."),
        ),
    ]);
    if version >= "20250124" {
        actions.extend([
            "left_mouse_down",
            "left_mouse_up",
            "scroll",
            "hold_key",
            "wait",
            "triple_click",
        ]);
        let more = json!({
            "start_coordinate": whole_numbers("`left_click_drag`: x and y where it begins."),
            "scroll_direction": {"type": "string", "enum": ["up", "down", "left", "right"]},
            "scroll_amount": {"type": "integer", "description": "`scroll`: how many clicks of the wheel."},
            "duration": {"type": "number", "description": "`hold_key`, `wait`: seconds."},
        });
        properties.extend(more.as_object().cloned().into_iter().flatten());
    }
    if version >= "20251124" {
        actions.push("zoom");
        properties.insert(
            "region".to_owned(),
            whole_numbers("`zoom`: the corners of what is shown larger, x and y and x and y."),
        );
    }
    properties.insert("action".to_owned(), json!({"type": "string", "enum": actions}));
    json!({"type": "object", "properties": properties, "required": ["action"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(kind: &str) -> (Vec<String>, Value) {
        let (_, schema) = published(kind, &Map::new()).unwrap();
        let names = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let words = schema["properties"]["command"]["enum"].clone();
        (names, words)
    }

    #[test]
    fn editors_differ_by_version() {
        let (names, commands) = members("text_editor_20250728");
        assert!(names.contains(&"insert_text".to_owned()));
        assert_eq!(commands, json!(["view", "create", "str_replace", "insert"]));
        let (names, commands) = members("text_editor_20250124");
        assert!(!names.contains(&"insert_text".to_owned()));
        assert_eq!(commands[4], "undo_edit");
    }

    #[test]
    fn a_computer_tells_its_screen() {
        let declared = json!({"display_width_px": 1024, "display_height_px": 768});
        let (about, schema) = published("computer_20250124", declared.as_object().unwrap()).unwrap();
        assert!(about.ends_with("1024 pixels wide and 768 pixels high."), "{about}");
        assert!(schema["properties"].get("scroll_amount").is_some());
        let (_, old) = published("computer_20241022", &Map::new()).unwrap();
        assert!(old["properties"].get("scroll_amount").is_none());
    }

    #[test]
    fn what_the_provider_runs_is_none_of_them() {
        for kind in [
            "web_search_20250305",
            "bash_code_execution",
            "computer_toolset_20260801",
            "memory_x",
        ] {
            assert!(published(kind, &Map::new()).is_none(), "{kind}");
        }
    }
}
