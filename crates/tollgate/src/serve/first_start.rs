//! What a newcomer sees: a user, a key, and three lines that get an answer.

use domain::declaration::{KeyTerms, UserDecl};
use domain::{Dialect, Operation, Secret, Snapshot, Surface};
use store::{NewKey, Origin, Store};

use super::tell;
use super::world::World;

/// The user that is made at the first start.
const USER: &str = "me";

/// The key that is made at the first start.
const KEY: &str = "first";

/// Models that a first call should rather go to than to the first of the alphabet: small, cheap, current ones.
const PREFERRED: [&str; 6] = [
    "demo",
    "gpt-4o-mini",
    "claude-haiku-4-5",
    "gemini-2.5-flash",
    "deepseek-chat",
    "mistral-small-latest",
];

/// Makes a first user and key where there are none, and says how to use them. Nothing happens at later starts, or where
/// the operator has made users or keys of their own: who removed the last key meant it. Tells whether something was made.
pub(crate) async fn greet(store: &Store, world: &World, url: &str) -> anyhow::Result<bool> {
    let masterful = world.config().security.master_key.is_some();
    let users = store.users().list().await?;
    let managed = users.iter().any(|user| user.origin != Origin::File);
    if masterful || managed || !store.keys().list().await?.is_empty() {
        return Ok(false);
    }
    if !users.iter().any(|user| user.name.eq_ignore_ascii_case(USER)) {
        let user = UserDecl {
            name: USER.to_owned(),
            opening_credit: None,
            policy: None,
        };
        store.users().add(&user, Origin::Cli).await?;
    }
    let new = NewKey {
        name: KEY.to_owned(),
        user: USER.to_owned(),
        key: None,
        terms: KeyTerms::default(),
    };
    let (_, key) = store.keys().add(new, Origin::Cli).await?;
    tell(&text(&world.snapshot(), url, &key))?;
    Ok(true)
}

fn text(snapshot: &Snapshot, url: &str, key: &Secret) -> String {
    let (model, dialect) = first_call(snapshot).unwrap_or_else(|| ("demo".to_owned(), Dialect::OpenaiChat));
    let key = key.expose();
    let lines = match dialect {
        Dialect::AnthropicMessages => [
            format!("export ANTHROPIC_BASE_URL={url}"),
            format!("export ANTHROPIC_API_KEY={key}"),
            format!(
                "curl $ANTHROPIC_BASE_URL/v1/messages -H \"x-api-key: $ANTHROPIC_API_KEY\" -H 'content-type: application/json' \
                 -d '{{\"model\":\"{model}\",\"max_tokens\":100,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'"
            ),
        ],
        Dialect::Gemini => [
            format!("export GOOGLE_GEMINI_BASE_URL={url}"),
            format!("export GEMINI_API_KEY={key}"),
            format!(
                "curl $GOOGLE_GEMINI_BASE_URL/v1beta/models/{model}:generateContent -H \"x-goog-api-key: $GEMINI_API_KEY\" \
                 -H 'content-type: application/json' -d '{{\"contents\":[{{\"parts\":[{{\"text\":\"Hello!\"}}]}}]}}'"
            ),
        ],
        _ => [
            format!("export OPENAI_BASE_URL={url}/v1"),
            format!("export OPENAI_API_KEY={key}"),
            format!(
                "curl $OPENAI_BASE_URL/chat/completions -H \"authorization: Bearer $OPENAI_API_KEY\" -H 'content-type: application/json' \
                 -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'"
            ),
        ],
    };
    format!(
        "\nTollgate serves at {url}. Your first key, shown this once; paste these lines into a shell:\n\n{}\n\n",
        lines.join("\n")
    )
}

/// A model that can be asked something, and the format in which.
fn first_call(snapshot: &Snapshot) -> Option<(String, Dialect)> {
    let names = PREFERRED
        .iter()
        .map(|name| (*name).to_owned())
        .chain(first_names(snapshot));
    names.into_iter().find_map(|name| {
        let route = snapshot.route(&name)?;
        let surfaces = &route.targets.first()?.upstream.surfaces;
        let dialect = Dialect::ALL
            .into_iter()
            .find(|dialect| surfaces.contains_key(&Surface::new(Operation::Chat, *dialect)))?;
        Some((name, dialect))
    })
}

/// Concrete names that upstreams are said to serve.
fn first_names(snapshot: &Snapshot) -> Vec<String> {
    let patterns = snapshot.upstreams.iter().flat_map(|upstream| &upstream.models);
    patterns
        .filter(|pattern| !pattern.is_glob())
        .map(|pattern| pattern.as_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::UpstreamId;
    use domain::snapshot::{Origin, Resources, UpstreamRow};

    use super::*;
    use crate::config::upstream_of;

    fn lines(provider: &str) -> String {
        let row = UpstreamRow {
            id: UpstreamId(1),
            origin: Origin::Operator,
            decl: upstream_of(provider),
            credentials: Vec::new(),
            forced: None,
        };
        let snapshot = Snapshot::build(Resources {
            upstreams: vec![row],
            ..Resources::default()
        });
        text(&snapshot, "http://127.0.0.1:4270", &Secret::new("sk-tg-k"))
    }

    #[test]
    fn the_lines_fit_what_is_served() {
        for (provider, variable, path) in [
            (
                "demo",
                "export OPENAI_BASE_URL=http://127.0.0.1:4270/v1\n",
                "\"model\":\"demo\"",
            ),
            ("openai", "export OPENAI_API_KEY=sk-tg-k\n", "\"model\":\"gpt-4o-mini\""),
            (
                "anthropic",
                "export ANTHROPIC_BASE_URL=http://127.0.0.1:4270\n",
                "\"model\":\"claude-haiku-4-5\"",
            ),
            (
                "gemini",
                "export GEMINI_API_KEY=sk-tg-k\n",
                "/v1beta/models/gemini-2.5-flash:generateContent",
            ),
        ] {
            let lines = lines(provider);
            assert!(lines.contains(variable) && lines.contains(path), "{lines}");
        }
    }
}
