//! Embeddings, as numbers or (what the `OpenAI` SDKs ask for unless told otherwise) as base64 of little-endian floats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::conversation::{given, tokens_in};
use super::super::refusal::Refusal;
use super::super::vector::{dimensions, embed};
use super::super::{Ask, Reply, json_bytes};

/// Texts of one request, the limit of `OpenAI`.
const INPUTS_MAX: usize = 2_048;

/// `POST /embeddings`.
pub(crate) fn embeddings(ask: &Ask<'_>, body: &Value) -> Result<Reply, Refusal> {
    let inputs = inputs(body)?;
    let dimensions = dimensions(body, "dimensions", inputs.len())?;
    let encode = encoding(body)?;
    let tokens: u64 = inputs.iter().map(|input| tokens(input)).sum();
    let embedding = |(index, input): (usize, &&Value)| {
        let vector = embed(&text(input), dimensions);
        json!({"object": "embedding", "index": index, "embedding": encode(&vector)})
    };
    let data: Vec<Value> = inputs.iter().enumerate().map(embedding).collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(Reply::Whole(json_bytes(
        &json!({"object": "list", "data": data, "model": ask.model, "usage": usage}),
    )))
}

/// The inputs: a text, a list of token numbers, or a list of either.
fn inputs(body: &Value) -> Result<Vec<&Value>, Refusal> {
    let given = given(body, "input").ok_or_else(|| Refusal::missing("input"))?;
    let found: Vec<&Value> = match given {
        Value::Array(items) if !items.iter().any(Value::is_number) => items.iter().collect(),
        one => vec![one],
    };
    if found.is_empty() || found.len() > INPUTS_MAX {
        return Err(Refusal::value(
            "input",
            format!("Invalid 'input': expected 1 to {INPUTS_MAX} inputs."),
        ));
    }
    if !found.iter().all(|input| input.is_string() || input.is_array()) {
        return Err(Refusal::value(
            "input",
            "Invalid 'input': expected strings or arrays of integers.",
        ));
    }
    Ok(found)
}

fn encoding(body: &Value) -> Result<fn(&[f32]) -> Value, Refusal> {
    match given(body, "encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => Ok(|vector| json!(vector)),
        Some(Some("base64")) => Ok(|vector| {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            Value::String(STANDARD.encode(bytes))
        }),
        Some(_) => Err(Refusal::value(
            "encoding_format",
            "Invalid 'encoding_format': supported are 'float' and 'base64'.",
        )),
    }
}

fn text(input: &Value) -> String {
    input.as_str().map_or_else(|| input.to_string(), str::to_owned)
}

fn tokens(input: &Value) -> u64 {
    input
        .as_array()
        .map_or_else(|| tokens_in(input), |tokens| tokens.len() as u64)
        .max(1)
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation};

    use super::super::super::testing::{ask, refused, whole};
    use super::*;

    fn answered(body: &Value) -> Value {
        whole(&ask(
            Operation::Embeddings,
            Dialect::OpenaiChat,
            body.to_string().as_bytes(),
        ))
    }

    fn floats(embedding: &Value) -> Vec<f32> {
        embedding
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap() as f32)
            .collect()
    }

    #[test]
    fn every_input_has_its_vector_in_order() {
        let answer = answered(&json!({"input": ["hello there", "bye"]}));
        let data = answer["data"].as_array().unwrap();
        assert_eq!((data.len(), &data[1]["index"]), (2, &json!(1)));
        assert_eq!(floats(&data[0]["embedding"]).len(), 64);
        assert_eq!(
            data[1]["embedding"],
            answered(&json!({"input": "bye"}))["data"][0]["embedding"]
        );
        assert_ne!(data[0]["embedding"], data[1]["embedding"]);
        assert_eq!(answer["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
        assert_eq!(
            (&answer["object"], &answer["model"]),
            (&json!("list"), &json!("demo-1"))
        );
    }

    #[test]
    fn base64_holds_the_same_floats() {
        let plain = answered(&json!({"input": "hello", "dimensions": 8}));
        let encoded = answered(&json!({"input": "hello", "dimensions": 8, "encoding_format": "base64"}));
        let bytes = STANDARD
            .decode(encoded["data"][0]["embedding"].as_str().unwrap())
            .unwrap();
        let decoded: Vec<f32> = bytes
            .chunks(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        assert_eq!(decoded, floats(&plain["data"][0]["embedding"]));
        assert_eq!(decoded.len(), 8);
    }

    #[test]
    fn token_numbers_are_inputs_too() {
        let answer = answered(&json!({"input": [[1, 2, 3], [4]]}));
        assert_eq!(
            (
                answer["data"].as_array().unwrap().len(),
                &answer["usage"]["prompt_tokens"]
            ),
            (2, &json!(4))
        );
        assert_eq!(answered(&json!({"input": [1, 2]}))["data"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_embedded_is_refused() {
        for (body, param) in [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": {"a": 1}}), "input"),
            (json!({"input": vec!["x"; INPUTS_MAX + 1]}), "input"),
            (json!({"input": "x", "dimensions": 0}), "dimensions"),
            (json!({"input": "x", "encoding_format": "hex"}), "encoding_format"),
        ] {
            let body = body.to_string();
            let refusal = refused(&ask(Operation::Embeddings, Dialect::OpenaiChat, body.as_bytes()));
            assert_eq!(refusal["error"]["param"], param);
        }
    }
}
