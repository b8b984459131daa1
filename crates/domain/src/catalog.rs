//! What is known about providers and models without asking anybody: dated tables compiled into the binary.
//!
//! `providers.toml` and `accounts.toml` are written by hand; `models.toml` is generated from a published price list by
//! `cargo xtask catalog` and carries the date and the source it was read from. Configuration overrides both.

mod models;

use std::sync::{Arc, LazyLock};

pub use models::{ModelCatalog, ModelFacts};

use crate::Provider;
use crate::account::AccountDecl;

/// The built-in provider profiles.
///
/// # Panics
/// Never in a binary that passed its tests: the table is parsed in one.
pub fn providers() -> &'static [Arc<Provider>] {
    static PROVIDERS: LazyLock<Vec<Arc<Provider>>> = LazyLock::new(|| {
        #[derive(serde::Deserialize)]
        struct Table {
            provider: Vec<Provider>,
        }
        let table: Table =
            toml::from_str(include_str!("catalog/providers.toml")).expect("providers.toml is parsed in a test");
        table.provider.into_iter().map(Arc::new).collect()
    });
    &PROVIDERS
}

/// The built-in kinds of accounts.
///
/// # Panics
/// Never in a binary that passed its tests: the table is parsed in one.
pub fn accounts() -> &'static [AccountDecl] {
    static ACCOUNTS: LazyLock<Vec<AccountDecl>> = LazyLock::new(|| {
        #[derive(serde::Deserialize)]
        struct Table {
            account: Vec<AccountDecl>,
        }
        let table: Table =
            toml::from_str(include_str!("catalog/accounts.toml")).expect("accounts.toml is parsed in a test");
        table.account
    });
    &ACCOUNTS
}

/// A built-in provider by its name.
pub fn provider(name: &str) -> Option<&'static Arc<Provider>> {
    providers()
        .iter()
        .find(|provider| provider.name.eq_ignore_ascii_case(name))
}

/// The built-in model catalog.
pub fn models() -> &'static ModelCatalog {
    static MODELS: LazyLock<ModelCatalog> = LazyLock::new(ModelCatalog::builtin);
    &MODELS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, Money, Operation, Price, Surface};

    #[test]
    fn the_tables_parse_and_name_the_main_providers() {
        let openai = provider("OpenAI").expect("openai");
        assert_eq!(
            openai.path(Surface::new(Operation::Chat, Dialect::OpenaiChat)),
            Some("/chat/completions")
        );
        for name in ["anthropic", "gemini", "deepseek", "mistral", "demo"] {
            assert!(provider(name).is_some(), "{name}");
        }
        for provider in providers() {
            assert!(!provider.surfaces.is_empty(), "{} offers nothing", provider.name);
            for path in provider.surfaces.values() {
                assert!(path.starts_with('/'), "{}: {path}", provider.name);
            }
        }
    }

    #[test]
    fn the_models_of_today_have_a_price_and_limits() {
        for (provider, model) in [
            ("openai", "gpt-4o"),
            ("openai", "gpt-5"),
            ("openai", "text-embedding-3-small"),
            ("anthropic", "claude-sonnet-4-5"),
            ("gemini", "gemini-2.5-pro"),
            ("deepseek", "deepseek-chat"),
        ] {
            let facts = models()
                .find(provider, model)
                .unwrap_or_else(|| panic!("{provider}/{model} is not listed"));
            assert!(
                !facts.price.as_ref().expect("price").ordinary.rates.input.is_spent(),
                "{model} is free"
            );
            assert!(facts.context > 0, "{model} has no context window");
        }
    }

    #[test]
    fn tasks_have_prices_in_their_own_units() {
        let rates = |provider: &str, model: &str| {
            let facts = models()
                .find(provider, model)
                .unwrap_or_else(|| panic!("{provider}/{model} is not listed"));
            facts.price.as_ref().expect("price").ordinary.rates
        };
        let dollars = |text: &str| text.parse::<Money>().unwrap();
        assert_eq!(rates("openai", "gpt-image-2").output_image, dollars("30"));
        assert_eq!(rates("openai", "gpt-4o-transcribe").input_audio, dollars("2.5"));
        assert_eq!(rates("openai", "whisper-1").audio_minutes, dollars("0.006"));
        assert_eq!(rates("openai", "tts-1").characters, dollars("15"));
        assert_eq!(rates("cohere-rerank", "rerank-v3.5").reranks, dollars("2"));
        assert_eq!(rates("voyage", "rerank-2.5").input, dollars("0.05"));
        let picture = models()
            .find("openai", "gpt-image-1.5")
            .and_then(|facts| facts.price.clone())
            .unwrap();
        assert_eq!(
            picture.image(Some("high"), Some("1024x1536"), Money::ZERO),
            dollars("0.2")
        );
    }

    #[test]
    fn steps_ascend_and_stand_in_the_tiers_too() {
        for provider in providers() {
            for facts in models().of_provider(&provider.name) {
                for tariff in facts.price.iter().flat_map(Price::tariffs) {
                    let steps = tariff.steps.iter().map(|step| step.above);
                    assert!(steps.is_sorted_by(|low, high| low < high), "{}", facts.name);
                }
            }
        }
        let price = |provider: &str, model: &str| models().find(provider, model).and_then(|facts| facts.price.clone());
        let qwen = price("qwen", "qwen3-coder-plus").expect("a price in four ranges");
        assert_eq!(qwen.ordinary.steps.len(), 3);
        let gemini = price("gemini", "gemini-2.5-pro").expect("a price with tiers");
        let input = |prompt| gemini.tariff(Some("priority")).at(prompt).input;
        assert_eq!(
            [input(200_000), input(200_001)].map(Money::nanos),
            [2_250_000_000, 4_500_000_000]
        );
    }

    #[test]
    fn every_listed_model_is_one_that_its_provider_serves() {
        for provider in providers().iter().filter(|provider| !provider.models.is_empty()) {
            for facts in models().of_provider(&provider.name) {
                let served = provider.models.iter().any(|pattern| pattern.matches(&facts.name));
                assert!(
                    served,
                    "{}/{} is caught by none of its provider's `models`",
                    provider.name, facts.name
                );
            }
        }
        assert!(models().of_provider("qwen").count() > 10);
    }
}
