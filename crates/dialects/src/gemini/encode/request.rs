//! A request as a Gemini upstream gets it. The model and whether to stream stand in the path.

use domain::Dialect;
use serde_json::{Map, Value};

use super::model::Model;
use super::{config, content, put, restore, tools, voice};
use crate::hub::{BadRequest, Losses, Request, Tool};
use crate::translate::Target;

/// Writes it.
pub(crate) fn request(mut request: Request, target: &Target<'_>, losses: &mut Losses) -> Result<Value, BadRequest> {
    if let Some(previous) = &request.previous {
        let problem =
            format!("Gemini keeps no answers, so `{previous}` cannot be continued: send the whole conversation");
        return Err(BadRequest::new("previous_response_id", problem));
    }
    let model = Model::of(target.model);
    let is_own = request.extra.origin == Some(Dialect::Gemini);
    unsaid(&request, losses);
    let mut body = Map::new();
    let messages = std::mem::take(&mut request.messages);
    let conversation = content::conversation(messages, model, losses)?;
    put(&mut body, "systemInstruction", conversation.system);
    put(&mut body, "contents", Some(conversation.contents));
    pictures(&mut request, target.model, losses);
    tools::write(&mut body, &mut request, model, losses);
    let speech = voice::speech(&mut request, losses);
    let mut config = config::write(&mut request, target, is_own, losses);
    put(&mut config, "speechConfig", speech);
    put(&mut body, "generationConfig", (!config.is_empty()).then_some(config));
    put(&mut body, "serviceTier", tier(request.service_tier.as_deref(), losses));
    restore(&mut body, request.extra, losses);
    for name in &target.quirks.unsupported {
        leave_out(&mut body, name, losses);
    }
    Ok(Value::Object(body))
}

/// OpenAI's tool that makes pictures: a model of Google's that can make them does so itself. Others refuse to be asked.
fn pictures(request: &mut Request, model: &str, losses: &mut Losses) {
    if !model.contains("image") {
        return;
    }
    let is_tool = |tool: &Tool| match tool {
        Tool::Hosted(hosted) if hosted.origin == Dialect::OpenaiResponses => {
            hosted.native.get("type").is_some_and(|kind| kind == "image_generation")
        }
        _ => false,
    };
    let (taken, left) = std::mem::take(&mut request.tools).into_iter().partition(is_tool);
    request.tools = left;
    for tool in Vec::<Tool>::into_iter(taken) {
        if let Tool::Hosted(hosted) = &tool {
            for name in hosted.unsaid(&[]) {
                losses.note(format!("tools.{name}"), "Gemini makes pictures as it likes");
            }
        }
        if !request.modalities.iter().any(|kind| kind == "image") {
            request.modalities.push("image".to_owned());
        }
    }
}

/// What Gemini has no word for at all.
fn unsaid(request: &Request, losses: &mut Losses) {
    losses.note_if(
        request.verbosity.is_some(),
        "verbosity",
        "Gemini cannot be told how long-winded to be",
    );
    losses.note_if(request.user.is_some(), "user", "Gemini does not take the client's user");
    losses.note_if(
        !request.metadata.is_empty(),
        "metadata",
        "Gemini does not take labels of the client",
    );
    losses.note_if(request.store == Some(true), "store", "Gemini keeps no answers");
    losses.note_if(request.cache.is_some(), "cache_control", "Gemini caches by itself");
    losses.note_if(
        request.cache_key.is_some(),
        "prompt_cache_key",
        "Gemini caches by itself",
    );
    losses.note_if(
        request.parallel_tools == Some(false),
        "parallel_tool_calls",
        "Gemini cannot be kept from calling several functions at once",
    );
}

fn tier<'a>(tier: Option<&'a str>, losses: &mut Losses) -> Option<&'a str> {
    match tier? {
        "auto" => None,
        "default" | "standard" | "standard_only" => Some("standard"),
        known @ ("flex" | "priority") => Some(known),
        _ => {
            losses.note("service_tier", "Gemini has no tier of this name");
            None
        }
    }
}

/// What the provider would answer with an error.
fn leave_out(body: &mut Map<String, Value>, name: &str, losses: &mut Losses) {
    let inner = body.get_mut("generationConfig").and_then(Value::as_object_mut);
    let in_config = inner.and_then(|config| config.shift_remove(name)).is_some();
    if body.shift_remove(name).is_some() || in_config {
        losses.note(name.to_owned(), "the provider does not take it");
    }
}
