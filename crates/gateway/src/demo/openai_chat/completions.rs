//! The legacy text completion.
//!
//! It has prompts instead of messages, maybe several of them, and no tools; each prompt has its own choices.

use serde_json::{Value, json};

use super::super::conversation::{Choice, Format, Last, Prompt, Said, choices, count, given, tokens_in};
use super::super::refusal::Refusal;
use super::super::script::Script;
use super::super::{Ask, Reply};
use super::{Frame, usage};

/// Prompts of one request: each is answered in full.
const PROMPTS_MAX: usize = 64;

/// `POST /completions`.
pub(crate) fn completions(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let prompts = prompts(body)?;
    let per_prompt = choices(body, "n")?;
    let tokens_max = count(body, "max_tokens")?;
    let input = prompts.iter().map(|prompt| prompt.input_tokens).sum();
    let mut said = Vec::new();
    for prompt in &prompts {
        let answer = Prompt {
            tokens_max,
            ..prompt.clone()
        }
        .reply()?;
        said.extend((0..per_prompt).map(|_| answer.clone()));
    }
    let usage = usage(input, said.iter().map(Said::tokens).sum());
    let frame = Frame::new(ask, "cmpl-", ["text_completion", "text_completion"]);
    Ok(if ask.stream {
        Reply::Stream(stream(&frame, &said, usage))
    } else {
        let choice = |(index, said): (usize, &Said)| choice(index, &said.pieces().concat(), Some(finish_reason(said)));
        let choices: Vec<Value> = said.iter().enumerate().map(choice).collect();
        Reply::Whole(frame.whole(&choices, usage))
    })
}

/// The prompts: a text, a list of token numbers, or a list of either.
fn prompts(body: &Value) -> Result<Vec<Prompt<'_>>, Refusal> {
    let given = given(body, "prompt").ok_or_else(|| Refusal::missing("prompt"))?;
    let found: Vec<Prompt<'_>> = match given {
        Value::Array(items) if !items.iter().any(Value::is_number) => items.iter().map(prompt).collect(),
        one => vec![prompt(one)],
    };
    if found.is_empty() || found.len() > PROMPTS_MAX {
        return Err(Refusal::value(
            "prompt",
            format!("Invalid 'prompt': expected 1 to {PROMPTS_MAX} prompts."),
        ));
    }
    Ok(found)
}

fn prompt(value: &Value) -> Prompt<'_> {
    let tokens = value
        .as_array()
        .map_or_else(|| tokens_in(value), |tokens| tokens.len() as u64);
    Prompt {
        last: Last::User(value.as_str().unwrap_or_default().to_owned()),
        tools: Vec::new(),
        choice: Choice::Never,
        format: Format::Prose,
        tokens_max: None,
        input_tokens: tokens.max(1),
    }
}

fn finish_reason(said: &Said) -> &'static str {
    if matches!(said, Said::Text { cut: true, .. }) {
        "length"
    } else {
        "stop"
    }
}

fn choice(index: usize, text: &str, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

fn stream(frame: &Frame<'_>, said: &[Said], usage: Value) -> Script {
    let mut script = Script::new();
    for (index, said) in said.iter().enumerate() {
        for piece in said.pieces() {
            script.paced(frame.chunk(choice(index, piece, None)));
        }
        script.at_once(frame.chunk(choice(index, "", Some(finish_reason(said)))));
    }
    frame.end(&mut script, usage);
    script
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation};

    use super::super::super::testing::{ask, events, refused, whole};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_stream_says_what_the_plain_answer_says() {
        let body = json!({"prompt": ["one", "two words"], "n": 2}).to_string();
        let ask = ask(Operation::Completions, Dialect::OpenaiChat, body.as_bytes());
        let plain = whole(&ask);
        let mut chunks = events(&Ask {
            stream: true,
            include_usage: true,
            ..ask
        })
        .await;
        assert_eq!(chunks.pop().unwrap(), "[DONE]");
        assert_eq!(chunks.pop().unwrap()["usage"], plain["usage"]);
        assert_eq!(plain["usage"]["prompt_tokens"], 3);
        assert_eq!(plain["choices"].as_array().unwrap().len(), 4);
        assert!(
            plain["choices"][2]["text"]
                .as_str()
                .unwrap()
                .starts_with("You said: \"two words\".")
        );
        for index in 0..4 {
            let own = || {
                chunks
                    .iter()
                    .map(|chunk| &chunk["choices"][0])
                    .filter(|choice| choice["index"] == index)
            };
            let text: String = own().map(|choice| choice["text"].as_str().unwrap()).collect();
            assert_eq!(plain["choices"][index]["text"], text.as_str());
            assert_eq!(own().filter(|choice| choice["finish_reason"] == "stop").count(), 1);
        }
    }

    #[test]
    fn prompts_of_token_numbers_are_counted() {
        let input = |prompt: Value| {
            let body = json!({"prompt": prompt, "max_tokens": 1}).to_string();
            let plain = whole(&ask(Operation::Completions, Dialect::OpenaiChat, body.as_bytes()));
            assert_eq!(plain["choices"][0]["finish_reason"], "length");
            plain["usage"]["prompt_tokens"].as_u64().unwrap()
        };
        assert_eq!(input(json!([1, 2, 3])), 3);
        assert_eq!(input(json!([[1, 2], [3, 4]])), 4);
        assert_eq!(input(json!("a b")), 2);
    }

    #[test]
    fn a_prompt_is_needed_and_not_too_many() {
        for body in [
            json!({}),
            json!({"prompt": []}),
            json!({"prompt": vec!["x"; PROMPTS_MAX + 1]}),
        ] {
            let body = body.to_string();
            let refusal = refused(&ask(Operation::Completions, Dialect::OpenaiChat, body.as_bytes()));
            assert_eq!(refusal["error"]["param"], "prompt");
        }
    }
}
