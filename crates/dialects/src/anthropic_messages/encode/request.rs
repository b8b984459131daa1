//! A request, as an upstream of Anthropic's format gets it.
//!
//! What models take differs by their version ([`model`]): how they are told to think, and whether they take sampling
//! parameters at all. A request that the upstream would refuse is worth nothing, so what it would refuse is left out or
//! bent, and noted.

use serde_json::{Value, json};

use super::OWN;
use super::blocks::{Members, cache_control, put_back};
use crate::hub::{BadRequest, Losses, OutputFormat, Request};
use crate::limits::MAX_TOKENS_DEFAULT;
use crate::translate::Target;

mod ids;
mod marks;
mod mcp;
mod media;
mod messages;
mod model;
mod parts;
mod sampling;
mod schema;
mod thinking;
mod tools;

use ids::Ids;
use model::Model;

/// Writes a request.
pub(crate) fn request(mut request: Request, target: &Target<'_>, losses: &mut Losses) -> Result<Value, BadRequest> {
    if request.previous.is_some() {
        return Err(BadRequest::new(
            "previous_response_id",
            "Anthropic keeps no answers; send the conversation instead",
        ));
    }
    note_unknown(&request, losses);
    let is_own = request.extra.origin == Some(OWN);
    let model = Model::of(target.model);
    let mut ids = Ids::default();
    let (max_tokens, is_bound_by_client) = max_tokens(&request, target, losses);
    let mut body = Members::new();
    body.insert("model".to_owned(), target.model.into());
    let mut turns = messages::encode(std::mem::take(&mut request.messages), is_own, &mut ids, losses)?;
    // Where Anthropic's models are served by others, nobody calls remote servers.
    let takes_servers = !target.quirks.unsupported.iter().any(|name| name == mcp::SERVERS);
    let mut tools = tools::encode(&mut request, model, takes_servers, losses);
    let marked = &mut [&mut tools.offered, &mut turns.system, &mut turns.messages];
    marks::thin_out(marked, request.cache.is_some(), losses);
    let plan = thinking::plan(
        &thinking::Ask {
            reasoning: request.reasoning.as_ref(),
            model,
            is_own,
            max_tokens,
            max_is_fixed: is_bound_by_client,
            max_output: target.max_output,
            forces_tool: tools.forces,
            lacks_thoughts: turns.lacks_thoughts,
        },
        losses,
    );
    body.insert("max_tokens".to_owned(), plan.max_tokens.into());
    if let Some(mark) = &request.cache {
        body.insert("cache_control".to_owned(), cache_control(mark, losses));
    }
    insert_list(&mut body, "system", turns.system);
    body.insert("messages".to_owned(), turns.messages.into());
    insert_list(&mut body, "tools", tools.offered);
    insert_list(&mut body, mcp::SERVERS, tools.servers);
    insert(&mut body, "tool_choice", tools.choice);
    sampling::encode(request.sampling, model, plan.thinks, &mut body, losses);
    let format = request.format.take().filter(|format| {
        let is_lost = !is_own && !model.takes_schemas() && matches!(format, OutputFormat::Schema { .. });
        losses.note_if(is_lost, "response_format", "the model cannot be held to a schema");
        !is_lost
    });
    let config = output_config(format, plan.effort, losses);
    insert(&mut body, "thinking", plan.thinking);
    insert(&mut body, "output_config", config);
    insert(&mut body, "metadata", request.user.map(|user| json!({"user_id": user})));
    let tier = request.service_tier.and_then(|tier| service_tier(&tier, losses));
    insert(&mut body, "service_tier", tier.map(Value::from));
    if request.stream {
        body.insert("stream".to_owned(), true.into());
    }
    put_back(&mut body, request.extra, losses);
    for name in &target.quirks.unsupported {
        if body.shift_remove(name).is_some() {
            losses.note(name.clone(), "the provider answers it with an error");
        }
    }
    Ok(Value::Object(body))
}

fn insert(body: &mut Members, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

fn insert_list(body: &mut Members, name: &str, list: Vec<Value>) {
    if !list.is_empty() {
        body.insert(name.to_owned(), list.into());
    }
}

/// Notes what the format has no word for.
fn note_unknown(request: &Request, losses: &mut Losses) {
    const NONE: &str = "Anthropic's format has none";
    let sampling = &request.sampling;
    losses.note_if(sampling.frequency_penalty.is_some(), "frequency_penalty", NONE);
    losses.note_if(sampling.presence_penalty.is_some(), "presence_penalty", NONE);
    losses.note_if(sampling.seed.is_some(), "seed", NONE);
    losses.note_if(sampling.logit_bias.is_some(), "logit_bias", NONE);
    losses.note_if(request.logprobs.is_some(), "logprobs", NONE);
    losses.note_if(
        request.choices.is_some_and(|choices| choices > 1),
        "n",
        "Anthropic gives one answer to a request",
    );
    losses.note_if(request.verbosity.is_some(), "verbosity", NONE);
    losses.note_if(
        request.modalities.iter().any(|kind| kind != "text"),
        "modalities",
        "Anthropic's models answer in text only",
    );
    losses.note_if(
        request.cache_key.is_some(),
        "prompt_cache_key",
        "Anthropic finds its caches by the prompt itself",
    );
    losses.note_if(
        request.store == Some(true),
        "store",
        "Anthropic keeps no answers to be fetched later",
    );
    losses.note_if(
        !request.metadata.is_empty(),
        "metadata",
        "Anthropic takes the user's id only, no labels",
    );
}

/// The bound on the output, which the format demands, and whether the client set it.
fn max_tokens(request: &Request, target: &Target<'_>, losses: &mut Losses) -> (u64, bool) {
    let most = Some(target.max_output).filter(|most| *most > 0);
    match (request.max_output, most) {
        (Some(wanted), Some(most)) if wanted > most => {
            losses.note("max_tokens", "lowered to the most that the model generates");
            (most, true)
        }
        (Some(wanted), _) => (wanted, true),
        (None, most) => (most.unwrap_or(MAX_TOKENS_DEFAULT), false),
    }
}

fn output_config(format: Option<OutputFormat>, effort: Option<&'static str>, losses: &mut Losses) -> Option<Value> {
    let mut config = Members::new();
    insert(&mut config, "effort", effort.map(Value::from));
    match format {
        None | Some(OutputFormat::Text) => {}
        Some(OutputFormat::Json) => losses.note(
            "response_format",
            "Anthropic's JSON answers need a schema; ask for JSON in the prompt, or give one",
        ),
        // The name is a label that OpenAI requires; it says nothing.
        Some(OutputFormat::Schema {
            description, schema, ..
        }) => {
            losses.note_if(
                description.is_some(),
                "response_format.description",
                "Anthropic takes the schema only",
            );
            let schema = crate::schema::enforceable(schema, losses);
            config.insert("format".to_owned(), json!({"type": "json_schema", "schema": schema}));
        }
        Some(OutputFormat::Other) => losses.note("response_format", "only the client's format knows it"),
    }
    (!config.is_empty()).then(|| config.into())
}

fn service_tier(tier: &str, losses: &mut Losses) -> Option<&'static str> {
    match tier {
        "auto" | "priority" => Some("auto"),
        "standard_only" | "default" | "standard" => Some("standard_only"),
        _ => {
            losses.note(
                "service_tier",
                "Anthropic's are `auto` and `standard_only`; served as the account usually is",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
