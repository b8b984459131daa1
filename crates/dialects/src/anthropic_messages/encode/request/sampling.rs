//! How tokens are drawn.

use serde_json::Value;

use super::model::Model;
use crate::anthropic_messages::encode::blocks::Members;
use crate::hub::{Losses, Sampling};

/// Writes the sampling parameters that the model takes. `thinks`: it was asked to think, which fixes most of them.
pub(super) fn encode(sampling: Sampling, model: Model, thinks: bool, body: &mut Members, losses: &mut Losses) {
    let stops = sampling.stop.len();
    let stop: Vec<Value> = sampling
        .stop
        .into_iter()
        .filter(|stop| !stop.trim().is_empty())
        .map(Value::from)
        .collect();
    losses.note_if(
        stop.len() < stops,
        "stop",
        "Anthropic refuses stop sequences of nothing but white space",
    );
    if !stop.is_empty() {
        body.insert("stop_sequences".to_owned(), stop.into());
    }
    let mut temperature = sampling.temperature;
    let (mut top_p, mut top_k) = (sampling.top_p, sampling.top_k);
    if !model.samples() {
        let why = "models from Claude 4.7 on refuse it";
        for (name, value) in [
            ("temperature", &mut temperature),
            ("top_p", &mut top_p),
            ("top_k", &mut top_k),
        ] {
            losses.note_if(value.take().is_some(), name, why);
        }
        return;
    }
    if thinks {
        let why = "a model that thinks refuses it";
        let is_one = |value: &mut Value| value.as_f64() == Some(1.0);
        losses.note_if(
            temperature.take_if(|value| !is_one(value)).is_some(),
            "temperature",
            why,
        );
        losses.note_if(top_k.take().is_some(), "top_k", why);
        let is_low = |value: &mut Value| value.as_f64().is_some_and(|share| share < 0.95);
        losses.note_if(
            top_p.take_if(is_low).is_some(),
            "top_p",
            "a model that thinks takes 0.95 to 1",
        );
    }
    if let Some(value) = &mut temperature
        && value.as_f64().is_some_and(|degree| degree > 1.0)
    {
        *value = 1.into();
        losses.note("temperature", "lowered to 1, where Anthropic's scale ends");
    }
    if temperature.is_some() && model.samples_one_way() {
        losses.note_if(
            top_p.take().is_some(),
            "top_p",
            "models from Claude 4.1 on take it or temperature, not both",
        );
    }
    for (name, value) in [("temperature", temperature), ("top_p", top_p), ("top_k", top_k)] {
        super::insert(body, name, value);
    }
}
