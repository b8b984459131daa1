//! What an upstream gets.
//!
//! Decisions, and why:
//! - A system message at the very front is `instructions`, its texts joined as paragraphs; all other messages of the system
//!   and of developers stay where they are. The order in the prompt is the same, and a prefix that was the same stays so.
//! - Nothing is stored at the provider unless the client asked for it: other formats do not store by default.
//! - Sealed reasoning is asked for (`include`) where the request speaks of reasoning, or brings sealed reasoning along. Not
//!   always, because models that do not reason answer the mere wish with status 400.
//! - Functions are not `strict` unless the client said so: this format's default is the opposite of the others'.

use std::collections::HashSet;

use domain::Dialect;
use serde_json::{Map, Value, json};

use super::super::{SELF, text_of};
use super::item::{put_back, set};
use crate::hub::{
    BadRequest, Content, Effort, Extra, HostedKind, Losses, OutputFormat, Reasoning, Request, Sampling, ThinkingBudget,
    Tool, Verbosity,
};
use crate::translate::Target;

mod content;
mod items;
mod mcp;
mod tools;

/// The least bound on the output that `OpenAI` accepts ("integer below minimum value. Expected a value >= 16").
const OUTPUT_MIN: u64 = 16;

/// Characters of a user's name that `OpenAI` accepts.
const USER_MAX: usize = 64;

/// The tool that makes pictures.
const PICTURES: &str = "image_generation";

/// Members of Chat Completions that are the same here.
const SHARED: [&str; 4] = [
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "moderation",
];

const LACKING: &str = "Responses has no such member";

/// Tells a request in this format.
pub(crate) fn request(request: Request, target: &Target<'_>, losses: &mut Losses) -> Result<Value, BadRequest> {
    let origin = request.extra.origin;
    let is_own = origin == Some(SELF);
    let is_family = is_own || origin == Some(Dialect::OpenaiChat);
    let wants_seals = wants_seals(&request);
    let Request {
        messages,
        tools,
        mut extra,
        ..
    } = request;
    let shown = shown(&tools);
    let mut body = Map::new();
    body.insert("model".to_owned(), target.model.into());
    let declared = tools::Declared::of(&tools);
    let choice = tools::choice(request.tool_choice, &declared, losses);
    let conversation = items::conversation(messages, &declared, is_family, losses)?;
    set(&mut body, "instructions", conversation.instructions);
    body.insert("input".to_owned(), conversation.input.into());
    let mut tools = tools::tools(tools, is_own, losses);
    // Pictures are made by a tool here.
    let is_image = |kind: &String| kind == "image";
    let has_tool = tools.iter().any(|tool| text_of(tool, "type") == Some(PICTURES));
    if request.modalities.iter().any(is_image) && !has_tool {
        tools.push(json!({ "type": PICTURES }));
    }
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.into());
    }
    set(&mut body, "tool_choice", choice);
    set(&mut body, "parallel_tool_calls", request.parallel_tools);
    set(
        &mut body,
        "max_output_tokens",
        bound(request.max_output, is_own, losses),
    );
    sampling(&mut body, request.sampling, losses);
    let left = left(&mut extra, "reasoning");
    set(&mut body, "reasoning", reasoning(request.reasoning, left));
    let left = self::left(&mut extra, "text");
    set(
        &mut body,
        "text",
        text(request.format, request.verbosity, left, origin, losses),
    );
    include(&mut body, &mut extra, wants_seals, shown, request.logprobs);
    if request.stream {
        body.insert("stream".to_owned(), true.into());
    }
    set(&mut body, "service_tier", tier(request.service_tier, is_family, losses));
    set(&mut body, "user", request.user.map(|user| shortened(user, losses)));
    if !request.metadata.is_empty() {
        body.insert("metadata".to_owned(), Value::Object(request.metadata));
    }
    set(&mut body, "store", request.store.or((!is_own).then_some(false)));
    set(&mut body, "previous_response_id", request.previous);
    set(&mut body, "prompt_cache_key", request.cache_key);
    losses.note_if(
        request.choices.is_some_and(|n| n > 1),
        "n",
        "Responses gives one answer",
    );
    losses.note_if(request.cache.is_some(), "cache_control", "OpenAI caches by itself");
    let other_kinds = request.modalities.iter().any(|kind| kind != "text" && !is_image(kind));
    losses.note_if(other_kinds, "modalities", LACKING);
    extras(&mut body, extra, losses);
    for name in &target.quirks.unsupported {
        if body.remove(name).is_some() {
            losses.note(name.clone(), "the provider does not take it");
        }
    }
    Ok(Value::Object(body))
}

