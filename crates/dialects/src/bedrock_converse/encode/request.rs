//! A request as Bedrock gets it. The model stands in the path, and whether to stream too.

use serde_json::{Map, Value, json};

use super::super::family::Family;
use crate::hub::{BadRequest, Extra, Losses, OutputFormat, Request, Sampling};
use crate::schema::enforceable;
use crate::translate::Target;

mod media;
mod message;
mod thinking;
mod tools;

/// Labels that one request may have:
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.
const LABELS_MAX: usize = 16;

/// Characters of a label's value: the same page.
const LABEL_MAX: usize = 256;

/// Members of this format that no other has: a client that knows where it is served may say them in its own request.
const OWN: [&str; 6] = [
    "guardrailConfig",
    "additionalModelResponseFieldPaths",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "outputConfig",
];

/// Why the vocabulary's word has none here.
const NO_SETTING: &str = "the format has no such setting";

/// Writes a request.
pub(crate) fn request(mut request: Request, target: &Target<'_>, losses: &mut Losses) -> Result<Value, BadRequest> {
    if request.previous.is_some() {
        let problem = "the target keeps no answers that could be continued; send the whole conversation in `input`";
        return Err(BadRequest::new("previous_response_id", problem));
    }
    let family = Family::of(target.model);
    let mut body = Map::new();
    let mut told = message::conversation(std::mem::take(&mut request.messages), family, losses)?;
    if request.cache.is_some() {
        told.cache_end(request.cache.as_ref(), family, losses);
    }
    let mut additional = thinking::additional(&mut request, &told, family, losses);
    put_list(&mut body, "system", told.system);
    put_map(&mut body, "inferenceConfig", inference(&mut request, family, losses));
    let mut tools = tools::config(&mut request, &told.called, family, losses);
    tools::one_at_a_time(request.parallel_tools, tools.as_mut(), &mut additional, family, losses);
    body.insert("messages".to_owned(), Value::Array(told.messages));
    put(&mut body, "toolConfig", tools);
    if matches!(family, Family::Claude(_))
        && body
            .get("inferenceConfig")
            .is_some_and(|it| it.get("stopSequences").is_some())
    {
        // Which of them was met stands only in Claude's own answer.
        body.insert(
            "additionalModelResponseFieldPaths".to_owned(),
            json!(["/stop_sequence"]),
        );
    }
    put_map(&mut body, "additionalModelRequestFields", additional);
    put(
        &mut body,
        "outputConfig",
        request.format.take().and_then(|format| shape(format, losses)),
    );
    put(
        &mut body,
        "serviceTier",
        request.service_tier.take().and_then(|tier| service_tier(&tier, losses)),
    );
    put_map(
        &mut body,
        "requestMetadata",
        labels(std::mem::take(&mut request.metadata), losses),
    );
    unsaid(&request, losses);
    extra(request.extra, &mut body, losses);
    for member in &target.quirks.unsupported {
        if body.shift_remove(member.as_str()).is_some() {
            losses.note(member.clone(), "the provider does not take it");
        }
    }
    Ok(Value::Object(body))
}

