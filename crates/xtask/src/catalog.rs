//! Writes `crates/domain/src/catalog/models.toml` from the price file inside the `litellm` package.
//!
//! Prices are facts about other companies: nobody here types them from memory, and nobody copies hundreds of them by
//! hand without a slip. They are read from one published file, as text (a float would turn 0.1 into something else),
//! and what our catalog cannot say is left out rather than bent.
//!
//! To renew: unpack the package (`pip download litellm --no-deps`; the file is
//! `litellm/model_prices_and_context_window_backup.json`), run `cargo run -p xtask -- catalog PATH.json`, after setting [`SOURCE`] and
//! [`RETIRED_BEFORE`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::value::RawValue;

use rates::{Price, Step};

mod capabilities;
mod rates;

/// What the file says of its origin.
const SOURCE: &str = "litellm 1.109.1 (PyPI), read 2026-11-20";

/// Models that a provider switched off before this day are of no use; a year is kept for those who still hold a name.
const RETIRED_BEFORE: &str = "2025-11-20";

/// The operations that Tollgate meters by tokens.
const MODES: &[&str] = &["chat", "completion", "responses", "embedding"];

/// The tasks beside them, of the providers that offer them in OpenAI's format (or, for rankings, in Cohere's).
const TASKS: &[(&str, &[&str])] = &[
    ("cohere-rerank", &["rerank"]),
    ("groq", &["audio_speech", "audio_transcription"]),
    ("jina", &["rerank"]),
    ("mistral", &["audio_transcription", "moderation"]),
    (
        "openai",
        &["image_generation", "audio_speech", "audio_transcription", "moderation"],
    ),
    ("voyage", &["rerank"]),
    ("xai", &["image_generation"]),
];

/// One provider's list: what we call the provider, what the source calls it, and which of its models are its own.
struct List {
    ours: &'static str,
    theirs: &'static str,
    /// What the source puts in front of the names.
    prefix: &'static str,
    keep: fn(&str, &Source) -> bool,
}

const LISTS: &[List] = &[
    List {
        ours: "anthropic",
        theirs: "anthropic",
        prefix: "",
        keep: any,
    },
    List {
        ours: "bedrock",
        theirs: "bedrock_converse",
        prefix: "",
        keep: named_by_bedrock,
    },
    List {
        ours: "cohere-rerank",
        theirs: "cohere",
        prefix: "",
        keep: ranks,
    },
    List {
        ours: "deepseek",
        theirs: "deepseek",
        prefix: "deepseek/",
        keep: any,
    },
    List {
        ours: "fireworks",
        theirs: "fireworks_ai",
        prefix: "fireworks_ai/",
        keep: serverless_at_fireworks,
    },
    List {
        ours: "gemini",
        theirs: "gemini",
        prefix: "gemini/",
        keep: any,
    },
    List {
        ours: "groq",
        theirs: "groq",
        prefix: "groq/",
        keep: any,
    },
    List {
        ours: "jina",
        theirs: "jina_ai",
        prefix: "",
        keep: any,
    },
    List {
        ours: "minimax",
        theirs: "minimax",
        prefix: "minimax/",
        keep: any,
    },
    List {
        ours: "mistral",
        theirs: "mistral",
        prefix: "mistral/",
        keep: named_by_mistral,
    },
    List {
        ours: "moonshot",
        theirs: "moonshot",
        prefix: "moonshot/",
        keep: any,
    },
    List {
        ours: "openai",
        theirs: "openai",
        prefix: "",
        keep: not_tuned,
    },
    List {
        ours: "openai",
        theirs: "text-completion-openai",
        prefix: "",
        keep: not_tuned,
    },
    List {
        ours: "qwen",
        theirs: "dashscope",
        prefix: "dashscope/",
        keep: named_by_qwen,
    },
    List {
        ours: "together",
        theirs: "together_ai",
        prefix: "together_ai/",
        keep: large_at_together,
    },
    List {
        ours: "vertex-anthropic",
        theirs: "vertex_ai-anthropic_models",
        prefix: "vertex_ai/",
        keep: any,
    },
    List {
        ours: "voyage",
        theirs: "voyage",
        prefix: "voyage/",
        keep: any,
    },
    List {
        ours: "xai",
        theirs: "xai",
        prefix: "xai/",
        keep: any,
    },
    List {
        ours: "zhipu",
        theirs: "zai",
        prefix: "zai/",
        keep: any,
    },
];

