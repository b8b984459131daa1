//! Thinking and sampling, which the model's version decides.

use serde_json::{Value, json};

use super::{NEW, OLD, hello, reasoning};
use crate::anthropic_messages::fixtures::told;
use crate::hub::{Effort, OutputFormat, Reasoning, Request, Sampling, ThinkingBudget};

#[test]
fn budgets_fit_between_their_least_and_the_bound() {
    let ask = |effort, budget, max_output, most| {
        let request = Request {
            reasoning: reasoning(effort, budget),
            max_output,
            ..hello()
        };
        let (value, losses) = told(request, OLD, most);
        let budget = value["thinking"]["budget_tokens"].as_u64();
        (budget, value["max_tokens"].as_u64().unwrap(), losses.len())
    };
    let tokens = |count| Some(ThinkingBudget::Tokens(count));
    assert_eq!(ask(Some(Effort::Medium), None, None, 0), (Some(8_192), 16_384, 0));
    assert_eq!(ask(Some(Effort::High), None, None, 32_000), (Some(24_576), 32_000, 0));
    assert_eq!(ask(None, tokens(50), None, 0), (Some(1_024), 9_216, 1));
    assert_eq!(ask(None, tokens(5_000), Some(4_000), 0), (Some(2_976), 4_000, 1));
    assert_eq!(ask(None, tokens(5_000), Some(5_001), 0), (Some(5_000), 5_001, 0));
    assert_eq!(ask(None, tokens(5_000), Some(1_500), 0), (None, 1_500, 1));
    assert_eq!(ask(Some(Effort::High), None, None, 8_192), (Some(7_168), 8_192, 1));
}

#[test]
fn thinking_is_asked_for_as_the_model_takes_it() {
    let ask = |effort, budget, model: &str| {
        let request = Request {
            reasoning: reasoning(effort, budget),
            ..hello()
        };
        let (value, losses) = told(request, model, 0);
        (value["thinking"].clone(), value["output_config"].clone(), losses.len())
    };
    let adaptive = json!({"type": "adaptive"});
    let off = json!({"type": "disabled"});
    assert_eq!(
        ask(Some(Effort::Xhigh), None, NEW),
        (adaptive.clone(), json!({"effort": "xhigh"}), 0)
    );
    assert_eq!(
        ask(Some(Effort::Xhigh), None, "claude-opus-4-6"),
        (adaptive.clone(), json!({"effort": "high"}), 1)
    );
    assert_eq!(
        ask(None, Some(ThinkingBudget::Tokens(1_000)), NEW),
        (adaptive.clone(), json!({"effort": "low"}), 1)
    );
    assert_eq!(
        ask(None, Some(ThinkingBudget::Adaptive), NEW),
        (adaptive, Value::Null, 0)
    );
    assert_eq!(ask(None, Some(ThinkingBudget::Adaptive), OLD).0["budget_tokens"], 8_192);
    assert_eq!(ask(Some(Effort::None), None, NEW), (off.clone(), Value::Null, 0));
    assert_eq!(ask(None, Some(ThinkingBudget::Off), "glm-4.6"), (off, Value::Null, 0));
    assert_eq!(
        ask(Some(Effort::None), None, "claude-fable-5"),
        (Value::Null, json!({"effort": "low"}), 1)
    );
    let seen = Request {
        reasoning: Some(Reasoning {
            effort: Some(Effort::Low),
            summary: Some("auto".to_owned()),
            ..Reasoning::default()
        }),
        ..hello()
    };
    assert_eq!(told(seen, NEW, 0).0["thinking"]["display"], "summarized");
}

#[test]
fn sampling_keeps_to_what_the_model_takes() {
    let ask = |temperature: f64, top_p: Option<f64>, reasoning, model: &str| {
        let request = Request {
            sampling: Sampling {
                temperature: Some(temperature.into()),
                top_p: top_p.map(Value::from),
                stop: vec!["\n".to_owned(), "END".to_owned()],
                ..Sampling::default()
            },
            reasoning,
            ..hello()
        };
        let (value, losses) = told(request, model, 0);
        assert_eq!(value["stop_sequences"], json!(["END"]));
        assert_eq!(losses[0], "stop");
        let get = |name: &str| value.get(name).cloned();
        (get("temperature"), get("top_p"), losses[1..].to_vec())
    };
    assert_eq!(ask(0.5, None, None, OLD), (Some(json!(0.5)), None, vec![]));
    assert_eq!(
        ask(1.5, None, None, OLD),
        (Some(json!(1)), None, vec!["temperature".to_owned()])
    );
    assert_eq!(
        ask(0.5, Some(0.5), None, OLD),
        (Some(json!(0.5)), None, vec!["top_p".to_owned()])
    );
    assert_eq!(ask(0.5, Some(0.5), None, "kimi-k2").1, Some(json!(0.5)));
    assert_eq!(ask(0.5, None, None, NEW), (None, None, vec!["temperature".to_owned()]));
    let thinking = reasoning(Some(Effort::Low), None);
    assert_eq!(
        ask(0.5, None, thinking.clone(), OLD),
        (None, None, vec!["temperature".to_owned()])
    );
    assert_eq!(
        ask(1.0, Some(0.97), thinking, "kimi-k2"),
        (Some(json!(1.0)), Some(json!(0.97)), vec![])
    );
}

#[test]
fn models_before_thinking_and_schemas_are_asked_for_neither() {
    let ask = |model: &str| {
        let request = Request {
            reasoning: reasoning(Some(Effort::Low), None),
            format: Some(OutputFormat::Schema {
                name: None,
                description: None,
                schema: json!({"type": "object"}),
                strict: None,
            }),
            ..hello()
        };
        let (value, losses) = told(request, model, 8_192);
        (value, losses.len())
    };
    let (old, losses) = ask("claude-3-5-haiku-20241022");
    assert_eq!((old.get("thinking"), old.get("output_config")), (None, None));
    assert_eq!((old["max_tokens"].as_u64(), losses), (Some(8_192), 2));
    let (new, losses) = ask("claude-sonnet-4-5");
    assert!(new.get("thinking").is_some() && new["output_config"].get("format").is_some());
    assert_eq!(losses, 0);
}