/// Sets a member if there is something to set.
fn put(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

fn put_map(body: &mut Map<String, Value>, name: &str, members: Map<String, Value>) {
    put(body, name, (!members.is_empty()).then_some(Value::Object(members)));
}

fn put_list(body: &mut Map<String, Value>, name: &str, items: Vec<Value>) {
    put(body, name, (!items.is_empty()).then_some(Value::Array(items)));
}

/// What all models have in common.
fn inference(request: &mut Request, family: Family, losses: &mut Losses) -> Map<String, Value> {
    let Sampling {
        temperature,
        top_p,
        frequency_penalty,
        presence_penalty,
        seed,
        stop,
        logit_bias,
        // Told by the family.
        top_k: _,
    } = std::mem::take(&mut request.sampling);
    let mut config = Map::new();
    put(&mut config, "maxTokens", request.max_output.map(Value::from));
    put(&mut config, "temperature", temperature.map(|heat| cooled(heat, losses)));
    put(&mut config, "topP", top_p);
    let is_claude = matches!(family, Family::Claude(_));
    losses.note_if(
        is_claude && stop.iter().any(|text| !text.is_empty() && text.trim().is_empty()),
        "stop",
        "the model refuses stop sequences of nothing but white space",
    );
    let stop: Vec<Value> = stop
        .into_iter()
        .filter(|text| !(text.is_empty() || is_claude && text.trim().is_empty()))
        .map(Value::from)
        .collect();
    put_list(&mut config, "stopSequences", stop);
    losses.note_if(frequency_penalty.is_some(), "frequency_penalty", NO_SETTING);
    losses.note_if(presence_penalty.is_some(), "presence_penalty", NO_SETTING);
    losses.note_if(seed.is_some(), "seed", NO_SETTING);
    losses.note_if(logit_bias.is_some(), "logit_bias", NO_SETTING);
    config
}

/// This format's scale ends at 1.
fn cooled(heat: Value, losses: &mut Losses) -> Value {
    if heat.as_f64().is_some_and(|heat| heat > 1.0) {
        losses.note("temperature", "the target's scale ends at 1; that was sent");
        return 1.into();
    }
    heat
}

/// `schema` is a text of JSON:
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_JsonSchemaDefinition.html>.
fn shape(format: OutputFormat, losses: &mut Losses) -> Option<Value> {
    match format {
        OutputFormat::Text => None,
        OutputFormat::Schema {
            name,
            description,
            schema,
            strict: _,
        } => {
            let mut definition = Map::new();
            let schema = enforceable(schema, losses);
            definition.insert("schema".to_owned(), schema.to_string().into());
            put(&mut definition, "name", name.map(Value::from));
            put(&mut definition, "description", description.map(Value::from));
            Some(json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": definition}}}))
        }
        OutputFormat::Json => {
            losses.note(
                "format",
                "the target writes JSON by a schema only; ask for it in the prompt too",
            );
            None
        }
        OutputFormat::Other => {
            losses.note(
                "format",
                "the shape of the answer can only be said in the client's format",
            );
            None
        }
    }
}

/// Tiers in Bedrock's words.
fn service_tier(tier: &str, losses: &mut Losses) -> Option<Value> {
    let word = match tier {
        "auto" => return None,
        "standard" | "standard_only" => "default",
        "default" | "flex" | "priority" | "reserved" => tier,
        _ => {
            losses.note("service_tier", "the target has no such tier");
            return None;
        }
    };
    Some(json!({"type": word}))
}

/// The client's labels, for the log of invocations.
fn labels(metadata: Map<String, Value>, losses: &mut Losses) -> Map<String, Value> {
    let is_label = |text: &str| {
        text.chars().count() <= LABEL_MAX
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(letter))
    };
    let mut labels = Map::new();
    for (name, value) in metadata {
        let fits = !name.is_empty() && is_label(&name) && value.as_str().is_some_and(is_label);
        if fits && labels.len() < LABELS_MAX {
            labels.insert(name, value);
        } else {
            losses.note("metadata", "labels are at most 16 short texts of plain characters here");
        }
    }
    labels
}

/// What this format has no word for at all.
fn unsaid(request: &Request, losses: &mut Losses) {
    losses.note_if(
        request.choices.is_some_and(|wanted| wanted > 1),
        "n",
        "the target gives one answer",
    );
    losses.note_if(request.logprobs.is_some(), "logprobs", "the target does not tell them");
    losses.note_if(request.verbosity.is_some(), "verbosity", NO_SETTING);
    losses.note_if(
        !request.modalities.is_empty(),
        "modalities",
        "the target answers in its own kind",
    );
    losses.note_if(
        request.cache_key.is_some(),
        "prompt_cache_key",
        "the target caches where it is marked",
    );
    losses.note_if(request.user.is_some(), "user", "the format has no place for it");
    losses.note_if(request.store == Some(true), "store", "the target keeps no answers");
}

fn extra(extra: Extra, body: &mut Map<String, Value>, losses: &mut Losses) {
    for (name, value) in extra.members {
        if name == "additionalModelRequestFields" {
            merge(body, &name, value);
        } else if OWN.contains(&name.as_str()) {
            body.insert(name, value);
        } else {
            losses.note(name, "only the client's format has it");
        }
    }
}

/// The client's own fields for the model go before ours.
fn merge(body: &mut Map<String, Value>, name: &str, value: Value) {
    match (body.get_mut(name), value) {
        (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
        (_, value) => {
            body.insert(name.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests;