/// Whether seals of reasoning are asked for.
fn wants_seals(request: &Request) -> bool {
    let reasons = request.reasoning.as_ref().is_some_and(|reasoning| {
        let is_off = reasoning.effort == Some(Effort::None) || reasoning.budget == Some(ThinkingBudget::Off);
        !is_off && (reasoning.effort.is_some() || reasoning.budget.is_some() || reasoning.visible == Some(true))
    });
    let mut parts = request.messages.iter().flat_map(|message| &message.parts);
    let brings = parts.any(|part| match &part.content {
        Content::Thinking(thinking) => {
            let seal = thinking.signature.as_ref();
            seal.is_some_and(|seal| seal.for_upstream(SELF).is_some())
        }
        _ => false,
    });
    reasons || brings
}

fn bound(bound: Option<u64>, is_own: bool, losses: &mut Losses) -> Option<u64> {
    let is_low = !is_own && bound.is_some_and(|bound| bound < OUTPUT_MIN);
    losses.note_if(is_low, "max_output_tokens", "raised to 16, the least that OpenAI takes");
    bound.map(|bound| if is_low { OUTPUT_MIN } else { bound })
}

fn sampling(body: &mut Map<String, Value>, sampling: Sampling, losses: &mut Losses) {
    set(body, "temperature", sampling.temperature);
    set(body, "top_p", sampling.top_p);
    let lacking = [
        ("top_k", sampling.top_k.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some()),
        ("presence_penalty", sampling.presence_penalty.is_some()),
        ("seed", sampling.seed.is_some()),
        ("stop", !sampling.stop.is_empty()),
        ("logit_bias", sampling.logit_bias.is_some()),
    ];
    for (name, is_lost) in lacking {
        losses.note_if(is_lost, name, LACKING);
    }
}

