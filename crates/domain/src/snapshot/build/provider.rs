//! Which provider's profile an upstream has: the one that it names, the one that speaks its dialect, or a mixture of both.

use std::sync::Arc;

use crate::declaration::UpstreamDecl;
use crate::{Dialect, Operation, Provider, catalog};

/// The profile that a declaration names; without a name, the one that speaks its dialect.
pub(super) fn profile(decl: &UpstreamDecl, presets: &[Arc<Provider>]) -> Result<Arc<Provider>, String> {
    let find = |name: &str| {
        let own = presets.iter().find(|provider| provider.name.eq_ignore_ascii_case(name));
        own.or_else(|| catalog::provider(name)).cloned()
    };
    let by_dialect = match decl.dialect {
        Some(Dialect::AnthropicMessages) => "anthropic",
        Some(Dialect::Gemini) => "gemini",
        Some(Dialect::OpenaiChat | Dialect::OpenaiResponses) => "openai-compatible",
        Some(Dialect::BedrockConverse) => "bedrock",
        None => "",
    };
    let named = decl.provider.as_deref();
    let name = named.or(Some(by_dialect)).filter(|name| !name.is_empty());
    let name = name.ok_or("it names neither a provider nor a dialect; add `provider`")?;
    let found = find(name).ok_or_else(|| format!("there is no provider `{name}`"))?;
    let speaks = |dialect| found.surfaces.keys().any(|surface| surface.dialect == dialect);
    match decl.dialect {
        None => Ok(found),
        // A preset that does not speak the dialect asked for: its address with the surfaces of one that does.
        Some(dialect) if named.is_some() && !speaks(dialect) => {
            let speaker = find(by_dialect).ok_or("no provider speaks this dialect")?;
            let spoken = Provider {
                base_url: found.base_url.clone(),
                name: found.name.clone(),
                ..(*speaker).clone()
            };
            Ok(Arc::new(in_dialect(spoken, dialect)))
        }
        Some(dialect) => Ok(Arc::new(in_dialect((*found).clone(), dialect))),
    }
}

/// Who names a dialect means conversations in that one: what a preset speaks besides, this server need not.
fn in_dialect(mut provider: Provider, dialect: Dialect) -> Provider {
    provider
        .surfaces
        .retain(|surface, _| surface.operation != Operation::Chat || surface.dialect == dialect);
    provider
}