/// The least context of the models of Together that are listed: below are the leftovers of earlier years.
const TOGETHER_CONTEXT_MIN: u64 = 100_000;

fn any(_: &str, _: &Source) -> bool {
    true
}

/// Cohere's other models are served under another address.
fn ranks(name: &str, _: &Source) -> bool {
    name.starts_with("rerank-")
}

/// The source has prices by region and commitment under names with slashes, and names that Bedrock does not know.
fn named_by_bedrock(name: &str, _: &Source) -> bool {
    !name.contains(['/', '@'])
}

/// Placeholders such as `ft:gpt-4o-2024-08-06` are not names of models, `openai/container` is not a model.
fn not_tuned(name: &str, _: &Source) -> bool {
    !name.starts_with("ft:") && !name.contains('/')
}

/// Mistral and Qwen resell others' models under the others' names; those names belong to their makers' lists, where a
/// call of `glm-5.2` without an upstream's name should go.
fn named_by_mistral(name: &str, _: &Source) -> bool {
    !["glm-", "deepseek-"].iter().any(|maker| name.starts_with(maker))
}

fn named_by_qwen(name: &str, _: &Source) -> bool {
    name.starts_with('q')
}

/// The source lists every model that Fireworks ever hosted; the serverless ones of today it lists a second time, under
/// the last part of their names.
fn serverless_at_fireworks(name: &str, source: &Source) -> bool {
    name.strip_prefix("accounts/fireworks/")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(_, short)| source.contains_key(&format!("fireworks_ai/{short}")))
}

fn large_at_together(name: &str, source: &Source) -> bool {
    let entry = source.get(&format!("together_ai/{name}"));
    name.contains('/')
        && entry.is_some_and(|entry| {
            entry.text("deprecation_date").is_none() && entry.count("max_input_tokens") >= TOGETHER_CONTEXT_MIN
        })
}

/// The price file: name → entry.
type Source = BTreeMap<String, Entry>;

/// One entry of the price file; values are kept as the text that they are.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Entry(BTreeMap<String, Box<RawValue>>);

