//! A kind of service, as data.
//!
//! A provider that speaks a known dialect is a block of `catalog/providers.toml` and no Rust. Code asks the profile
//! what to do (`auth`, `surfaces`, quirks) and never which provider it is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::cloud::{AwsKeys, EntraClient, ServiceAccount};
use crate::{Dialect, NamePattern, Operation, Secret, Surface};

/// How a credential is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthScheme {
    /// `authorization: Bearer …`
    #[default]
    Bearer,
    /// `x-api-key: …` (Anthropic)
    XApiKey,
    /// `api-key: …` (Azure)
    ApiKey,
    /// `x-goog-api-key: …` (Gemini)
    XGoogApiKey,
    /// Amazon: access keys sign the request (SigV4), a Bedrock API key is a bearer. Wants the variables `region` and
    /// `service`.
    Aws,
    /// Google: a service account's key file gets tokens, anything else is `x-goog-api-key`. Wants the variable `scope`.
    Google,
    /// Azure: an Entra application gets tokens, anything else is `api-key`. Wants the variables `authority` and `scope`.
    Azure,
    /// Nothing is sent: a local server.
    None,
}

impl AuthScheme {
    /// What is wrong with a secret that is presented in this way; says nothing about its content.
    pub fn problem_of(self, secret: &Secret) -> Option<&'static str> {
        let has_parts = match self {
            Self::Aws => AwsKeys::read(secret).map(|keys| keys.is_some()),
            Self::Azure => EntraClient::read(secret).map(|client| client.is_some()),
            Self::Google => ServiceAccount::read(secret).map(|account| account.is_some()),
            Self::Bearer | Self::XApiKey | Self::ApiKey | Self::XGoogApiKey | Self::None => Ok(false),
        };
        let sendable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        match has_parts {
            Err(problem) => Some(problem),
            // The key file has spaces and line ends, and does not go into a header.
            Ok(true) if self == Self::Google => None,
            Ok(_) if secret.expose().is_empty() => Some("is empty; give the key itself, or a variable such as ${NAME}"),
            Ok(_) => (!sendable(secret.expose()))
                .then_some("has spaces or characters that cannot be sent; check how it was copied"),
        }
    }
}

/// A provider profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The name in configuration.
    pub name: String,
    /// Where its API begins; surfaces' paths are appended. Empty: each upstream must say.
    #[serde(default)]
    pub base_url: String,
    /// How a credential is presented.
    #[serde(default)]
    pub auth: AuthScheme,
    /// Environment variables that hold a key; found ones become upstreams of a server without configuration.
    #[serde(default)]
    pub env: Vec<String>,
    /// Headers sent unless the client sends them.
    #[serde(default)]
    pub default_headers: BTreeMap<String, String>,
    /// Words that upstreams fill into `base_url`, `surfaces` and the way of authenticating, with their defaults; an empty
    /// default must be given by each upstream.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Path per surface (`chat.openai_chat = "/chat/completions"`), with a query where one is always needed. `{model}`
    /// and `{method}` are filled in, and of `{one|other}` the first for whole answers, the second for streams; a model that
    /// stands in the path is not said in the body again.
    #[serde(default, deserialize_with = "surfaces")]
    #[schemars(with = "BTreeMap<Operation, BTreeMap<Dialect, String>>")]
    pub surfaces: BTreeMap<Surface, String>,
    /// Top-level fields put into the JSON body of a surface, unless the client sent them.
    #[serde(default, deserialize_with = "surfaces")]
    #[schemars(with = "BTreeMap<Operation, BTreeMap<Dialect, BTreeMap<String, serde_json::Value>>>")]
    pub params: BTreeMap<Surface, BTreeMap<String, serde_json::Value>>,
    /// Top-level members that it does not take in a body, although its format has them: what they say stands in the path.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Headers of its format that it wants in the body instead, as lists.
    #[serde(default)]
    pub body_headers: BTreeMap<String, BodyHeader>,
    /// Models it serves where neither the upstream nor discovery says.
    #[serde(default)]
    pub models: Vec<NamePattern>,
    /// Further paths that keys with `passthrough: true` may use, as globs below `base_url`. A `*` at the end stands for what
    /// may follow a whole segment: `/files*` is `/files`, `/files/x` and `/files:register`, not `/filesystem`.
    /// What costs money and cannot be priced is for accounts of policy `hard` only where a pattern here names it (`/videos*`,
    /// `/threads/*/runs*`, `/models/veo-*:predictLongRunning`).
    #[serde(default)]
    pub passthrough: Vec<NamePattern>,
    /// Whether it understands `stream_options.include_usage` (it must not be sent to those who answer 400 to it).
    #[serde(default = "yes")]
    pub include_usage: bool,
    /// Whether a call may cost nothing at all (a server of one's own): no price is needed under policy `hard`.
    #[serde(default)]
    pub free: bool,
    /// The catalog's name for its models, where it is not its own name (`vertex` sells Gemini's).
    #[serde(default)]
    pub catalog: Option<String>,
    /// Whether the gateway answers itself: the built-in demonstration.
    #[serde(default)]
    pub builtin: bool,
    /// Of several formats that it speaks, the one in which clients of other formats are served best.
    #[serde(default)]
    pub translate_to: Option<Dialect>,
    /// Where it departs from the format that it speaks; asked only where requests are translated.
    #[serde(default)]
    pub quirks: Quirks,
}

