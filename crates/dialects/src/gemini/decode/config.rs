//! What `generationConfig` says: how the answer is drawn, how long it is, what shape it has.

use serde_json::{Map, Value};

use super::message;
use crate::gemini::schema;
use crate::hub::{BadRequest, Effort, Fields, OutputFormat, Reasoning, Request, ThinkingBudget};

/// Reads it into the request; what it says beyond our words is handed back.
pub(super) fn read(mut fields: Fields, request: &mut Request) -> Result<Map<String, Value>, BadRequest> {
    let sampling = &mut request.sampling;
    sampling.temperature = fields.number("temperature")?;
    sampling.top_p = fields.number("topP")?;
    sampling.top_k = fields.number("topK")?;
    sampling.seed = fields.number("seed")?;
    sampling.presence_penalty = fields.number("presencePenalty")?;
    sampling.frequency_penalty = fields.number("frequencyPenalty")?;
    sampling.stop = fields.texts("stopSequences")?;
    request.max_output = fields.count("maxOutputTokens")?;
    request.choices = fields.count("candidateCount")?;
    let alternatives = fields.count("logprobs")?;
    if fields.flag("responseLogprobs")? == Some(true) {
        request.logprobs = Some(alternatives.unwrap_or(0));
    }
    let mut rest = Map::new();
    format(&mut fields, request, &mut rest)?;
    modalities(&mut fields, request, &mut rest)?;
    if let Some(thinking) = message(&mut fields, "thinkingConfig")? {
        let inner = reasoning(thinking, request)?;
        if !inner.is_empty() {
            rest.insert("thinkingConfig".to_owned(), Value::Object(inner));
        }
    }
    rest.extend(fields.into_map());
    request.voice = rest.get("speechConfig").and_then(voice);
    Ok(rest)
}

fn format(fields: &mut Fields, request: &mut Request, rest: &mut Map<String, Value>) -> Result<(), BadRequest> {
    let mime = fields.text("responseMimeType")?;
    let openapi = fields.take("responseSchema");
    let plain = fields.take("responseJsonSchema");
    request.format = match mime.as_deref() {
        None | Some("application/json") => {
            let schema = plain.or(openapi.map(schema::from_openapi));
            match (schema, mime) {
                (Some(schema), _) => Some(OutputFormat::Schema {
                    name: None,
                    description: None,
                    schema,
                    strict: None,
                }),
                (None, Some(_)) => Some(OutputFormat::Json),
                (None, None) => None,
            }
        }
        Some("text/plain") => Some(OutputFormat::Text),
        // `text/x.enum`: one of the schema's words, without quotes.
        Some(_) => {
            let members = [
                ("responseMimeType", mime.map(Value::String)),
                ("responseSchema", openapi),
                ("responseJsonSchema", plain),
            ];
            rest.extend(
                members
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?))),
            );
            Some(OutputFormat::Other)
        }
    };
    Ok(())
}

/// The list is kept as it came too, since ours does not say whether text is wanted beside the rest.
fn modalities(fields: &mut Fields, request: &mut Request, rest: &mut Map<String, Value>) -> Result<(), BadRequest> {
    let words = fields.texts("responseModalities")?;
    let others = words.iter().map(|word| word.to_ascii_lowercase());
    request.modalities = others
        .filter(|word| word != "text" && word != "modality_unspecified")
        .collect();
    if !words.is_empty() {
        rest.insert("responseModalities".to_owned(), words.into());
    }
    Ok(())
}

/// The one voice that speaks. It stays where it is too, beside the language and whatever else is said of speech.
fn voice(config: &Value) -> Option<String> {
    let either = |outer: &Value, one: &str, other: &str| outer.get(one).or_else(|| outer.get(other)).cloned();
    let voice = either(config, "voiceConfig", "voice_config")?;
    let prebuilt = either(&voice, "prebuiltVoiceConfig", "prebuilt_voice_config")?;
    Some(either(&prebuilt, "voiceName", "voice_name")?.as_str()?.to_owned())
}

fn reasoning(mut fields: Fields, request: &mut Request) -> Result<Map<String, Value>, BadRequest> {
    let effort = match fields.text("thinkingLevel")? {
        None => None,
        Some(word) if word.eq_ignore_ascii_case("THINKING_LEVEL_UNSPECIFIED") => None,
        Some(word) => {
            let known = Effort::read(&word).filter(|effort| (Effort::Minimal..=Effort::High).contains(effort));
            Some(known.ok_or_else(|| fields.error("thinkingLevel", "expected MINIMAL, LOW, MEDIUM or HIGH"))?)
        }
    };
    let reasoning = Reasoning {
        effort,
        budget: budget(&mut fields)?,
        visible: fields.flag("includeThoughts")?,
        summary: None,
    };
    if reasoning != Reasoning::default() {
        request.reasoning = Some(reasoning);
    }
    Ok(fields.into_map())
}

fn budget(fields: &mut Fields) -> Result<Option<ThinkingBudget>, BadRequest> {
    let Some(value) = fields.take("thinkingBudget") else {
        return Ok(None);
    };
    let tokens = match &value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match tokens {
        Some(-1) => Ok(Some(ThinkingBudget::Adaptive)),
        Some(0) => Ok(Some(ThinkingBudget::Off)),
        Some(tokens @ 1..) => Ok(Some(ThinkingBudget::Tokens(tokens.unsigned_abs()))),
        _ => Err(fields.error(
            "thinkingBudget",
            "expected a number of tokens, 0 for none or -1 for as many as it likes",
        )),
    }
}
