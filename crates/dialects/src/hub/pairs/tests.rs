//! Pairs by example: how they are found, and where results go.

use super::*;

fn call(id: Option<&str>, name: &str) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: id.map(str::to_owned),
        name: name.to_owned(),
        ..ToolCall::default()
    }))
}

fn result(call: &str, name: &str) -> Part {
    Part::new(Content::ToolResult(ToolResult {
        call: call.to_owned(),
        name: name.to_owned(),
        ..ToolResult::default()
    }))
}

fn calls(parts: Vec<Part>) -> Message {
    Message::new(Role::Assistant, parts)
}

fn says(parts: Vec<Part>) -> Message {
    Message::new(Role::User, parts)
}

/// Each message in a word: its role's first letter, then calls as `id`, results as `=id:name`, texts as they are.
fn shown(messages: &[Message]) -> Vec<String> {
    let part = |part: &Part| match &part.content {
        Content::ToolCall(call) => call.id.clone().unwrap_or_default(),
        Content::ToolResult(result) => format!("={}:{}", result.call, result.name),
        _ => part.as_text().unwrap_or_default().to_owned(),
    };
    let shown = |message: &Message| {
        let parts: Vec<_> = message.parts.iter().map(part).collect();
        format!("{:?} {}", message.role, parts.join(" "))
    };
    messages.iter().map(shown).collect()
}

fn linked(messages: Vec<Message>) -> Vec<String> {
    let mut request = Request {
        messages,
        ..Request::default()
    };
    request.link_tools();
    shown(&request.messages)
}

#[test]
fn results_find_their_calls_by_id_or_by_name_in_order() {
    let found = linked(vec![
        calls(vec![call(Some("a"), "x"), call(None, "y"), call(None, "y")]),
        says(vec![result("a", ""), result("", "y"), result("", "y")]),
    ]);
    assert_eq!(found, ["Assistant a call_1 call_2", "User =a:x =call_1:y =call_2:y"]);
}

#[test]
fn empty_ids_are_matched_by_order() {
    let found = linked(vec![
        calls(vec![call(Some(""), "x"), call(Some(""), "y")]),
        says(vec![result("", "")]),
        says(vec![result("", "")]),
        calls(vec![call(Some("call_1"), "z"), call(Some(""), "x")]),
        says(vec![result("", ""), result("call_1", "")]),
    ]);
    let expected = [
        "Assistant call_1 call_2",
        "User =call_1:x",
        "User =call_2:y",
        "Assistant call_1_2 call_3",
        "User =call_3:x =call_1_2:z",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_id_of_two_calls_becomes_two() {
    let found = linked(vec![
        calls(vec![call(Some("a"), "x"), call(Some("a"), "y")]),
        says(vec![result("a", ""), result("a", "")]),
        // Never answered, so it must not take the answer of the next.
        calls(vec![call(Some("a"), "z")]),
        says(vec![Part::text("never mind")]),
        calls(vec![call(Some("a"), "w")]),
        says(vec![result("a", ""), result("unknown", "")]),
    ]);
    let expected = [
        "Assistant a a_2",
        "User =a:x =a_2:y",
        "Assistant a_3",
        "User never mind",
        "Assistant a_4",
        "User =a_4:w =unknown:",
    ];
    assert_eq!(found, expected);
}

fn moved(mut messages: Vec<Message>, neighbours: Neighbours) -> Vec<String> {
    results_behind_calls(&mut messages, neighbours);
    shown(&messages)
}

#[test]
fn what_stands_between_calls_and_results_comes_after_them() {
    let developer = || Message::new(Role::Developer, vec![Part::text("rule")]);
    let history = vec![
        calls(vec![call(Some("a"), "x")]),
        developer(),
        calls(vec![call(Some("b"), "x"), call(Some("c"), "x")]),
        says(vec![result("a", "x"), result("b", "x")]),
        says(vec![Part::text("note")]),
        says(vec![result("c", "x"), Part::text("and?")]),
    ];
    let expected = [
        "Assistant a",
        "User =a:x",
        "Developer rule",
        "Assistant b c",
        "User =b:x =c:x",
        "User note",
        "User and?",
    ];
    assert_eq!(moved(history, Neighbours::Apart), expected);
}

#[test]
fn neighbours_that_only_call_are_one_turn() {
    let thinking = || Part::new(Content::Thinking(crate::hub::Thinking::default()));
    let history = || {
        vec![
            calls(vec![Part::text("see"), call(Some("a"), "x")]),
            calls(vec![call(Some("b"), "x")]),
            calls(vec![thinking(), call(Some("c"), "x")]),
            says(vec![result("c", "x"), result("a", "x"), result("b", "x")]),
            calls(vec![call(Some("d"), "x")]),
            says(vec![result("d", "x")]),
            calls(vec![call(Some("e"), "x")]),
            says(vec![result("e", "x")]),
        ]
    };
    let apart = [
        "Assistant see a b  c",
        "User =c:x =a:x =b:x",
        "Assistant d",
        "User =d:x",
        "Assistant e",
        "User =e:x",
    ];
    assert_eq!(moved(history(), Neighbours::Apart), apart);
    assert_eq!(moved(history(), Neighbours::Joined), shown(&history()));
}

#[test]
fn neighbours_that_speak_are_answered_one_by_one_or_together() {
    let history = || {
        vec![
            calls(vec![call(Some("a"), "x")]),
            calls(vec![Part::text("so"), call(Some("b"), "x")]),
            says(vec![result("a", "x")]),
            says(vec![result("b", "x"), Part::text("and?")]),
        ]
    };
    let apart = ["Assistant a", "User =a:x", "Assistant so b", "User =b:x", "User and?"];
    assert_eq!(moved(history(), Neighbours::Apart), apart);
    assert_eq!(moved(history(), Neighbours::Joined), shown(&history()));
}

#[test]
fn results_of_unknown_calls_stay_where_they_are() {
    let history = || {
        vec![
            calls(vec![call(Some("a"), "x")]),
            says(vec![Part::text("note"), result("b", "x")]),
        ]
    };
    assert_eq!(moved(history(), Neighbours::Apart), shown(&history()));
}
