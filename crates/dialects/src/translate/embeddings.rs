//! Vectors for texts: OpenAI's format and Gemini's.
//!
//! Both ask for a list of texts and get a list of vectors; what differs is how the list is written, and that OpenAI's
//! clients ask for vectors as base64 of 32-bit floats. Gemini reports no tokens for them, so what a client of OpenAI's
//! format is told is zero where the provider says nothing, never a figure of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Dialect, Usage};
use serde_json::{Map, Value, json};

use super::{Reply, Target};
use crate::answer::Nonsense;
use crate::hub::{BadRequest, Fields, Losses, nested};
use crate::limits::EMBEDDED_MAX;

/// A request for vectors.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    inputs: Vec<String>,
    dimensions: Option<u64>,
    /// OpenAI: vectors as base64.
    pub(super) base64: bool,
    /// Gemini: `embedContent` has one content and is answered with one vector.
    pub(super) single: bool,
    user: Option<String>,
    task: Option<Value>,
    title: Option<Value>,
}

impl Texts {
    /// Reads a client's request.
    pub(super) fn read(dialect: Dialect, body: &[u8]) -> Result<Self, BadRequest> {
        let mut fields = Fields::parse(body)?;
        let texts = if dialect == Dialect::Gemini {
            gemini(&mut fields)
        } else {
            openai(&mut fields)
        }?;
        if texts.inputs.len() > EMBEDDED_MAX {
            return Err(BadRequest::new(
                "input",
                format!("has more than {EMBEDDED_MAX} texts; send them in several requests"),
            ));
        }
        Ok(texts)
    }

    /// Tells it to an upstream.
    pub(super) fn encode(
        &self,
        dialect: Dialect,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Value, BadRequest> {
        match dialect {
            Dialect::OpenaiChat => {
                losses.note_if(self.task.is_some(), "taskType", "the target's format has no tasks");
                losses.note_if(self.title.is_some(), "title", "the target's format has no titles");
                let mut body = Map::new();
                body.insert("model".to_owned(), target.model.into());
                body.insert("input".to_owned(), self.inputs.clone().into());
                body.extend(self.dimensions.map(|count| ("dimensions".to_owned(), count.into())));
                body.insert("encoding_format".to_owned(), "float".into());
                Ok(body.into())
            }
            Dialect::Gemini => {
                losses.note_if(self.user.is_some(), "user", "the target's format has no place for it");
                let requests = self.inputs.iter().map(|text| {
                    let mut request =
                        json!({"model": format!("models/{}", target.model), "content": {"parts": [{"text": text}]}});
                    if let Some(count) = self.dimensions {
                        request["outputDimensionality"] = count.into();
                    }
                    request
                });
                Ok(json!({"requests": requests.collect::<Vec<_>>()}))
            }
            Dialect::OpenaiResponses | Dialect::AnthropicMessages | Dialect::BedrockConverse => {
                Err(BadRequest::new("body", "the target's format has no embeddings"))
            }
        }
    }
}

fn openai(fields: &mut Fields) -> Result<Texts, BadRequest> {
    let texts = match fields.take("input") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(fields.error("input", "tokens mean nothing to a model of another family; send texts")),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(fields.error("input", "is missing; a text or a list of texts belongs here")),
    };
    Ok(Texts {
        inputs: texts,
        dimensions: fields.count("dimensions")?,
        base64: fields.text("encoding_format")?.as_deref() == Some("base64"),
        user: fields.text("user")?,
        ..Texts::default()
    })
}

fn gemini(fields: &mut Fields) -> Result<Texts, BadRequest> {
    let single = !fields.has("requests");
    let requests = if single {
        vec![fields.clone()]
    } else {
        fields.objects("requests")?
    };
    let mut all = Texts {
        single,
        ..Texts::default()
    };
    for (index, mut request) in requests.into_iter().enumerate() {
        let dimensions = request.take_any(&["outputDimensionality", "output_dimensionality"]);
        let dimensions = dimensions.and_then(|count| count.as_u64());
        if index > 0 && dimensions != all.dimensions {
            let message = "the target's format has one for all texts; send those with another one by themselves";
            return Err(request.error("outputDimensionality", message));
        }
        all.dimensions = dimensions;
        all.task = request.take_any(&["taskType", "task_type"]).or(all.task);
        all.title = request.take("title").or(all.title);
        let mut content = request
            .object("content")?
            .ok_or_else(|| request.error("content", "is missing"))?;
        let mut text = String::new();
        for mut part in content.objects("parts")? {
            text.push_str(&part.required_text("text")?);
        }
        all.inputs.push(text);
    }
    Ok(all)
}

