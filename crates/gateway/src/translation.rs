//! Where the target speaks another format than the client.
//!
//! The request is read into the common vocabulary once per call and told to each target that is tried; what comes back is
//! told in the client's format. What a format cannot say is kept with the attempt, so that nobody has to guess why an
//! answer is worse than expected.

use std::time::Duration;

use bytes::Bytes;
use dialects::{Asked, Encoded, Expected, Loss, Question, Reply, Report};
use domain::snapshot::Target;
use domain::{Dialect, Failure, FailureClass, Operation, Surface};
use http::HeaderMap;
use metering::estimate;

use crate::admit::Call;
use crate::fetch;
use crate::recovery::Resumption;

/// How headers begin that belong to one provider's API or SDK: another provider would not know them, or take them amiss.
const FOREIGN_HEADERS: [&str; 5] = ["anthropic-", "openai-", "x-goog-", "x-stainless-", "x-app"];

/// Reads the call's request into the common vocabulary, unless that was done for an earlier attempt.
pub(crate) fn read(call: &mut Call) -> Result<(), Failure> {
    if call.question.is_some() {
        return Ok(());
    }
    let id = call.settlement.call.to_string().replace('-', "");
    let asked = Asked {
        surface: call.surface(),
        model: call
            .path
            .model
            .as_deref()
            .or(call.facts.model.as_deref())
            .unwrap_or_default(),
        stream: call.stream,
        json_array: call.json_array,
        id: &id,
        created: call.started.0.div_euclid(1_000_000),
    };
    let mut question = Question::read(&asked, &call.body).map_err(|error| untranslatable(&error))?;
    if let Some(own) = &call.instructions {
        question.repeat_instructions(own.clone());
    }
    let recalled = call.recalled.as_deref();
    let previous = recalled.and_then(|recalled| recalled.previous.as_deref());
    question.keep(recalled.is_some_and(|recalled| recalled.input.is_some()), previous);
    question.reply.expected = (call.surface().operation == Operation::Chat).then(|| Expected {
        input: estimate::input_tokens(call.settlement.body_bytes()),
        output_tokens: estimate::output_tokens,
    });
    call.question = Some(Box::new(question));
    Ok(())
}

/// Makes the request ready to be told in a dialect: it is read, and what this target wants as bytes is fetched within the
/// time that is left.
pub(crate) async fn prepare(call: &mut Call, target: &Target, dialect: Dialect, left: Duration) -> Result<(), Failure> {
    read(call)?;
    let question = call.question.as_ref();
    let wanted = question.map(|question| question.wanted(dialect, &described(target)));
    match wanted {
        // Fetching is rare, and its future large.
        Some(wanted) if !wanted.is_empty() => Box::pin(fetch::supply(call, wanted, left)).await,
        _ => Ok(()),
    }
}

/// Tells the request to a target.
pub(crate) fn tell(call: &Call, target: &Target, dialect: Dialect) -> Result<Encoded, Failure> {
    let question = call
        .question
        .as_ref()
        .ok_or_else(|| lacking("the request was not read"))?;
    question
        .refuse_references(dialect)
        .map_err(|error| untranslatable(&error))?;
    // What the request names may be at the upstream that it is pinned to, whatever its format.
    if call.pinned().is_none() {
        question
            .refuse_foreign_files(dialect)
            .map_err(|error| untranslatable(&error))?;
    }
    let told = match call
        .resumption
        .as_deref()
        .filter(|resumption| !resumption.beginning.told.is_empty())
    {
        None => question.encode(dialect, &described(target)),
        Some(Resumption { beginning }) => {
            let tokens = estimate::output_tokens(beginning.told.len() as u64);
            question.encode_rest(dialect, &described(target), beginning, tokens)
        }
    };
    told.map_err(|error| untranslatable(&error))
}

/// What encoders must know of a target.
fn described(target: &Target) -> dialects::Target<'_> {
    let provider = &target.upstream.provider;
    dialects::Target {
        model: &target.model,
        max_output: target.max_output,
        thinks: target.thinks,
        include_usage: provider.include_usage,
        quirks: &provider.quirks,
    }
}

/// What the answer to the call needs.
pub(crate) fn reply(call: &Call) -> Result<&Reply, Failure> {
    let question = call.question.as_ref();
    question
        .map(|question| &question.reply)
        .ok_or_else(|| lacking("the request was not read"))
}

/// Tells a whole answer to the client.
pub(crate) fn answer(call: &Call, served: Surface, body: &Bytes, report: &Report) -> Result<Encoded, Failure> {
    let question = call
        .question
        .as_ref()
        .ok_or_else(|| lacking("the request was not read"))?;
    question
        .answer(served.dialect, call.dialect(), body, report)
        .map_err(|nonsense| Failure::new(FailureClass::Nonsense, nonsense.to_string()))
}

/// The client's headers that any provider may get.
pub(crate) fn neutral_headers(headers: &HeaderMap) -> HeaderMap {
    let is_foreign = |name: &str| FOREIGN_HEADERS.iter().any(|start| name.starts_with(start));
    headers
        .iter()
        .filter(|(name, _)| !is_foreign(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Losses as the receipt keeps them.
pub(crate) fn shown(losses: &[Loss]) -> Vec<String> {
    losses.iter().map(ToString::to_string).collect()
}

fn untranslatable(error: &dialects::BadRequest) -> Failure {
    Failure::new(FailureClass::Untranslatable, format!("the request body: {error}"))
}

fn lacking(what: &'static str) -> Failure {
    Failure::new(FailureClass::Untranslatable, what)
}
