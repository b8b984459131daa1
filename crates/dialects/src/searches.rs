//! Web searches that answers show and usage does not count.
//!
//! Anthropic's usage says how many there were. `OpenAI`'s and Gemini's say nothing, though both bill them by the piece, so
//! they are counted where the answer shows them, by the rules that the providers bill by:
//!
//! - Responses: output items `web_search_call`. "Search actions incur a tool call cost"
//!   (<https://developers.openai.com/api/docs/guides/tools-web-search>): pages that are opened or looked through cost nothing,
//!   nor does what failed. A server that says the number itself (`tool_usage.web_search.num_requests`) is believed.
//! - Chat: search models retrieve before each answer; of others that sources are cited is all that is seen. One either way,
//!   as `litellm` 1.109.1 counts (`tool_call_cost_tracking.py`).
//! - Gemini: "On Gemini 3 models you are billed per executed search query, and on Gemini 2.5 and older models per prompt"
//!   (<https://ai.google.dev/gemini-api/docs/google-search>). Equal queries are one, empty ones none, as `litellm` counts
//!   (`grounding_requests.py`), since chunks of a stream repeat them. Where functions are declared beside the search, its queries
//!   show as `toolCall` parts, and an answer that ends in a function call need have no grounding that repeats them. They are
//!   billed alike (<https://ai.google.dev/gemini-api/docs/tool-combination>, "Tokens and pricing": "Google
//!   Search already applies its own pricing model at the query level").

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::answer::UsageReport;
use crate::json::{Cursor, Syntax};
use crate::limits::QUERIES_MAX;
use crate::observation::Observation;

/// Gemini's models that bill a prompt and not its queries.
const PER_PROMPT: [&str; 4] = ["gemini-1", "gemini-2", "gemini-live-2", "gemini-exp-"];

/// What was seen of searches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Searches {
    /// Counted by what the answer is made of.
    pub(crate) counted: u64,
    /// As a server says beside the usage.
    pub(crate) said: Option<u64>,
    /// Different queries, by hash.
    queries: Vec<u64>,
}

/// Whether this is one of `OpenAI`'s models that search before each answer of Chat Completions.
pub fn always_searches(model: &str) -> bool {
    model.contains("-search-preview") || model.contains("-search-api")
}

impl Searches {
    /// Takes a candidate's `groundingMetadata`.
    pub(crate) fn take_grounding(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        value.object_if(|key, member| {
            if key != b"webSearchQueries" {
                return member.skip().map(|_| ());
            }
            member.array_if(|query| {
                if let Some(text) = query.string_if()?.filter(|text| !text.is_empty()) {
                    self.note(&text.decode());
                }
                Ok::<(), Syntax>(())
            })?;
            Ok::<(), Syntax>(())
        })?;
        Ok(())
    }

    /// Takes a `toolCall` part: Google searched (`google-genai` 3.6, `types.py`, `ToolCall`, `ToolType`). Its pictures, files and
    /// maps are not billed by these queries.
    pub(crate) fn take_call(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        let (mut is_search, mut queries) = (false, Vec::new());
        value.object_if(|key, member| {
            match key {
                b"toolType" => is_search = member.string_if()?.is_some_and(|text| text.is("GOOGLE_SEARCH_WEB")),
                b"args" => {
                    member.object_if(|key, list| {
                        if key != b"queries" {
                            return list.skip().map(|_| ());
                        }
                        list.array_if(|query| {
                            let query = query.string_if()?.filter(|text| !text.is_empty());
                            if let Some(text) = query.filter(|_| queries.len() < QUERIES_MAX) {
                                queries.push(text.decode().into_owned());
                            }
                            Ok::<(), Syntax>(())
                        })
                        .map(|_| ())
                    })?;
                }
                _ => {
                    member.skip()?;
                }
            }
            Ok::<(), Syntax>(())
        })?;
        for query in queries.iter().filter(|_| is_search) {
            self.note(query);
        }
        Ok(())
    }

    fn note(&mut self, query: &str) {
        let mut hasher = DefaultHasher::new();
        query.hash(&mut hasher);
        let hash = hasher.finish();
        if self.queries.len() < QUERIES_MAX && !self.queries.contains(&hash) {
            self.queries.push(hash);
        }
    }

