//! Efforts that a model of OpenAI takes: one that it does not know is a 400, and a client of another format never named it.
//!
//! Which there are differs from model to model. None before gpt-5.1 can be told not to think at all
//! (<https://platform.openai.com/docs/api-reference/responses/create>, `reasoning.effort`), and lists are told in refusals
//! ("Supported values are: …"): <https://github.com/openai/openai-agents-python/issues/2089> (gpt-5.1),
//! <https://github.com/openai/codex/issues/6647> (gpt-5.1-codex), <https://github.com/openai/codex/issues/2296> (gpt-5),
//! <https://github.com/sst/models.dev/pull/2296> (gpt-5.2 and later). A model that is not in here is told what was wished for.

use serde_json::{Map, Value};

use crate::hub::Losses;

/// From no thinking to the most.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// Models by the beginnings of their names, the longer before the shorter, and the least and the most that they take.
const MODELS: [(&str, &[&str]); 18] = [
    ("gpt-5-chat", &[]),
    ("gpt-5-pro", &["high"]),
    ("gpt-5-codex", &["low", "medium", "high"]),
    ("gpt-5.1-codex-max", &["low", "medium", "high", "xhigh"]),
    ("gpt-5.1-codex", &["low", "medium", "high"]),
    ("gpt-5.1-chat", &[]),
    ("gpt-5.1", &["none", "low", "medium", "high"]),
    ("gpt-5.2-pro", &["medium", "high", "xhigh"]),
    ("gpt-5.2-chat", &[]),
    ("gpt-5.2", &["none", "low", "medium", "high", "xhigh"]),
    ("gpt-5.3-codex", &["low", "medium", "high", "xhigh"]),
    ("gpt-5.4-pro", &["medium", "high", "xhigh"]),
    ("gpt-5.4", &["none", "low", "medium", "high", "xhigh"]),
    ("gpt-5.", &[]),
    ("gpt-5", &["minimal", "low", "medium", "high"]),
    ("o1", &["low", "medium", "high"]),
    ("o3", &["low", "medium", "high"]),
    ("o4", &["low", "medium", "high"]),
];

/// Tells the least effort that the model takes and that is not below the one that is wished for, else its most.
pub(super) fn fit(body: &mut Map<String, Value>, model: &str, losses: &mut Losses) {
    let taken = taken(model);
    if taken.is_empty() {
        return;
    }
    if let Some(effort) = body.get_mut("reasoning_effort") {
        fit_effort(effort, taken, "reasoning_effort", losses);
    }
    if let Some(effort) = body
        .get_mut("reasoning")
        .and_then(|reasoning| reasoning.get_mut("effort"))
    {
        fit_effort(effort, taken, "reasoning.effort", losses);
    }
}

fn fit_effort(effort: &mut Value, taken: &[&str], member: &str, losses: &mut Losses) {
    let rank = |name: &str| EFFORTS.iter().position(|known| *known == name);
    let Some(wished) = effort.as_str().and_then(rank) else {
        return;
    };
    let enough = taken.iter().find(|one| rank(one) >= Some(wished));
    if let Some(best) = enough.or(taken.last())
        && effort != best
    {
        *effort = Value::from(*best);
        losses.note(
            member.to_owned(),
            "the model does not take this effort; the nearest that it takes",
        );
    }
}

/// What a model takes; empty where nobody knows.
fn taken(model: &str) -> &'static [&'static str] {
    let name = model.rsplit('/').next().unwrap_or(model);
    let is_it = |beginning: &str| {
        let rest = name
            .get(..beginning.len())
            .filter(|head| head.eq_ignore_ascii_case(beginning))
            .and_then(|head| name.get(head.len()..));
        rest.is_some_and(|rest| beginning.ends_with('.') || rest.is_empty() || rest.starts_with('-'))
    };
    let found = MODELS.iter().find(|(beginning, _)| is_it(beginning));
    found.map_or(&[], |(_, efforts)| efforts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(model: &str, effort: &str) -> (String, usize) {
        let mut losses = Losses::default();
        let mut both = [
            json!({"reasoning_effort": effort}),
            json!({"reasoning": {"effort": effort}}),
        ];
        for body in &mut both {
            fit(body.as_object_mut().unwrap(), model, &mut losses);
        }
        assert_eq!(both[0]["reasoning_effort"], both[1]["reasoning"]["effort"]);
        (
            both[0]["reasoning_effort"].as_str().unwrap().to_owned(),
            losses.into_vec().len(),
        )
    }

    #[test]
    fn the_nearest_that_the_model_takes() {
        for (model, wished, fitted) in [
            ("gpt-5", "none", "minimal"),
            ("openai/gpt-5-mini-2025-08-07", "none", "minimal"),
            ("gpt-5-pro", "none", "high"),
            ("gpt-5-codex", "none", "low"),
            ("o3", "none", "low"),
            ("o4-mini", "max", "high"),
            ("gpt-5.1", "minimal", "low"),
            ("GPT-5.1", "xhigh", "high"),
            ("gpt-5.1-codex-max", "max", "xhigh"),
        ] {
            assert_eq!(told(model, wished), (fitted.to_owned(), 2), "{model}");
        }
    }

    #[test]
    fn what_a_model_takes_and_what_nobody_knows_stay() {
        for (model, wished) in [
            ("gpt-5.1", "none"),
            ("gpt-5.4-mini", "xhigh"),
            ("gpt-5", "minimal"),
            ("gpt-5.9", "max"),
            ("gpt-55", "none"),
            ("o30", "none"),
            ("gpt-5-chat-latest", "none"),
            ("kimi-k2", "none"),
            ("gpt-5", "immense"),
        ] {
            assert_eq!(told(model, wished), (wished.to_owned(), 0), "{model}");
        }
    }
}
