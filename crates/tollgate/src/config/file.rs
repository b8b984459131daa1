//! What the configuration file says, as types: the contract of `docs/tollgate.schema.json`.
//!
//! Resources have the types of `domain::declaration`, so that a resource means the same in the file, on the command
//! line and in the database. What is here belongs to the process.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use domain::account::AccountDecl;
use domain::declaration::{Defaults, KeyDecl, KeyTerms, ModelDecl, Period, UpstreamDecl, UserDecl};
use domain::limits::Limits;
use domain::{Groups, KeepDecisions, NamePattern, Provider, Secret, SystemPromptDecl};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::size::Size;

/// `server.listen`, where nothing else is said.
pub const LISTEN: &str = "127.0.0.1:4270";

/// The whole file. Read section by section, so that one mistake does not hide the others; this type is its schema.
#[derive(Debug, JsonSchema)]
#[schemars(
    deny_unknown_fields,
    default,
    title = "tollgate.yaml",
    description = "Configuration of Tollgate. Everything is optional; unknown keys are errors; `${VAR}` and `${VAR:-default}` are expanded in values."
)]
#[derive(Default)]
pub struct File {
    /// How clients reach it.
    pub server: Server,
    /// Where accounts and receipts are kept.
    pub storage: Storage,
    /// Secrets of the process, and what is allowed.
    pub security: Security,
    /// Logs of the process, and the request log.
    pub logs: Logs,
    /// What a resource does where it does not say.
    pub defaults: Defaults,
    /// Text that you put into conversations.
    pub system_prompt: SystemPromptDecl,
    /// Families of models' names by the group of upstreams that they go to: `{openai: ["gpt-*", "o*"]}`. The longest that
    /// matches decides.
    pub groups: Groups,
    /// Provider presets of your own; they go before the built-in ones of the same name.
    pub providers: Vec<Provider>,
    /// Kinds of accounts that log in instead of having a key: your client id, and what else differs from the built-in
    /// modes `console` and `max`.
    pub accounts: Vec<AccountDecl>,
    /// Endpoints at providers. Left out: one for each provider whose key is in the environment (`OPENAI_API_KEY` …).
    pub upstreams: Option<Vec<UpstreamDecl>>,
    /// Names that clients use, beside those that upstreams serve by themselves.
    pub models: Vec<ModelDecl>,
    /// Who owns keys and money.
    pub users: Vec<UserDecl>,
    /// What clients authenticate with.
    pub keys: Vec<KeyEntry>,
    /// Names of pools of credentials. A key of one uses only its credentials, and they serve no other key.
    pub profiles: Vec<String>,
}

/// The keys of [`File`], for errors about a key that is none of them.
pub const SECTIONS: [&str; 14] = [
    "server",
    "storage",
    "security",
    "logs",
    "defaults",
    "system_prompt",
    "groups",
    "providers",
    "accounts",
    "upstreams",
    "models",
    "users",
    "keys",
    "profiles",
];

/// `server`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port. `0.0.0.0:4270` serves the whole network.
    pub listen: String,
    /// For a whole call, where an upstream does not say.
    pub request_timeout: Period,
    /// The largest request body.
    pub body_limit: Size,
    /// All request bodies together.
    pub body_budget: Size,
    /// Whether files that requests name by their addresses are fetched, from public addresses only, for upstreams whose
    /// format takes nothing but bytes.
    pub fetch_urls: bool,
    /// Origins of browsers that may call, such as `https://app.example.com`; `*` for any.
    pub cors_origins: Vec<String>,
    /// Networks of proxies whose `x-forwarded-for` is believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: LISTEN.to_owned(),
            request_timeout: Period::from_secs(600),
            body_limit: Size(32 << 20),
            body_budget: Size(1 << 30),
            fetch_urls: true,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// `storage`
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// `sqlite://path` or `postgres://user:password@host/database`.
    pub url: String,
    /// The local log of receipts that have not reached the database yet.
    pub journal: JournalSettings,
    /// Conversations that are kept for clients of the Responses format where the upstream keeps none.
    pub conversations: ConversationSettings,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            url: "sqlite://data/tollgate.db".to_owned(),
            journal: JournalSettings::default(),
            conversations: ConversationSettings::default(),
        }
    }
}

