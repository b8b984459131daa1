//! Log probabilities: Google's `logprobsResult` and the form of `OpenAI`, which is the hub's.

use serde_json::{Value, json};

/// `{content: […], refusal: null}` of a `logprobsResult`.
pub(crate) fn read(result: &Value) -> Option<Value> {
    let chosen = result.get("chosenCandidates")?.as_array()?;
    let tops = result.get("topCandidates").and_then(Value::as_array);
    let content: Vec<Value> = chosen
        .iter()
        .enumerate()
        .map(|(place, candidate)| {
            let top = tops.and_then(|tops| tops.get(place)?.get("candidates")?.as_array());
            let top: Vec<Value> = top.into_iter().flatten().map(token).collect();
            let mut token = token(candidate);
            if let Value::Object(members) = &mut token {
                members.insert("top_logprobs".to_owned(), top.into());
            }
            token
        })
        .collect();
    Some(json!({"content": content, "refusal": null}))
}

fn token(candidate: &Value) -> Value {
    let text = candidate.get("token").and_then(Value::as_str).unwrap_or_default();
    let logprob = candidate.get("logProbability").cloned().unwrap_or_else(|| json!(0.0));
    json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()})
}

/// A `logprobsResult`, and the mean that goes with it as `avgLogprobs`.
pub(crate) fn write(logprobs: &Value) -> Option<(Value, Option<f64>)> {
    let tokens = logprobs.get("content")?.as_array()?;
    let chosen: Vec<Value> = tokens.iter().map(candidate).collect();
    let tops: Vec<Value> = tokens
        .iter()
        .map(|token| {
            let top = token.get("top_logprobs").and_then(Value::as_array);
            json!({"candidates": top.into_iter().flatten().map(candidate).collect::<Vec<_>>()})
        })
        .collect();
    let known: Vec<f64> = tokens
        .iter()
        .filter_map(|token| token.get("logprob")?.as_f64())
        .collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    Some((json!({"chosenCandidates": chosen, "topCandidates": tops}), mean))
}

fn candidate(token: &Value) -> Value {
    json!({"token": token.get("token"), "logProbability": token.get("logprob")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let gemini = json!({
            "chosenCandidates": [{"token": "é", "logProbability": -0.5}, {"token": "b", "logProbability": -1.5}],
            "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}]}, {"candidates": []}],
        });
        let openai = read(&gemini).unwrap();
        assert_eq!(openai["content"][0]["bytes"], json!([195, 169]));
        assert_eq!(openai["content"][0]["top_logprobs"][0]["logprob"], json!(-0.5));
        assert_eq!(write(&openai), Some((gemini, Some(-1.0))));
        assert_eq!(write(&json!({"refusal": []})), None);
    }
}