/// A header whose values are told in the body.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyHeader {
    /// The top-level member that lists them.
    pub member: String,
    /// The values that it takes; none named: all. Others it would answer with an error.
    #[serde(default)]
    pub known: Vec<NamePattern>,
}

impl BodyHeader {
    /// The values of a header that are told, in order and each once.
    pub fn values<'a>(&self, written: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut told: Vec<&str> = Vec::new();
        for value in written.flat_map(|line| line.split(',')).map(str::trim) {
            let is_known = self.known.is_empty() || self.known.iter().any(|pattern| pattern.matches(value));
            if !value.is_empty() && is_known && !told.contains(&value) {
                told.push(value);
            }
        }
        told
    }
}

/// Where a provider departs from the format that it speaks. In pass-through the client knows its provider and nothing is
/// changed; a translated request is ours, and must be one that this provider takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the catalog, and none excludes another"
)]
pub struct Quirks {
    /// Chat: the bound on the output is `max_completion_tokens`; others know only `max_tokens`.
    pub max_completion_tokens: bool,
    /// Chat: instructions may have the role `developer`; others know only `system`.
    pub developer_role: bool,
    /// Chat: reasoning of earlier turns is taken back as `reasoning_content`.
    pub reasoning_content: bool,
    /// Chat: reasoning of earlier turns is taken back as `reasoning`, without the rest of the word.
    pub reasoning: bool,
    /// Chat: whether to think is said by `thinking: {type: disabled}`, not by an effort of `none`.
    pub thinking_switch: bool,
    /// Chat: reasoning of earlier turns is taken back, seals and all, as OpenRouter's `reasoning_details`; others refuse them.
    pub reasoning_details: bool,
    /// Chat: cache marks of Anthropic's form (`cache_control`) stand on parts of content and on the whole request.
    pub cache_control: bool,
    /// Chat: Gemini's seals of tool calls are taken back as `extra_content`; others refuse the member.
    pub extra_content: bool,
    /// Chat: instructions and assistants' texts may be lists of parts; others want one string.
    pub text_parts: bool,
    /// It reads no addresses: pictures and documents are fetched and sent as data.
    pub media_as_data: bool,
    /// Members that its models which think answer with an error: left out for those that the catalog knows to think.
    pub thinking_models_refuse: Vec<String>,
    /// Members of a request that it answers with an error, or does not heed: left out, and noted as lost.
    pub unsupported: Vec<String>,
    /// Members that have another name there (`{seed: random_seed}`).
    pub renamed: BTreeMap<String, String>,
    /// Chat: members of messages that it answers with an error.
    pub message_unsupported: Vec<String>,
    /// Chat: members of functions that it answers with an error.
    pub function_unsupported: Vec<String>,
    /// Chat: ids of tool calls must have just so many letters and digits; 0: any will do.
    pub tool_id_length: usize,
    /// Chat: documents stand in parts of type `document_url`, as addresses or data.
    pub document_url: bool,
    /// Chat: the member that marks the last message as the beginning of the answer (`prefix`); empty: none is needed.
    pub prefill_mark: String,
    /// What it was given as the beginning of its answer it says once more.
    pub repeats_prefill: bool,
}

const fn yes() -> bool {
    true
}

impl Provider {
    /// The path of a surface below the base URL; `None` where it does not offer it.
    pub fn path(&self, surface: Surface) -> Option<&str> {
        self.surfaces.get(&surface).map(String::as_str)
    }

    /// What is wrong with the variables that an upstream gives; the mend included.
    pub fn variables_problem(&self, given: &BTreeMap<String, String>) -> Option<String> {
        let unknown = given.keys().find(|name| !self.variables.contains_key(*name));
        if let Some(name) = unknown {
            let known: Vec<&str> = self.variables.keys().map(String::as_str).collect();
            return Some(match known.as_slice() {
                [] => format!("the provider `{}` has no variables; remove `{name}`", self.name),
                known => format!(
                    "there is no variable `{name}`; the provider `{}` has: {}",
                    self.name,
                    known.join(", ")
                ),
            });
        }
        // They become parts of an address, and must not begin another part of it.
        let is_plain = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte))
        };
        if let Some((name, _)) = given.iter().find(|(_, value)| value.is_empty() || !is_plain(value)) {
            return Some(format!(
                "the variable `{name}` is empty or has characters that no address has"
            ));
        }
        let missing = self
            .variables
            .iter()
            .find(|(name, default)| default.is_empty() && !given.contains_key(*name));
        missing.map(|(name, _)| format!("the provider `{}` wants `variables: {{{name}: …}}`", self.name))
    }

    /// The catalog section that lists its models.
    pub fn catalog_name(&self) -> &str {
        self.catalog.as_deref().unwrap_or(&self.name)
    }
}

fn surfaces<'de, D, T>(deserializer: D) -> Result<BTreeMap<Surface, T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    let written = BTreeMap::<Operation, BTreeMap<Dialect, T>>::deserialize(deserializer)?;
    Ok(written
        .into_iter()
        .flat_map(|(operation, paths)| {
            paths
                .into_iter()
                .map(move |(dialect, path)| (Surface::new(operation, dialect), path))
        })
        .collect())
}