    const fn is_none(&self) -> bool {
        self.counted == 0 && self.said.is_none() && self.queries.is_empty()
    }

    fn billed(&self, model: Option<&str>) -> u64 {
        let name = model.map_or("", |model| model.rsplit('/').next().unwrap_or_default());
        let queries = self.queries.len() as u64;
        let grounded = if PER_PROMPT.iter().any(|family| name.starts_with(family)) {
            queries.min(1)
        } else {
            queries
        };
        self.said.unwrap_or(self.counted).max(grounded)
    }
}

impl Observation {
    /// Puts what was searched into the usage, if there is one. To be called after either was read.
    pub(crate) fn bill_searches(&mut self) {
        if self.searches.is_none() {
            return;
        }
        let billed = self.searches.billed(self.report.model.as_deref());
        if let UsageReport::Possible(usage) = &mut self.report.usage {
            usage.web_searches = billed;
        }
    }

    /// One search of a chat answer: its model searches always, or it cites what it found.
    pub(crate) fn bill_chat_search(&mut self) {
        let always = self.report.model.as_deref().is_some_and(always_searches);
        self.searches.counted = self.searches.counted.max(u64::from(always));
        self.bill_searches();
    }
}

/// Whether a list of `annotations` cites a page.
pub(crate) fn cites_page(value: &mut Cursor<'_>) -> Result<bool, Syntax> {
    let mut found = false;
    value.array_if(|annotation| {
        annotation.object_if(|key, member| {
            if key == b"type" {
                found |= member.string_if()?.is_some_and(|text| text.is("url_citation"));
            } else {
                member.skip()?;
            }
            Ok::<(), Syntax>(())
        })?;
        Ok::<(), Syntax>(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::{Dialect, Operation, Surface};

    use crate::answer::UsageReport;
    use crate::{StreamTap, TapOptions, read_answer};

    fn surface(dialect: Dialect, operation: Operation) -> Surface {
        Surface::new(operation, dialect)
    }

    fn whole(dialect: Dialect, operation: Operation, text: &str) -> u64 {
        searches(&read_answer(surface(dialect, operation), text.as_bytes()).unwrap().usage)
    }

    fn searches(usage: &UsageReport) -> u64 {
        match usage {
            UsageReport::Possible(usage) => usage.web_searches,
            other => panic!("{other:?}"),
        }
    }

    const RESPONSE: &str = r#"{"id":"r","object":"response","status":"completed","model":"gpt-5","output":[
        {"type":"web_search_call","id":"a","status":"completed","action":{"type":"search","query":"x"}},
        {"type":"web_search_call","id":"b","status":"completed"},
        {"type":"web_search_call","id":"c","status":"completed","action":{"type":"open_page","url":"x"}},
        {"type":"web_search_call","id":"d","status":"failed","action":{"type":"search","query":"x"}},
        {"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":5,"output_tokens":1}}"#;

    #[test]
    fn responses_bill_what_searched() {
        let whole = |text: &str| whole(Dialect::OpenaiResponses, Operation::Chat, text);
        assert_eq!(whole(RESPONSE), 2);
        let said = RESPONSE.replacen('{', r#"{"tool_usage":{"web_search":{"num_requests":1}},"#, 1);
        assert_eq!(whole(&said), 1);
    }

    #[test]
    fn streams_count_each_call_once() {
        let surface = surface(Dialect::OpenaiResponses, Operation::Chat);
        let call = r#"{"type":"web_search_call","status":"completed","action":{"type":"search"}}"#;
        let done = format!("data: {{\"type\":\"response.output_item.done\",\"item\":{call}}}\n\n");
        let completed = |response: &str| {
            let response = response.replace('\n', "");
            format!("data: {{\"type\":\"response.completed\",\"response\":{response}}}\n\n")
        };
        let empty = r#"{"status":"completed","output":[],"usage":{"input_tokens":5,"output_tokens":1}}"#;
        for (end, expected) in [(RESPONSE, 2), (empty, 3)] {
            let mut tap = StreamTap::new(TapOptions {
                surface,
                hide_usage_chunk: false,
                json_array: false,
            });
            let stream = [done.repeat(expected), completed(end)].concat();
            tap.push(Bytes::from(stream), &mut Vec::new());
            tap.finish(true);
            assert_eq!(searches(&tap.report().usage), expected as u64);
        }
    }

    #[test]
    fn chats_bill_one_where_they_searched() {
        let chat = |model: &str, annotations: &str| {
            format!(
                r#"{{"object":"chat.completion","usage":{{"prompt_tokens":5,"completion_tokens":1}},"choices":[{{"index":0,"message":
                {{"role":"assistant","content":"a","annotations":{annotations}}},"finish_reason":"stop"}}],"model":"{model}"}}"#
            )
        };
        let whole = |text: &str| whole(Dialect::OpenaiChat, Operation::Chat, text);
        assert_eq!(whole(&chat("gpt-4o-search-preview-2025-03-11", "[]")), 1);
        assert_eq!(whole(&chat("gpt-4o", "[]")), 0);
        let cited = r#"[{"type":"url_citation","url_citation":{"url":"x"}},{"type":"url_citation","url_citation":{"url":"y"}}]"#;
        assert_eq!(whole(&chat("gpt-4o", cited)), 1);
    }

    #[test]
    fn gemini_bills_queries_or_the_prompt() {
        let answer = |model: &str, queries: &str| {
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"STOP","groundingMetadata":{{"webSearchQueries":{queries}}}}}],
                "usageMetadata":{{"promptTokenCount":5,"candidatesTokenCount":1}},"modelVersion":"{model}"}}"#
            )
        };
        let whole = |text: &str| whole(Dialect::Gemini, Operation::Chat, text);
        let three = r#"["a","b","a","","c"]"#;
        assert_eq!(whole(&answer("gemini-3-flash-preview", three)), 3);
        assert_eq!(whole(&answer("gemini-2.5-flash", three)), 1);
        assert_eq!(whole(&answer("gemini-2.5-flash", "[]")), 0);
    }

    #[test]
    fn gemini_bills_what_it_searched_before_a_function_call() {
        let call = |kind: &str, queries: &str| {
            format!(r#"{{"toolCall":{{"id":"s","args":{{"queries":{queries},"x":1}},"toolType":"{kind}"}}}}"#)
        };
        let answer = |model: &str, parts: &[String], grounding: &str| {
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{},{{"functionCall":{{"name":"f","args":{{}}}}}}]}},"finishReason":"STOP"{grounding}}}],
                "usageMetadata":{{"promptTokenCount":5,"candidatesTokenCount":1}},"modelVersion":"{model}"}}"#,
                parts.join(",")
            )
        };
        let whole = |text: &str| whole(Dialect::Gemini, Operation::Chat, text);
        let twice = [
            call("GOOGLE_SEARCH_WEB", r#"["a","b"]"#),
            call("GOOGLE_SEARCH_WEB", r#"["b","","c"]"#),
        ];
        assert_eq!(whole(&answer("gemini-3-flash-preview", &twice, "")), 3);
        assert_eq!(whole(&answer("gemini-2.5-flash", &twice, "")), 1);
        let again = r#","groundingMetadata":{"webSearchQueries":["a","b","c"]}"#;
        assert_eq!(
            whole(&answer("gemini-3-flash-preview", &twice, again)),
            3,
            "told twice, searched once"
        );
        let others = [
            call("FILE_SEARCH", r#"["a"]"#),
            call("GOOGLE_SEARCH_WEB", "null"),
            r#"{"toolCall":null}"#.to_owned(),
        ];
        assert_eq!(whole(&answer("gemini-3-flash-preview", &others, "")), 0);
        let event = |text: &str| format!("data: {}\n\n", text.replace('\n', ""));
        let text = event(&answer("gemini-3-flash-preview", &twice, ""))
            + &event(&answer("gemini-3-flash-preview", &twice, ""));
        let mut tap = StreamTap::new(TapOptions {
            surface: surface(Dialect::Gemini, Operation::Chat),
            hide_usage_chunk: false,
            json_array: false,
        });
        tap.push(Bytes::from(text), &mut Vec::new());
        tap.finish(true);
        assert_eq!(searches(&tap.report().usage), 3);
    }
}