/// What the decoder could not say of one of our own objects.
fn left(extra: &mut Extra, name: &str) -> Map<String, Value> {
    let is_own = extra.origin == Some(SELF);
    let is_object = extra.members.get(name).is_some_and(Value::is_object);
    match extra.members.shift_remove(name).filter(|_| is_own && is_object) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn reasoning(reasoning: Option<Reasoning>, left: Map<String, Value>) -> Option<Value> {
    let reasoning = reasoning.unwrap_or_default();
    let mut members = Map::new();
    let effort = reasoning.effort.or(match reasoning.budget {
        Some(ThinkingBudget::Off) => Some(Effort::None),
        Some(ThinkingBudget::Tokens(tokens)) => Some(Effort::of_budget(tokens)),
        Some(ThinkingBudget::Adaptive) | None => None,
    });
    set(&mut members, "effort", effort.map(Effort::name));
    let wants_summary = reasoning.visible == Some(true) && effort != Some(Effort::None);
    let summary = reasoning.summary.filter(|_| reasoning.visible != Some(false));
    set(
        &mut members,
        "summary",
        summary.or_else(|| wants_summary.then(|| "auto".to_owned())),
    );
    members.extend(left);
    (!members.is_empty()).then_some(Value::Object(members))
}

fn text(
    format: Option<OutputFormat>,
    verbosity: Option<Verbosity>,
    left: Map<String, Value>,
    origin: Option<Dialect>,
    losses: &mut Losses,
) -> Option<Value> {
    let mut members = Map::new();
    let format = format.and_then(|format| match format {
        OutputFormat::Text => Some(json!({"type": "text"})),
        OutputFormat::Json => Some(json!({"type": "json_object"})),
        OutputFormat::Schema {
            name,
            description,
            schema,
            strict,
        } => {
            crate::schema::note_unenforced(strict, origin, losses);
            let mut members = Map::new();
            members.insert("type".to_owned(), "json_schema".into());
            // Others have no name for a schema; here it must have one.
            let name = name.unwrap_or_else(|| "response".to_owned());
            members.insert("name".to_owned(), name.into());
            set(&mut members, "description", description);
            members.insert("schema".to_owned(), schema);
            set(&mut members, "strict", strict);
            Some(Value::Object(members))
        }
        OutputFormat::Other => {
            losses.note("response_format", "Responses has no such shape");
            None
        }
    });
    set(&mut members, "format", format);
    let word = verbosity.map(|verbosity| match verbosity {
        Verbosity::Low => "low",
        Verbosity::Medium => "medium",
        Verbosity::High => "high",
    });
    set(&mut members, "verbosity", word);
    members.extend(left);
    (!members.is_empty()).then_some(Value::Object(members))
}

/// What came of the provider's tools, which it shows only where it is asked to; others always show it, so their clients
/// expect it. Chat Completions has no place for it.
fn shown(tools: &[Tool]) -> Vec<&'static str> {
    let foreign = tools.iter().filter_map(|tool| match tool {
        Tool::Hosted(hosted) if !matches!(hosted.origin, SELF | Dialect::OpenaiChat) => Some(&hosted.kind),
        _ => None,
    });
    let wishes = foreign.filter_map(|kind| match kind {
        HostedKind::WebSearch { .. } => Some("web_search_call.action.sources"),
        HostedKind::CodeExecution => Some("code_interpreter_call.outputs"),
        HostedKind::WebFetch | HostedKind::Mcp(_) | HostedKind::Other => None,
    });
    wishes.collect()
}

fn include(
    body: &mut Map<String, Value>,
    extra: &mut Extra,
    seals: bool,
    shown: Vec<&'static str>,
    logprobs: Option<u64>,
) {
    let mut include: Vec<Value> = Vec::new();
    if extra.origin == Some(SELF)
        && let Some(Value::Array(wishes)) = extra.members.shift_remove("include")
    {
        include = wishes;
    }
    if seals {
        include.push("reasoning.encrypted_content".into());
    }
    include.extend(shown.into_iter().map(Value::from));
    if let Some(alternatives) = logprobs {
        include.push("message.output_text.logprobs".into());
        body.insert("top_logprobs".to_owned(), alternatives.into());
    }
    let mut seen = HashSet::new();
    include.retain(|wish| seen.insert(wish.to_string()));
    if !include.is_empty() {
        body.insert("include".to_owned(), include.into());
    }
}

fn tier(tier: Option<String>, is_family: bool, losses: &mut Losses) -> Option<String> {
    let tier = tier?;
    match tier.as_str() {
        "auto" | "default" | "flex" | "priority" => Some(tier),
        _ if is_family => Some(tier),
        "standard" | "standard_only" => Some("default".to_owned()),
        _ => {
            losses.note("service_tier", "OpenAI has no tier of this name");
            None
        }
    }
}

fn shortened(user: String, losses: &mut Losses) -> String {
    if user.chars().count() <= USER_MAX {
        return user;
    }
    losses.note("user", "cut to 64 characters, the most that OpenAI takes");
    user.chars().take(USER_MAX).collect()
}

/// Members that only some formats have.
fn extras(body: &mut Map<String, Value>, mut extra: Extra, losses: &mut Losses) {
    if extra.origin == Some(Dialect::OpenaiChat) {
        for name in SHARED {
            set(body, name, extra.members.shift_remove(name));
        }
    }
    put_back(body, "request", extra, losses);
}