impl fmt::Debug for Storage {
    /// Without the URL's password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("journal", &self.journal)
            .field("conversations", &self.conversations)
            .finish_non_exhaustive()
    }
}

/// `storage.conversations`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConversationSettings {
    /// How long an answer can be continued by `previous_response_id`, since it was last; `0s`: nothing is kept.
    pub keep: Period,
}

impl Default for ConversationSettings {
    /// As long as OpenAI does.
    fn default() -> Self {
        Self {
            keep: Period(Duration::from_hours(30 * 24)),
        }
    }
}

/// `storage.journal`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// Its folder; one process at a time.
    pub dir: PathBuf,
    /// When a receipt counts as written.
    pub sync: SyncMode,
    /// How long booked receipts are kept, to be replayed into a restored database.
    pub keep: Period,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data/journal"),
            sync: SyncMode::Interval,
            keep: Period::from_secs(7 * 86_400),
        }
    }
}

/// `storage.journal.sync`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// When the operating system has it: survives a crash of the process, not of the machine.
    Os,
    /// The same, and forced to the disk at short intervals.
    Interval,
    /// When it is on the disk.
    Always,
}

/// `security`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// 32 bytes in base64 that seal the credentials; several, separated by commas, newest first, while rotating.
    /// Left out: generated once.
    pub encryption_key: Option<Secret>,
    /// Opens `/metrics` and the operator's views. Left out: generated once.
    pub admin_token: Option<Secret>,
    /// A key that may do everything, as a built-in user without limits.
    pub master_key: Option<Secret>,
    /// Whether keys created from now on can be shown again.
    pub allow_key_reveal: bool,
    /// Networks that upstreams may be in although they are not public.
    #[schemars(with = "Vec<String>")]
    pub allow_upstream_cidrs: Vec<IpNet>,
}

/// `logs`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// `error`, `warn`, `info`, `debug` or `trace`; also per part: `info,gateway=debug`.
    pub level: String,
    /// Of the lines on stdout. Left out: `text` on a terminal, else `json`.
    pub format: Option<LogFormat>,
    /// A folder for log files as well, one per day or more.
    pub dir: Option<PathBuf>,
    /// How long log files and the request log are kept. Accounts are kept for ever.
    pub retention: Period,
    /// Prompts and answers are not logged.
    pub bodies: Bodies,
    /// Of which calls the request log keeps why they went where they went: `notable` (tried more than once, not well ended,
    /// something was not well at that moment; and one in sixteen of the others), `all` or `off`.
    pub decisions: KeepDecisions,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: None,
            dir: None,
            retention: Period::from_secs(90 * 86_400),
            bodies: Bodies::Off,
            decisions: KeepDecisions::Notable,
        }
    }
}

/// `logs.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// `logs.bodies`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bodies {
    /// Not logged.
    #[default]
    Off,
}

/// `keys[]`. The same as [`KeyDecl`], written flat: a flattened type would lose the places of its mistakes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Unique among keys.
    pub name: String,
    /// Its owner, one of `users`.
    pub user: String,
    /// What clients send.
    pub key: Secret,
    /// Models it may use; none named: all.
    #[serde(default)]
    pub models: Vec<NamePattern>,
    /// Its limits; zero: as `defaults.limits`.
    #[serde(default)]
    pub limits: Limits,
    /// The date (`2027-01-01`) or time (RFC 3339) from which it is refused.
    #[serde(default)]
    pub expires: Option<String>,
    /// Networks it may be used from; none named: all.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpNet>,
    /// Whether it may use provider paths beyond the metered operations.
    #[serde(default)]
    pub passthrough: bool,
    /// One of `profiles`, whose credentials it uses, and no others; none named: credentials without a profile.
    #[serde(default)]
    pub profile: Option<String>,
}

impl From<KeyEntry> for KeyDecl {
    fn from(entry: KeyEntry) -> Self {
        let KeyEntry {
            name,
            user,
            key,
            models,
            limits,
            expires,
            addresses,
            passthrough,
            profile,
        } = entry;
        Self {
            name,
            user,
            key,
            terms: KeyTerms {
                models,
                limits,
                expires,
                addresses,
                passthrough,
                profile,
            },
        }
    }
}
