//! Model listings, in the caller's format.

use bytes::Bytes;
use domain::Dialect;
use serde_json::{Map, Value, json};

/// A model as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedModel<'a> {
    /// The name that the client uses.
    pub id: &'a str,
    /// Who serves it.
    pub owner: &'a str,
    /// Tokens of context; 0 where unknown.
    pub context: u64,
    /// Tokens of output at most; 0 where unknown.
    pub max_output: u64,
    /// When it came, in Unix seconds.
    pub created: i64,
}

/// The listing of `models`.
pub fn model_list(dialect: Dialect, models: &[ListedModel<'_>]) -> Bytes {
    let cards: Vec<Value> = models.iter().map(|model| card(dialect, model)).collect();
    let listing = match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::BedrockConverse => {
            json!({"object": "list", "data": cards})
        }
        Dialect::AnthropicMessages => json!({
            "data": cards,
            "has_more": false,
            "first_id": models.first().map(|model| model.id),
            "last_id": models.last().map(|model| model.id),
        }),
        Dialect::Gemini => json!({ "models": cards }),
    };
    listing.to_string().into()
}

/// The card of one model.
pub fn model_card(dialect: Dialect, model: &ListedModel<'_>) -> Bytes {
    card(dialect, model).to_string().into()
}

fn card(dialect: Dialect, model: &ListedModel<'_>) -> Value {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::BedrockConverse => {
            json!({"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner})
        }
        Dialect::AnthropicMessages => {
            let card = json!({
                "type": "model",
                "id": model.id,
                "display_name": model.id,
                "created_at": rfc3339(model.created),
            });
            with_limits(
                card,
                [("max_input_tokens", model.context), ("max_tokens", model.max_output)],
            )
        }
        Dialect::Gemini => {
            let card = json!({
                "name": format!("models/{}", model.id),
                "baseModelId": model.id,
                "version": "1",
                "displayName": model.id,
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"],
            });
            with_limits(
                card,
                [
                    ("inputTokenLimit", model.context),
                    ("outputTokenLimit", model.max_output),
                ],
            )
        }
    }
}

/// A limit that is not known is left out: zero would be read as a limit.
fn with_limits(mut card: Value, limits: [(&str, u64); 2]) -> Value {
    let known = limits.into_iter().filter(|(_, limit)| *limit > 0);
    if let Value::Object(members) = &mut card {
        members.extend(
            known
                .map(|(name, limit)| (name.to_owned(), limit.into()))
                .collect::<Map<_, _>>(),
        );
    }
    card
}

fn rfc3339(unix_secs: i64) -> String {
    jiff::Timestamp::from_second(unix_secs)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [ListedModel<'_>; 2] = [
        ListedModel {
            id: "gpt-x",
            owner: "openai",
            context: 128_000,
            max_output: 16_384,
            created: 1_700_000_000,
        },
        ListedModel {
            id: "other/\"m\"",
            owner: "own",
            context: 0,
            max_output: 0,
            created: i64::MAX,
        },
    ];

    fn listed(dialect: Dialect) -> Value {
        serde_json::from_slice(&model_list(dialect, &MODELS)).unwrap()
    }

    #[test]
    fn openai() {
        let first = json!({"id": "gpt-x", "object": "model", "created": 1_700_000_000, "owned_by": "openai"});
        assert_eq!(listed(Dialect::OpenaiChat)["object"], "list");
        assert_eq!(listed(Dialect::OpenaiChat)["data"][0], first);
        assert_eq!(
            serde_json::from_slice::<Value>(&model_card(Dialect::OpenaiChat, &MODELS[0])).unwrap(),
            first
        );
    }

    #[test]
    fn anthropic() {
        let list = listed(Dialect::AnthropicMessages);
        assert_eq!(
            (&list["first_id"], &list["last_id"], &list["has_more"]),
            (&json!("gpt-x"), &json!("other/\"m\""), &json!(false))
        );
        assert_eq!(list["data"][0]["created_at"], "2023-11-14T22:13:20Z");
        assert_eq!(list["data"][0]["max_tokens"], 16_384);
        assert_eq!(list["data"][1].get("max_tokens"), None);
        assert_eq!(
            serde_json::from_slice::<Value>(&model_list(Dialect::AnthropicMessages, &[])).unwrap()["first_id"],
            Value::Null
        );
    }

    #[test]
    fn gemini() {
        let list = listed(Dialect::Gemini);
        assert_eq!(list["models"][0]["name"], "models/gpt-x");
        assert_eq!(list["models"][0]["inputTokenLimit"], 128_000);
        assert_eq!(list["models"][1].get("inputTokenLimit"), None);
    }
}
