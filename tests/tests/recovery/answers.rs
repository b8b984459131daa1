//! What a client of each format reads: its text, its events, and whether they follow the format's grammar.

use blackbox::format::Format;
use serde_json::Value;
use testkit::client::Response;

/// What a client of a format reads.
pub(crate) fn said(format: Format, response: &Response) -> String {
    let piece = |event: &Value| match format {
        Format::Chat => event["choices"][0]["delta"]["content"].as_str().map(str::to_owned),
        Format::Responses if event["type"] == "response.output_text.delta" => {
            event["delta"].as_str().map(str::to_owned)
        }
        Format::Anthropic if event["type"] == "content_block_delta" => {
            event["delta"]["text"].as_str().map(str::to_owned)
        }
        Format::Gemini => event["candidates"][0]["content"]["parts"]
            .as_array()
            .map(|parts| parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        Format::Responses | Format::Anthropic => None,
    };
    events(response).iter().filter_map(piece).collect()
}

pub(crate) fn events(response: &Response) -> Vec<Value> {
    let events = response.events();
    let data = events.iter().map(|event| &event.data);
    data.filter(|data| !data.is_empty() && *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap_or_else(|_| panic!("garbage reached the client: {data}")))
        .collect()
}

/// One beginning, one end, no gaps.
pub(crate) fn assert_grammar(format: Format, response: &Response) {
    let events = events(response);
    let count = |fits: &dyn Fn(&Value) -> bool| events.iter().filter(|event| fits(event)).count();
    match format {
        Format::Chat => {
            assert_eq!(count(&|event| event["choices"][0]["delta"]["role"] == "assistant"), 1);
            assert_eq!(count(&|event| event["choices"][0]["finish_reason"] == "stop"), 1);
        }
        Format::Responses => {
            let numbers: Vec<_> = events
                .iter()
                .filter_map(|event| event["sequence_number"].as_u64())
                .collect();
            assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
            assert_eq!(count(&|event| event["type"] == "response.created"), 1);
            let last = &events[events.len() - 1]["response"];
            let text: String = last["output"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|item| item["content"].as_array().cloned().unwrap_or_default())
                .filter_map(|part| part["text"].as_str().map(str::to_owned))
                .collect();
            assert_eq!(text, said(format, response), "the whole answer at the end");
        }
        Format::Anthropic => {
            for once in ["message_start", "message_delta", "message_stop"] {
                assert_eq!(count(&|event| event["type"] == once), 1, "{once}");
            }
            let starts = count(&|event| event["type"] == "content_block_start");
            assert_eq!(count(&|event| event["type"] == "content_block_stop"), starts);
        }
        Format::Gemini => {
            assert_eq!(count(&|event| event["candidates"][0]["finishReason"] == "STOP"), 1);
            // Google says it with every chunk; the last counts.
            assert!(events.last().is_some_and(|event| !event["usageMetadata"].is_null()));
        }
    }
}
