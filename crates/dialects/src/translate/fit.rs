//! A request cut to what its target takes, where the target is known to refuse more than its format does.
//!
//! A format is spoken by many models. One that does not think answers 400 to a wish for thinking, one that does answers 400
//! to a temperature (OpenAI's), and a provider may refuse members that all others know. In pass-through that is between the
//! client and its provider; here the client did not choose the provider, and meant something that can still be answered.
//! Everything here is data of the provider and the catalog; what is taken out is noted.

use serde_json::{Map, Value};

use super::Target;
use crate::hub::Losses;

mod chat;
mod effort;

/// How requests wish for thinking: Chat, Responses, Anthropic.
const WISHES: [&str; 3] = ["reasoning_effort", "reasoning", "thinking"];

/// What only a model that thinks can be asked to include (Responses).
const SEALED_REASONING: &str = "reasoning.encrypted_content";

/// Takes out what the target refuses.
pub(super) fn fit(body: &mut Value, target: &Target<'_>, losses: &mut Losses) {
    let Value::Object(body) = body else { return };
    for member in &target.quirks.unsupported {
        take_out(body, member, "the provider does not take it", losses);
    }
    for (ours, theirs) in &target.quirks.renamed {
        if let Some(value) = body.shift_remove(ours) {
            body.insert(theirs.clone(), value);
        }
    }
    chat::fit(body, target.quirks, losses);
    effort::fit(body, target.model, losses);
    match target.thinks {
        Some(true) if !is_told_not_to_think(body) => {
            for member in &target.quirks.thinking_models_refuse {
                take_out(body, member, "the provider's models that think do not take it", losses);
            }
        }
        Some(false) => {
            for member in WISHES {
                take_out(body, member, "the model does not think", losses);
            }
            if let Some(include) = body.get_mut("include").and_then(Value::as_array_mut) {
                include.retain(|wanted| wanted != SEALED_REASONING);
                if include.is_empty() {
                    body.shift_remove("include");
                }
            }
        }
        Some(true) | None => {}
    }
}

fn take_out(body: &mut Map<String, Value>, member: &str, why: &'static str, losses: &mut Losses) {
    if body.shift_remove(member).is_some() {
        losses.note(member.to_owned(), why);
    }
}

/// Effort `none` makes of a model one that does not think, which takes everything.
fn is_told_not_to_think(body: &Map<String, Value>) -> bool {
    let chat = body.get("reasoning_effort");
    let responses = body.get("reasoning").and_then(|reasoning| reasoning.get("effort"));
    chat.or(responses).is_some_and(|effort| effort == "none")
}

#[cfg(test)]
mod tests {
    use domain::provider::Quirks;
    use serde_json::json;

    use super::*;

    fn fitted(thinks: Option<bool>, mut body: Value) -> (Value, usize) {
        let quirks = Quirks {
            unsupported: vec!["seed".to_owned()],
            thinking_models_refuse: vec!["temperature".to_owned()],
            ..Quirks::default()
        };
        let target = Target {
            model: "m",
            max_output: 0,
            thinks,
            include_usage: false,
            quirks: &quirks,
        };
        let mut losses = Losses::default();
        fit(&mut body, &target, &mut losses);
        (body, losses.into_vec().len())
    }

    #[test]
    fn nothing_is_taken_from_a_model_that_nobody_knows() {
        let body = json!({"temperature": 1, "reasoning_effort": "low"});
        assert_eq!(fitted(None, body.clone()), (body, 0));
        assert_eq!(fitted(None, json!({"seed": 1})), (json!({}), 1));
    }

    #[test]
    fn a_member_may_have_another_name() {
        let quirks = Quirks {
            renamed: [("seed".to_owned(), "random_seed".to_owned())].into(),
            ..Quirks::default()
        };
        let target = Target {
            model: "m",
            max_output: 0,
            thinks: None,
            include_usage: false,
            quirks: &quirks,
        };
        let mut body = json!({"seed": 7});
        fit(&mut body, &target, &mut Losses::default());
        assert_eq!(body, json!({"random_seed": 7}));
    }

    #[test]
    fn a_model_that_thinks_takes_no_temperature_unless_it_shall_not_think() {
        assert_eq!(fitted(Some(true), json!({"temperature": 1})), (json!({}), 1));
        for quiet in [
            json!({"temperature": 1, "reasoning_effort": "none"}),
            json!({"temperature": 1, "reasoning": {"effort": "none"}}),
        ] {
            assert_eq!(fitted(Some(true), quiet.clone()), (quiet, 0));
        }
    }

    #[test]
    fn one_that_cannot_stop_thinking_takes_no_temperature_either() {
        let quirks = Quirks {
            thinking_models_refuse: vec!["temperature".to_owned()],
            ..Quirks::default()
        };
        let target = Target {
            model: "gpt-5",
            max_output: 0,
            thinks: Some(true),
            include_usage: false,
            quirks: &quirks,
        };
        let (mut body, mut losses) = (
            json!({"temperature": 1, "reasoning": {"effort": "none"}}),
            Losses::default(),
        );
        fit(&mut body, &target, &mut losses);
        assert_eq!(body, json!({"reasoning": {"effort": "minimal"}}));
        assert_eq!(losses.into_vec().len(), 2);
    }

    #[test]
    fn a_model_that_does_not_think_is_not_asked_to() {
        let body =
            json!({"temperature": 1, "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]});
        assert_eq!(fitted(Some(false), body), (json!({"temperature": 1}), 1));
    }
}
