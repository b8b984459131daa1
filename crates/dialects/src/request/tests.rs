//! Scans and edits, by example and by property.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CHAT: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);
const RESPONSES: Surface = Surface::new(Operation::Chat, Dialect::OpenaiResponses);
const MESSAGES: Surface = Surface::new(Operation::Chat, Dialect::AnthropicMessages);
const GEMINI: Surface = Surface::new(Operation::Chat, Dialect::Gemini);

fn facts(surface: Surface, body: &str) -> RequestFacts {
    scan(surface, body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn edited(body: &str, edits: &Edits<'_>) -> String {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    String::from_utf8(facts(CHAT, body).edit(&bytes, edits).to_vec()).unwrap()
}

fn usage(body: &str) -> String {
    edited(
        body,
        &Edits {
            include_usage: true,
            ..Edits::default()
        },
    )
}

#[test]
fn reads_what_decides() {
    let found = facts(
        CHAT,
        r#" {"mod\u0065l":"gpt-4\u006f","stream" : true,"max_tokens":5,"max_completion_tokens":70,"n":3,"tools":[{"type":"function","function":{}}],"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"model\":\"x"}]} "#,
    );
    assert_eq!(
        (found.model.as_deref(), found.stream, found.output_bound, found.choices),
        (Some("gpt-4o"), true, Some(70), 3)
    );
    assert!(found.tools && found.asked_for_usage() && !found.by_reference);
    let bare = facts(CHAT, "{}");
    assert_eq!(
        bare,
        RequestFacts {
            places: bare.places.clone(),
            ..RequestFacts::default()
        }
    );
    assert_eq!(
        facts(
            CHAT,
            r#"{"max_tokens":null,"n":null,"stream":null,"model":null,"tools":[]}"#
        )
        .choices,
        1
    );
    assert_eq!(facts(CHAT, r#"{"n":0}"#).choices, 1);
}

#[test]
fn each_format_has_its_own_names() {
    assert_eq!(
        facts(RESPONSES, r#"{"model":"m","max_output_tokens":9,"input":"x"}"#).output_bound,
        Some(9)
    );
    assert_eq!(
        facts(MESSAGES, r#"{"model":"m","max_tokens":9,"messages":[]}"#).output_bound,
        Some(9)
    );
    let unbounded = facts(CHAT, r#"{"max_tokens": -1 ,"model":"m"}"#);
    assert_eq!((unbounded.output_bound, unbounded.model.as_deref()), (None, Some("m")));
    let gemini = facts(
        GEMINI,
        r#"{"model":"models/other","generationConfig":{"maxOutputTokens":"9","candidateCount":2},"contents":[]}"#,
    );
    assert_eq!((gemini.model, gemini.output_bound, gemini.choices), (None, Some(9), 2));
    assert_eq!(
        facts(
            GEMINI,
            r#"{"generation_config":{"max_output_tokens":9,"candidate_count":2}}"#
        )
        .choices,
        2
    );
    let completions = Surface::new(Operation::Completions, Dialect::OpenaiChat);
    assert_eq!(
        facts(completions, r#"{"prompt":["a","b",[1,2]],"n":2,"best_of":4}"#).choices,
        12
    );
    assert_eq!(facts(completions, r#"{"prompt":[1,2,3]}"#).choices, 1);
}

#[test]
fn finds_input_that_is_elsewhere() {
    for (surface, body) in [
        (
            CHAT,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":"http://x"}]}]}"#,
        ),
        (
            CHAT,
            r#"{"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#,
        ),
        (CHAT, r#"{"web_search_options":{"a":1}}"#),
        (CHAT, r#"{"tools":[{"type":"web_search"}]}"#),
        (RESPONSES, r#"{"previous_response_id":"resp_1"}"#),
        (RESPONSES, r#"{"conversation":"conv_1"}"#),
        (RESPONSES, r#"{"conversation":{"id":"conv_1"}}"#),
        (RESPONSES, r#"{"prompt":{"id":"pmpt_1"}}"#),
        (RESPONSES, r#"{"input":[{"type":"item_reference","id":"x"}]}"#),
        (
            RESPONSES,
            r#"{"input":[{"content":[{"type":"input_image","image_url":"https://x"}]}]}"#,
        ),
        (
            RESPONSES,
            r#"{"input":[{"content":[{"type":"input_file","file_url":"https://x"}]}]}"#,
        ),
        (
            RESPONSES,
            r#"{"input":[{"content":[{"type":"input_image","file_id":"file-1"}]}]}"#,
        ),
        (
            RESPONSES,
            r#"{"tools":[{"type":"file_search","vector_store_ids":["v"]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://x"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"url","url":"u"}}]}]}]}"#,
        ),
        (MESSAGES, r#"{"container":"c"}"#),
        (MESSAGES, r#"{"mcp_servers":[{"url":"u"}]}"#),
        (
            MESSAGES,
            r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://x"}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"file_data":{"file_uri":"gs://x"}}]}]}"#,
        ),
        // How many tokens the pages of a document are, nobody can tell from its bytes.
        (
            CHAT,
            r#"{"messages":[{"content":[{"type":"file","file":{"file_data":"data:x","filename":"f"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"messages":[{"content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"A"}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"application/pdf","data":"A"}}]}]}"#,
        ),
        (GEMINI, r#"{"cachedContent":"cachedContents/x"}"#),
        (GEMINI, r#"{"tools":[{"googleSearch":{}}]}"#),
    ] {
        assert!(facts(surface, body).by_reference, "{body}");
    }
}

#[test]
fn bounds_the_searches_that_are_billed_one_by_one() {
    for (surface, tools, searches) in [
        (MESSAGES, r#"{"type":"web_search_20250305","max_uses":3}"#, 3),
        (MESSAGES, r#"{"max_uses":3,"type":"web_search_20260318"}"#, 3),
        (MESSAGES, r#"{"type":"web_search_20250305"}"#, SEARCHES_UNASKED_MAX),
        (
            MESSAGES,
            r#"{"type":"web_search_20250305","max_uses":null}"#,
            SEARCHES_UNASKED_MAX,
        ),
        (
            MESSAGES,
            r#"{"type":"web_search_20250305","max_uses":0},{"type":"web_search_20250305","max_uses":7},{"type":"web_search_20250305","max_uses":5}"#,
            12,
        ),
        (MESSAGES, r#"{"type":"web_fetch_20250910","max_uses":5}"#, 0),
        (
            MESSAGES,
            r#"{"name":"web_search","input_schema":{"type":"web_search","max_uses":5}}"#,
            0,
        ),
        (CHAT, r#"{"type":"web_search"}"#, SEARCHES_UNASKED_MAX),
        (RESPONSES, r#"{"type":"web_search_preview"}"#, SEARCHES_UNASKED_MAX),
        (RESPONSES, r#"{"type":"file_search"}"#, 0),
        (GEMINI, r#"{"googleSearch":{}}"#, SEARCHES_UNASKED_MAX),
        (GEMINI, r#"{"google_search":null}"#, 0),
        (GEMINI, r#"{"urlContext":{}}"#, 0),
    ] {
        let found = facts(surface, &format!(r#"{{"tools":[{tools}]}}"#));
        assert_eq!(found.searches, searches, "{tools}");
    }
    let asked = facts(CHAT, r#"{"web_search_options":{}}"#);
    assert_eq!(asked.searches, SEARCHES_UNASKED_MAX);
}

#[test]
fn knows_what_only_chat_can_say() {
    for (surface, body, wants_chat) in [
        (MESSAGES, r#"{"stop_sequences":["x"]}"#, true),
        (MESSAGES, r#"{"stop_sequences":[],"temperature":1}"#, false),
        (GEMINI, r#"{"generationConfig":{"candidateCount":2}}"#, true),
        (GEMINI, r#"{"generationConfig":{"candidateCount":1,"topP":1}}"#, false),
        (GEMINI, r#"{"generation_config":{"seed":0}}"#, true),
        (GEMINI, r#"{"generationConfig":{"stopSequences":["x"]}}"#, true),
        (GEMINI, r#"{"generationConfig":{"frequencyPenalty":0.5}}"#, true),
        (
            GEMINI,
            r#"{"generationConfig":{"responseModalities":["TEXT","AUDIO"]}}"#,
            true,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"audio/wav","data":"AAAA"}}]}]}"#,
            true,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}"#,
            false,
        ),
    ] {
        assert_eq!(facts(surface, body).wants_chat, wants_chat, "{body}");
    }
}

#[test]
fn knows_what_is_in_the_body() {
    for (surface, body, media) in [
        (
            CHAT,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"DATA:image/png;base64,AAAA"}}]}]}"#,
            1,
        ),
        (
            CHAT,
            r#"{"messages":[{"content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}]}"#,
            1,
        ),
        (
            CHAT,
            r#"{"messages":[{"tool_calls":[{"function":{"name":"f","arguments":"{\"file_id\":\"x\"}"}}]}]}"#,
            0,
        ),
        (
            CHAT,
            r#"{"tools":[{"type":"function","function":{"parameters":{"properties":{"file_id":{"type":"string"}}}}}]}"#,
            0,
        ),
        (
            RESPONSES,
            r#"{"input":[{"content":[{"type":"input_image","image_url":"data:image/png;base64,A"}]}],"previous_response_id":null}"#,
            1,
        ),
        (
            RESPONSES,
            r#"{"tools":[{"type":"function"},{"type":"local_shell"},{"type":"computer_use_preview"}]}"#,
            0,
        ),
        (
            MESSAGES,
            r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64","data":"A"}},{"type":"tool_use","input":{"type":"url","file_id":"x"}}]}]}"#,
            1,
        ),
        (
            MESSAGES,
            r#"{"tools":[{"name":"f","input_schema":{}},{"type":"bash_20250124","name":"bash"}],"container":null}"#,
            0,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"data":"A"}},{"functionCall":{"args":{"fileData":"x"}}}]}],"tools":[{"functionDeclarations":[]}]}"#,
            1,
        ),
    ] {
        let found = facts(surface, body);
        assert!(!found.by_reference, "{body}");
        assert_eq!(found.inline_media, media, "{body}");
    }
}

#[test]
fn refuses_what_upstream_and_gateway_could_read_differently() {
    for (surface, body, at, what) in [
        (
            CHAT,
            r#"{"model":"cheap","model":"dear"}"#,
            25,
            "`model` is given twice",
        ),
        (
            CHAT,
            r#"{"model":"cheap","m\u006fdel":"dear"}"#,
            30,
            "`model` is given twice",
        ),
        (CHAT, r#"{"stream":true,"stream":false}"#, 24, "`stream` is given twice"),
        (
            CHAT,
            r#"{"max_tokens":1,"max_tokens":9}"#,
            29,
            "`max_tokens` is given twice",
        ),
        (CHAT, r#"{"n":1,"n":9}"#, 11, "`n` is given twice"),
        (
            CHAT,
            r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#,
            56,
            "`include_usage` is given twice",
        ),
        (
            GEMINI,
            r#"{"generationConfig":{},"generation_config":{}}"#,
            43,
            "`generation_config` is given twice",
        ),
        (CHAT, r#"{"stream":"true"}"#, 10, "`stream` must be true or false"),
        (CHAT, r#"{"model":7}"#, 9, "`model` must be a string"),
        (CHAT, r#"{"max_tokens":-2}"#, 14, "`max_tokens` must be a whole number"),
        (CHAT, r#"{"n":1.5}"#, 5, "`n` must be a whole number"),
        (CHAT, "[]", 0, "not a valid JSON object"),
        (CHAT, "", 0, "not a valid JSON object"),
        (CHAT, "{\"a\":1,}", 7, "not a valid JSON object"),
        (CHAT, "{} {}", 3, "not a valid JSON object"),
    ] {
        let error = scan(surface, body.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(what), "{body}: {error}");
        assert_eq!(error.offset, at, "{body}: {error}");
    }
    assert_eq!(scan(CHAT, b"{\"a\":\"\xff\"}").unwrap_err().offset, 6);
    assert!(scan(CHAT, format!("{{\"messages\":{}", "[".repeat(100_000)).as_bytes()).is_err());
    // Elsewhere a word may stand as often as it likes.
    assert_eq!(
        facts(CHAT, r#"{"metadata":{"model":"a"},"model":"b","user":"c","user":"d"}"#)
            .model
            .as_deref(),
        Some("b")
    );
}

#[test]
fn what_passes_through_need_not_be_json() {
    let surface = Surface::new(Operation::Passthrough, Dialect::OpenaiChat);
    assert_eq!(scan(surface, b"--boundary\r\n\xff"), Ok(RequestFacts::default()));
    assert_eq!(scan(surface, b"{\"model\":\"m\"}").unwrap().model.as_deref(), Some("m"));
}

#[test]
fn what_is_no_json_is_not_edited() {
    // Found by fuzzing: the model's name was put before the first byte.
    let surface = Surface::new(Operation::Passthrough, Dialect::OpenaiChat);
    let params = [("store".to_owned(), "false".to_owned())];
    let edits = Edits {
        model: Some("new"),
        omit_model: false,
        omit: &[],
        include_usage: true,
        params: &params,
    };
    for body in ["not json", "", "[1]"] {
        let body = Bytes::copy_from_slice(body.as_bytes());
        assert_eq!(scan(surface, &body).unwrap().edit(&body, &edits), body);
    }
}

#[test]
fn renames_the_model_in_place() {
    let rename = |body: &str| {
        edited(
            body,
            &Edits {
                model: Some("new\"one"),
                ..Edits::default()
            },
        )
    };
    assert_eq!(
        rename(r#"{ "model" : "old" , "x":1 }"#),
        r#"{ "model" : "new\"one" , "x":1 }"#
    );
    assert_eq!(rename(r#"{"model":null}"#), r#"{"model":"new\"one"}"#);
    assert_eq!(rename(r#"{"x":1}"#), r#"{"x":1,"model":"new\"one"}"#);
    assert_eq!(rename("{ }"), r#"{ "model":"new\"one"}"#);
    let body = Bytes::from_static(br#"{"model":"s\u0061me"}"#);
    let same = scan(CHAT, &body).unwrap().edit(
        &body,
        &Edits {
            model: Some("same"),
            ..Edits::default()
        },
    );
    assert_eq!(same.as_ptr(), body.as_ptr(), "the body was copied");
}

#[test]
fn renames_geminis_models_as_resources() {
    let body = Bytes::from_static(br#"{"requests":[{"model":"models/a","content":{}},{"model":"models/b"}]}"#);
    let embed = Surface::new(Operation::Embeddings, Dialect::Gemini);
    let renamed = scan(embed, &body).unwrap().edit(
        &body,
        &Edits {
            model: Some("b"),
            ..Edits::default()
        },
    );
    assert_eq!(
        &renamed[..],
        br#"{"requests":[{"model":"models/b","content":{}},{"model":"models/b"}]}"#
    );
    let none = Bytes::from_static(b"{}");
    assert_eq!(
        scan(GEMINI, &none).unwrap().edit(
            &none,
            &Edits {
                model: Some("b"),
                ..Edits::default()
            }
        ),
        none
    );
}

#[test]
fn asks_for_usage_whatever_stands_there() {
    assert_eq!(
        usage(r#"{"a":1}"#),
        r#"{"a":1,"stream_options":{"include_usage":true}}"#
    );
    assert_eq!(usage("{}"), r#"{"stream_options":{"include_usage":true}}"#);
    assert_eq!(
        usage(r#"{"stream_options":null,"a":1}"#),
        r#"{"stream_options":{"include_usage":true},"a":1}"#
    );
    assert_eq!(
        usage(r#"{"stream_options": { } }"#),
        r#"{"stream_options": {"include_usage":true } }"#
    );
    assert_eq!(
        usage(r#"{"stream_options":{"x":1}}"#),
        r#"{"stream_options":{"include_usage":true,"x":1}}"#
    );
    assert_eq!(
        usage(r#"{"stream_options":{"include_usage": false}}"#),
        r#"{"stream_options":{"include_usage": true}}"#
    );
    assert_eq!(
        usage(r#"{"stream_options":{"include_usage":true}}"#),
        r#"{"stream_options":{"include_usage":true}}"#
    );
    let body = Bytes::from_static(b"{}");
    let edits = Edits {
        include_usage: true,
        ..Edits::default()
    };
    assert_eq!(scan(MESSAGES, &body).unwrap().edit(&body, &edits), body);
}

#[test]
fn a_model_that_stands_in_the_path_leaves_the_body() {
    let params = [("anthropic_version".to_owned(), "\"v\"".to_owned())];
    for (body, left) in [
        (r#"{"model":"a"}"#, json!({})),
        (r#"{ "model" : "a" , "max_tokens": 1 }"#, json!({"max_tokens": 1})),
        (r#"{"max_tokens":1, "mod\u0065l":"a" }"#, json!({"max_tokens": 1})),
        (
            r#"{"max_tokens":1,"model":null,"stream":true}"#,
            json!({"max_tokens": 1, "stream": true}),
        ),
        (r#"{"max_tokens":1}"#, json!({"max_tokens": 1})),
    ] {
        for params in [&params[..], &[]] {
            let edits = Edits {
                omit_model: true,
                omit: &[],
                params,
                ..Edits::default()
            };
            let bytes = Bytes::copy_from_slice(body.as_bytes());
            let edited = scan(MESSAGES, &bytes).unwrap().edit(&bytes, &edits);
            let mut expected = left.clone();
            if !params.is_empty() {
                expected["anthropic_version"] = json!("v");
            }
            assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), expected, "{body}");
        }
    }
}

#[test]
fn seals_that_others_made_are_noticed() {
    let wrapped = "tollgate:openai_responses:x";
    let gemini = Surface::new(Operation::Chat, Dialect::Gemini);
    let responses = Surface::new(Operation::Chat, Dialect::OpenaiResponses);
    let thinking =
        |seal: &str| json!({"messages": [{"role": "assistant", "content": [{"type": "thinking", "signature": seal}]}]});
    let redacted =
        json!({"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": wrapped}]}]});
    let called = json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"signature": wrapped}}]}]});
    let reasoning = json!({"input": [{"type": "reasoning", "encrypted_content": wrapped}]});
    let thought = json!({"contents": [{"parts": [{"text": "a", "thoughtSignature": "dG9sbGdhdGU6YW50aHJvcGlj"}]}]});
    let chat = Surface::new(Operation::Chat, Dialect::OpenaiChat);
    let detail = json!({"messages": [{"role": "assistant", "content": "a",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": wrapped}]}]});
    let made = json!({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "srvtoolu_tollgate_a"}]}]});
    let searched = json!({"input": [{"type": "web_search_call", "id": "ws_tollgate_a"}]});
    let own = json!({"input": [{"type": "web_search_call", "id": "ws_a_tollgate_"}]});
    for (surface, body, foreign) in [
        (MESSAGES, thinking(wrapped), true),
        (MESSAGES, thinking("EqoBCkgIARAB"), false),
        (MESSAGES, redacted, true),
        (MESSAGES, called, false),
        (responses, reasoning, true),
        (gemini, thought, true),
        (chat, detail, true),
        (MESSAGES, made, true),
        (responses, searched, true),
        (responses, own, false),
    ] {
        let found = scan(surface, body.to_string().as_bytes()).unwrap();
        assert_eq!(found.has_foreign_seals(), foreign, "{body}");
    }
}

#[test]
fn adds_parameters_that_the_client_did_not_send() {
    let params = [
        ("top_k".to_owned(), "5".to_owned()),
        ("safe".to_owned(), r#"{"a":[]}"#.to_owned()),
        ("top_k".to_owned(), "6".to_owned()),
    ];
    let edits = Edits {
        params: &params,
        ..Edits::default()
    };
    assert_eq!(edited("{}", &edits), r#"{"top_k":5,"safe":{"a":[]}}"#);
    assert_eq!(
        edited(r#"{"t\u006fp_k":1}"#, &edits),
        r#"{"t\u006fp_k":1,"safe":{"a":[]}}"#
    );
    assert_eq!(
        edited(r#"{"safe":null,"top_k":2}"#, &edits),
        r#"{"safe":null,"top_k":2}"#
    );
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_]{0,6}", inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

proptest! {
    /// As documents, scan and edit do what they say, whatever else is in the body.
    #[test]
    fn edits_change_nothing_else(
        mut members in proptest::collection::btree_map("[a-z]{1,5}", value(), 0..5),
        model in proptest::option::of(any::<String>()),
        options in proptest::option::of(prop_oneof![Just(json!(null)), Just(json!({})), Just(json!({"a": 1})), Just(json!({"include_usage": false})), Just(json!({"include_usage": true}))]),
        pretty in any::<bool>(),
    ) {
        // Words that the scan reads itself would have to be valid.
        for word in ["n", "input", "tools", "model"] {
            members.remove(word);
        }
        members.extend(model.clone().map(|model| ("model".to_owned(), Value::from(model))));
        members.extend(options.map(|options| ("stream_options".to_owned(), options)));
        let mut document = Value::from(members.into_iter().collect::<serde_json::Map<_, _>>());
        let body = Bytes::from(if pretty { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() });
        let found = scan(CHAT, &body).unwrap();
        prop_assert_eq!(&found.model, &model);
        let edited = found.edit(&body, &Edits { model: Some("to"), omit_model: false, omit: &[], include_usage: true, params: &[("model".to_owned(), "1".to_owned()), ("own_field".to_owned(), "[1]".to_owned())] });
        document["stream_options"]["include_usage"] = json!(true);
        document["own_field"] = json!([1]);
        document["model"] = json!("to");
        prop_assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), document);
        let again = scan(CHAT, &edited).unwrap();
        prop_assert_eq!(again.model.as_deref(), Some("to"));
    }

    /// Members go, with the commas that are theirs, wherever they stand and whatever is added.
    #[test]
    fn what_is_omitted_is_gone_and_nothing_else(
        order in Just(vec!["model", "stream", "a", "b", "c"]).prop_shuffle(),
        count in 0_usize..=5,
        omit_model in any::<bool>(),
        pretty in any::<bool>(),
        added in any::<bool>(),
    ) {
        let value = |name: &str| match name { "model" => json!("m"), "stream" => json!(true), _ => json!([1, {"x": ","}]) };
        let mut document: serde_json::Map<_, _> = order.iter().take(count).map(|name| ((*name).to_owned(), value(name))).collect();
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let body = Bytes::from(text.unwrap());
        let (omit, params) = (["stream".to_owned(), "b".to_owned()], [("d".to_owned(), "1".to_owned())]);
        let edits = Edits { omit_model, omit: &omit, params: if added { &params } else { &[] }, ..Edits::default() };
        let edited = scan(MESSAGES, &body).unwrap().edit(&body, &edits);
        document.retain(|name, _| name != "stream" && name != "b" && !(omit_model && name == "model"));
        if added {
            document.insert("d".to_owned(), json!(1));
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), Value::from(document));
    }

    #[test]
    fn never_panics(body in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\":,a-z0-9. \\\\]{0,60}".prop_map(String::into_bytes),
    ]) {
        for dialect in Dialect::ALL {
            for operation in Operation::ALL {
                if let Ok(found) = scan(Surface::new(operation, dialect), &body) {
                    let body = Bytes::copy_from_slice(&body);
                    let params = [("a".to_owned(), "1".to_owned())];
                    let _edited = found.edit(&body, &Edits { model: Some("m"), omit_model: false, omit: &[], include_usage: true, params: &params });
                }
            }
        }
    }
}

#[test]
fn a_provider_is_asked_to_keep_an_answer_of_chat_only_in_so_many_words() {
    let stores = |body: &str| facts(CHAT, body).stores;
    assert!(stores(r#"{"model":"m","store":true,"messages":[]}"#));
    for body in [
        r#"{"model":"m","messages":[]}"#,
        r#"{"model":"m","store":false,"messages":[]}"#,
        r#"{"model":"m","store":null,"messages":[{"role":"user","content":"x","store":true}]}"#,
    ] {
        assert!(!stores(body), "{body}");
    }
}