/// Tells an upstream's vectors to a client.
pub(super) fn answer(
    from: Dialect,
    to: Dialect,
    body: &[u8],
    asked: &Texts,
    usage: Option<Usage>,
    reply: &Reply,
) -> Result<Value, Nonsense> {
    let vectors = if from == Dialect::Gemini {
        read_gemini(body)
    } else {
        read_openai(body)
    }?;
    if to == Dialect::Gemini {
        let mut embeddings: Vec<Value> = vectors.into_iter().map(|values| json!({"values": values})).collect();
        let mut told = match embeddings.pop() {
            Some(only) if asked.single => json!({"embedding": only}),
            last => {
                embeddings.extend(last);
                json!({"embeddings": embeddings})
            }
        };
        if let Some(usage) = usage {
            let tokens = usage.prompt();
            told["usageMetadata"] = json!({"promptTokenCount": tokens, "totalTokenCount": tokens});
        }
        return Ok(told);
    }
    let data: Vec<Value> = vectors
        .into_iter()
        .enumerate()
        .map(|(index, values)| {
            let embedding = if asked.base64 {
                packed(&values).into()
            } else {
                Value::from(values)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens = usage.map_or(0, |usage| usage.prompt());
    Ok(json!({
        "object": "list",
        "data": data,
        "model": reply.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}

fn read_gemini(body: &[u8]) -> Result<Vec<Vec<f64>>, Nonsense> {
    let answer: Value = nested::read(body).map_err(|_| Nonsense::Lacks("embeddings"))?;
    let one = answer.get("embedding").into_iter();
    let all = answer.get("embeddings").and_then(Value::as_array).into_iter().flatten();
    one.chain(all)
        .map(|embedding| floats(embedding.get("values")))
        .collect()
}

fn read_openai(body: &[u8]) -> Result<Vec<Vec<f64>>, Nonsense> {
    let answer: Value = nested::read(body).map_err(|_| Nonsense::Lacks("data"))?;
    let data = answer
        .get("data")
        .and_then(Value::as_array)
        .ok_or(Nonsense::Lacks("data"))?;
    let vector = |entry: &Value| match entry.get("embedding") {
        Some(Value::String(text)) => unpacked(text),
        other => floats(other),
    };
    // Which text it belongs to is what `index` says, in whatever order they come.
    let mut vectors: Vec<(u64, Vec<f64>)> = (0..)
        .zip(data)
        .map(|(place, entry)| {
            let index = entry.get("index").and_then(Value::as_u64);
            Ok((index.unwrap_or(place), vector(entry)?))
        })
        .collect::<Result<_, Nonsense>>()?;
    vectors.sort_by_key(|(index, _)| *index);
    if vectors.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Nonsense::Lacks("index"));
    }
    Ok(vectors.into_iter().map(|(_, vector)| vector).collect())
}

fn floats(values: Option<&Value>) -> Result<Vec<f64>, Nonsense> {
    let values = values.and_then(Value::as_array).ok_or(Nonsense::Lacks("values"))?;
    values
        .iter()
        .map(|value| value.as_f64().ok_or(Nonsense::Lacks("values")))
        .collect()
}

/// Little-endian 32-bit floats in base64, as OpenAI sends them.
fn packed(values: &[f64]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

fn unpacked(text: &str) -> Result<Vec<f64>, Nonsense> {
    let bytes = STANDARD.decode(text).map_err(|_| Nonsense::Lacks("values"))?;
    let (chunks, []) = bytes.as_chunks::<4>() else {
        return Err(Nonsense::Lacks("values"));
    };
    Ok(chunks
        .iter()
        .map(|chunk| f64::from(f32::from_le_bytes(*chunk)))
        .collect())
}

#[cfg(test)]
mod tests {
    use domain::provider::Quirks;

    use super::*;

    fn told(from: Dialect, to: Dialect, body: &str) -> Value {
        let quirks = Quirks::default();
        let target = Target {
            model: "m",
            max_output: 0,
            thinks: None,
            include_usage: false,
            quirks: &quirks,
        };
        Texts::read(from, body.as_bytes())
            .unwrap()
            .encode(to, &target, &mut Losses::default())
            .unwrap()
    }

    #[test]
    fn requests_in_both_directions() {
        assert_eq!(
            told(
                Dialect::OpenaiChat,
                Dialect::Gemini,
                r#"{"model":"x","input":["a","b"],"dimensions":3}"#
            ),
            json!({"requests": [
                {"model": "models/m", "content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3},
                {"model": "models/m", "content": {"parts": [{"text": "b"}]}, "outputDimensionality": 3}]})
        );
        assert_eq!(
            told(
                Dialect::Gemini,
                Dialect::OpenaiChat,
                r#"{"content":{"parts":[{"text":"a"},{"text":"b"}]},"outputDimensionality":3}"#
            ),
            json!({"model": "m", "input": ["ab"], "dimensions": 3, "encoding_format": "float"})
        );
        assert!(Texts::read(Dialect::OpenaiChat, br#"{"input":[1,2]}"#).is_err());
        let batch = |first: &str, second: &str| {
            let text = r#""content":{"parts":[{"text":"a"}]}"#;
            let body = format!(r#"{{"requests":[{{{text}{first}}},{{{text}{second}}}]}}"#);
            Texts::read(Dialect::Gemini, body.as_bytes()).map(|texts| texts.dimensions)
        };
        let (three, four) = (r#","outputDimensionality":3"#, r#","output_dimensionality":4"#);
        assert_eq!(batch(three, three), Ok(Some(3)));
        for (first, second) in [(three, four), (three, ""), ("", three)] {
            let refused = batch(first, second).unwrap_err().to_string();
            assert!(refused.contains("outputDimensionality"), "{refused}");
        }
    }

    #[test]
    fn vectors_in_every_spelling() {
        let gemini = br#"{"embeddings":[{"values":[0.5,-1.0]}]}"#;
        let reply = Reply {
            model: "x".to_owned(),
            ..Reply::default()
        };
        let asked = |base64: bool, single: bool| Texts {
            base64,
            single,
            ..Texts::default()
        };
        let answer = |to, asked: &Texts, body: &[u8], from| super::answer(from, to, body, asked, None, &reply).unwrap();
        let floats = answer(Dialect::OpenaiChat, &asked(false, false), gemini, Dialect::Gemini);
        assert_eq!(
            (&floats["data"][0]["embedding"], &floats["model"]),
            (&json!([0.5, -1.0]), &json!("x"))
        );
        let packed = answer(Dialect::OpenaiChat, &asked(true, false), gemini, Dialect::Gemini);
        assert_eq!(packed["data"][0]["embedding"], "AAAAPwAAgL8=");
        let back = answer(
            Dialect::Gemini,
            &asked(false, true),
            packed.to_string().as_bytes(),
            Dialect::OpenaiChat,
        );
        assert_eq!(back, json!({"embedding": {"values": [0.5, -1.0]}}));
        let listed = answer(
            Dialect::Gemini,
            &asked(false, false),
            packed.to_string().as_bytes(),
            Dialect::OpenaiChat,
        );
        assert_eq!(listed, json!({"embeddings": [{"values": [0.5, -1.0]}]}));
        let unordered = |first: u32, second: u32| {
            let body = json!({"data": [{"index": first, "embedding": [1.0]}, {"index": second, "embedding": [0.0]}]});
            let body = body.to_string();
            super::answer(
                Dialect::OpenaiChat,
                Dialect::Gemini,
                body.as_bytes(),
                &asked(false, false),
                None,
                &reply,
            )
        };
        assert_eq!(
            unordered(1, 0).unwrap(),
            json!({"embeddings": [{"values": [0.0]}, {"values": [1.0]}]})
        );
        assert!(unordered(1, 1).is_err());
        let usage = Some(Usage {
            input: 8,
            ..Usage::default()
        });
        let body = packed.to_string();
        let one = asked(false, true);
        let counted = super::answer(
            Dialect::OpenaiChat,
            Dialect::Gemini,
            body.as_bytes(),
            &one,
            usage,
            &reply,
        )
        .unwrap();
        assert_eq!(counted["usageMetadata"]["promptTokenCount"], 8);
    }
}