impl Entry {
    /// The value as JSON text; `None` where absent or null.
    fn raw(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get()).filter(|text| *text != "null")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.raw(key).map(|text| text.trim_matches('"'))
    }

    /// A count; 0 where absent.
    fn count(&self, key: &str) -> u64 {
        self.raw(key).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Writes the catalog below `root` from the price file at `from`.
pub(crate) fn write(root: &Path, from: &Path) -> anyhow::Result<ExitCode> {
    let source = std::fs::read_to_string(from).with_context(|| from.display().to_string())?;
    let target = root.join("crates/domain/src/catalog/models.toml");
    std::fs::write(&target, catalog(&source)?).with_context(|| target.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// The catalog's text, sorted by provider and name.
fn catalog(source: &str) -> anyhow::Result<String> {
    let source: Source = serde_json::from_str(source)?;
    let mut blocks = BTreeMap::new();
    for list in LISTS {
        for (key, entry) in &source {
            let Some(name) = listed(list, key, entry, &source) else {
                continue;
            };
            let block = block(list.ours, name, entry, &source).with_context(|| key.clone())?;
            blocks.insert((list.ours, name.to_owned()), block);
        }
    }
    let mut text = format!(
        "# List prices and limits, generated by `cargo run -p xtask -- catalog`; do not edit. Prices are dollars per\n\
         # million tokens or `characters`, `web_searches` and `reranks` per thousand, `images` and `audio_minutes` each.\n\
         # A model of one's own, or another price, belongs in the configuration.\n\
         source = \"{SOURCE}\"\n"
    );
    text.extend(blocks.into_values());
    Ok(text)
}

/// The model's name, if the entry is one of this list.
fn listed<'a>(list: &List, key: &'a str, entry: &Entry, source: &Source) -> Option<&'a str> {
    let name = key.strip_prefix(list.prefix)?;
    let ours = entry.text("litellm_provider") == Some(list.theirs);
    let mode = entry.text("mode").unwrap_or_default();
    let is_task = TASKS
        .iter()
        .any(|(ours, modes)| *ours == list.ours && modes.contains(&mode))
        && !is_spoken_to(name);
    // Sessions that are billed by the minute report nothing that could be billed.
    let is_session = list.ours == "openai" && mode == "realtime" && entry.raw("input_cost_per_token").is_some();
    let metered = MODES.contains(&mode) || is_task || is_session;
    let retired = entry.text("deprecation_date").is_some_and(|day| day < RETIRED_BEFORE);
    let speech = !is_task
        && (name.ends_with("-tts")
            || entry
                .raw("supported_output_modalities")
                .is_some_and(|all| !all.contains("\"text\"")));
    (ours && metered && !retired && !speech && (list.keep)(name, source)).then_some(name)
}

/// Models that transcribe over a socket, while one speaks: no request of their own, and prices that are rounded.
fn is_spoken_to(name: &str) -> bool {
    ["realtime", "live"]
        .iter()
        .any(|word| name.split('-').any(|part| part == *word))
}

/// What a picture of a model costs by its quality and size: the source has entries named `low/1024-x-1536/MODEL`.
fn image_kinds(name: &str, entry: &Entry, source: &Source) -> anyhow::Result<Vec<(String, String)>> {
    if entry.text("mode") != Some("image_generation") {
        return Ok(Vec::new());
    }
    let kinds = source.iter().filter_map(|(key, kind)| {
        let ours = kind.text("litellm_provider") == entry.text("litellm_provider");
        let named = key.strip_suffix(name)?.strip_suffix('/').filter(|_| ours)?;
        // Without a quality it is the price of the cheapest, which is not what is made where none is asked for.
        let is_kind = named.contains("-x-") && named.contains('/');
        is_kind.then(|| Some((named.replace("-x-", "x"), Price::of_image(kind).transpose()?)))?
    });
    kinds.map(|(kind, each)| Ok((kind, each?))).collect()
}

/// One `[[model]]`.
fn block(provider: &str, name: &str, entry: &Entry, source: &Source) -> anyhow::Result<String> {
    let mode = entry.text("mode").unwrap_or_default();
    let mut text = format!("\n[[model]]\nprovider = \"{provider}\"\nname = \"{name}\"\nmode = \"{mode}\"\n");
    for (field, key) in [("context", "max_input_tokens"), ("max_output", "max_output_tokens")] {
        let count = entry.count(key);
        if count > 0 && !(mode == "embedding" && field == "max_output") {
            writeln!(text, "{field} = {count}")?;
        }
    }
    if entry.raw("supports_reasoning") == Some("true") {
        writeln!(text, "thinks = true")?;
    }
    capabilities::write(&mut text, provider, entry)?;
    if let Some(price) = Price::of(entry)? {
        write_price(&mut text, &price)?;
    }
    let kinds = image_kinds(name, entry, source)?;
    if !kinds.is_empty() {
        let cells: Vec<String> = kinds
            .iter()
            .map(|(kind, each)| format!("\"{kind}\" = \"{each}\""))
            .collect();
        writeln!(text, "image_kinds = {{ {} }}", cells.join(", "))?;
    }
    Ok(text)
}

fn write_price(text: &mut String, price: &Price) -> std::fmt::Result {
    writeln!(text, "price = {}", price.ordinary.rates)?;
    write_steps(text, "steps", &price.ordinary.steps)?;
    for (tier, tariff) in &price.tiers {
        writeln!(text, "tiers.{tier} = {}", tariff.rates)?;
        write_steps(text, &format!("tier_steps.{tier}"), &tariff.steps)?;
    }
    Ok(())
}

/// One step a line; nothing where there is none.
fn write_steps(text: &mut String, key: &str, steps: &[Step]) -> std::fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    writeln!(text, "{key} = [")?;
    for Step { above, rates } in steps {
        writeln!(text, "  {{ above = {above}, rates = {rates} }},")?;
    }
    writeln!(text, "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Abridged from the source, with its own figures.
    const SONNET: &str = r#""claude-sonnet-4-5": {"litellm_provider": "anthropic", "mode": "chat", "max_input_tokens": 200000,
        "max_output_tokens": 64000, "deprecation_date": "2026-11-30", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
        "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
        "input_cost_per_token_batches": 1.5e-06, "output_cost_per_token_batches": 7.5e-06, "cache_read_input_token_cost_batches": 1.5e-07,
        "cache_creation_input_token_cost_batches": 1.875e-06,
        "search_context_cost_per_query": {"search_context_size_high": 0.01, "search_context_size_low": 0.01, "search_context_size_medium": 0.01}}"#;

    fn blocks(entries: &str) -> String {
        let text = catalog(&format!("{{{entries}}}")).unwrap();
        text.split_once("\n\n")
            .map(|(_, blocks)| blocks.to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn a_model_becomes_a_block() {
        assert_eq!(
            blocks(SONNET),
            r#"[[model]]
provider = "anthropic"
name = "claude-sonnet-4-5"
mode = "chat"
context = 200000
max_output = 64000
price = { input = "3", output = "15", cache_read = "0.3", cache_write_5m = "3.75", cache_write_1h = "6", web_searches = "10" }
tiers.batch = { input = "1.5", output = "7.5", cache_read = "0.15", cache_write_5m = "1.875", cache_write_1h = "3", web_searches = "10" }
"#
        );
    }

    #[test]
    fn long_prompts_and_tiers_have_their_own_rates() {
        let text = blocks(
            r#""gemini/gemini-2.5-pro": {"litellm_provider": "gemini", "mode": "chat", "max_input_tokens": 1048576,
            "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-07,
            "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05,
            "cache_read_input_token_cost_above_200k_tokens": 2.5e-07,
            "input_cost_per_token_priority": 2.25e-06, "output_cost_per_token_priority": 1.8e-05, "cache_read_input_token_cost_priority": 2.25e-07,
            "input_cost_per_token_above_200k_tokens_priority": 4.5e-06, "output_cost_per_token_above_200k_tokens_priority": 2.7e-05,
            "cache_read_input_token_cost_above_200k_tokens_priority": 4.5e-07}"#,
        );
        assert!(text.contains("name = \"gemini-2.5-pro\"\n"), "{text}");
        let prices = text.split_once("price = ").map(|(_, prices)| prices);
        assert_eq!(
            prices,
            Some(
                r#"{ input = "1.25", output = "10", cache_read = "0.125" }
steps = [
  { above = 200000, rates = { input = "2.5", output = "15", cache_read = "0.25" } },
]
tiers.priority = { input = "2.25", output = "18", cache_read = "0.225" }
tier_steps.priority = [
  { above = 200000, rates = { input = "4.5", output = "27", cache_read = "0.45" } },
]
"#
            )
        );
    }

    #[test]
    fn what_is_not_a_current_model_of_tokens_is_left_out() {
        for (key, rest) in [
            (
                "gpt-realtime-whisper",
                r#""litellm_provider": "openai", "mode": "audio_transcription""#,
            ),
            (
                "low/1024-x-1024/gpt-image-2",
                r#""litellm_provider": "openai", "mode": "image_generation", "input_cost_per_image": 0.01"#,
            ),
            (
                "gemini/imagen-9",
                r#""litellm_provider": "gemini", "mode": "image_generation", "output_cost_per_image": 0.01"#,
            ),
            (
                "ft:gpt-4o-2024-08-06",
                r#""litellm_provider": "openai", "mode": "chat""#,
            ),
            ("openai/container", r#""litellm_provider": "openai", "mode": "chat""#),
            (
                "groq/old",
                r#""litellm_provider": "groq", "mode": "chat", "deprecation_date": "2025-06-06""#,
            ),
            (
                "gemini/lyria-3.5",
                r#""litellm_provider": "gemini", "mode": "chat", "supported_output_modalities": ["audio"]"#,
            ),
            ("gemini/x-tts", r#""litellm_provider": "gemini", "mode": "chat""#),
            (
                "dashscope/kimi-k2.7-code",
                r#""litellm_provider": "dashscope", "mode": "chat""#,
            ),
            ("mistral/glm-5-2", r#""litellm_provider": "mistral", "mode": "chat""#),
            (
                "fireworks_ai/accounts/fireworks/models/yi-34b",
                r#""litellm_provider": "fireworks_ai", "mode": "chat""#,
            ),
            (
                "together_ai/a/small",
                r#""litellm_provider": "together_ai", "mode": "chat", "max_input_tokens": 4096"#,
            ),
            ("gemini-pro-latest", r#""litellm_provider": "gemini", "mode": "chat""#),
        ] {
            assert_eq!(
                blocks(&format!(r#""{key}": {{{rest}, "input_cost_per_token": 1e-06}}"#)),
                "",
                "{key}"
            );
        }
    }

    #[test]
    fn what_is_billed_by_the_piece_has_its_own_prices() {
        let text = blocks(
            r#""tts-1": {"litellm_provider": "openai", "mode": "audio_speech", "input_cost_per_character": 1.5e-05},
            "whisper-1": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001},
            "gpt-4o-mini-tts": {"litellm_provider": "openai", "mode": "audio_speech", "input_cost_per_token": 6e-07, "output_cost_per_token": 1e-05,
                "output_cost_per_audio_token": 1.2e-05, "output_cost_per_second": 0.00025, "supported_output_modalities": ["audio"]},
            "rerank-v3.5": {"litellm_provider": "cohere", "mode": "rerank", "input_cost_per_query": 0.002, "input_cost_per_token": 0.0},
            "xai/grok-imagine-image-2.0": {"litellm_provider": "xai", "mode": "image_generation", "input_cost_per_image": 0.06},
            "low/1024-x-1024/grok-imagine-image-2.0": {"litellm_provider": "xai", "mode": "image_generation", "input_cost_per_image": 0.04},
            "gpt-image-2": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 5e-06,
                "input_cost_per_image_token": 8e-06, "output_cost_per_image_token": 3e-05, "cache_read_input_token_cost": 1.25e-06,
                "cache_read_input_image_token_cost": 2e-06},
            "mistral/voxtral-small-transcribe-3": {"litellm_provider": "mistral", "mode": "audio_transcription", "input_cost_per_second": 6.66667e-05}"#,
        );
        for (name, price) in [
            ("tts-1", r#"{ characters = "15" }"#),
            ("whisper-1", r#"{ audio_minutes = "0.006" }"#),
            (
                "gpt-4o-mini-tts",
                r#"{ input = "0.6", output = "10", output_audio = "12" }"#,
            ),
            ("rerank-v3.5", r#"{ input = "0", reranks = "2" }"#),
            (
                "grok-imagine-image-2.0",
                "{ images = \"0.06\" }\nimage_kinds = { \"low/1024x1024\" = \"0.04\" }",
            ),
            (
                "gpt-image-2",
                r#"{ input = "5", cache_read = "1.25", input_image = "8", output_image = "30", cache_read_image = "2" }"#,
            ),
            ("voxtral-small-transcribe-3", r#"{ audio_minutes = "0.004000002" }"#),
        ] {
            let block = text
                .split("[[model]]")
                .find(|block| block.contains(&format!("name = \"{name}\"\n")));
            assert_eq!(
                block
                    .and_then(|block| block.split("price = ").nth(1))
                    .map(str::trim_end),
                Some(price),
                "{name}"
            );
        }
    }

    #[test]
    fn a_serverless_model_is_kept_under_its_full_name() {
        let entry = r#"{"litellm_provider": "fireworks_ai", "mode": "chat", "input_cost_per_token": 3e-06}"#;
        let text = blocks(&format!(
            r#""fireworks_ai/accounts/fireworks/models/kimi-k3": {entry}, "fireworks_ai/kimi-k3": {entry}"#
        ));
        assert_eq!(text.matches("[[model]]").count(), 1, "{text}");
        assert!(text.contains("name = \"accounts/fireworks/models/kimi-k3\""), "{text}");
    }

    #[test]
    fn an_entry_that_cannot_be_exact_names_its_model() {
        let error = catalog(
            r#"{"gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.142857142857143e-07}}"#,
        )
        .unwrap_err();
        assert!(format!("{error:#}").starts_with("gpt-x: "), "{error:#}");
    }
}
