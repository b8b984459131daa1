//! Accounts that log in instead of having a key: OAuth 2 with PKCE, as data.
//!
//! A *mode* is a kind of account: where it logs in, what its tokens need beside them, and its plan, which is the models
//! that it may use. Modes are a table of the catalog; the configuration lays its own words over it, and must: the client
//! id stands for a program that the provider knows, so Tollgate ships none and pretends to be nobody's client.
//!
//! An account itself is a credential whose secret is renewed; everything that holds for credentials holds for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NamePattern, Timestamp, catalog};

/// `accounts[]`: what the operator says about a mode. Where it says nothing, the built-in mode of this name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountDecl {
    /// The mode: `console`, `max`, or one of your own.
    pub name: String,
    /// The id by which the provider knows your program. There is none built in.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The upstream that new accounts belong to; default: the only one of `provider`.
    #[serde(default)]
    pub upstream: Option<String>,
    /// The provider preset that its tokens are for.
    #[serde(default)]
    pub provider: Option<String>,
    /// Where people log in.
    #[serde(default)]
    pub authorize_url: Option<String>,
    /// Where codes and refresh tokens become access tokens.
    #[serde(default)]
    pub token_url: Option<String>,
    /// Where the provider sends people with their code; must be one that it has on file for the client id.
    #[serde(default)]
    pub redirect_uri: Option<String>,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// Further fields of the login's address.
    #[serde(default)]
    pub authorize_params: Option<BTreeMap<String, String>>,
    /// How the code is bound to who asked for it.
    #[serde(default)]
    pub pkce: Option<Pkce>,
    /// How requests for tokens are written.
    #[serde(default)]
    pub body: Option<TokenBody>,
    /// Whether the token endpoint wants the login's `state` as well.
    #[serde(default)]
    pub echo_state: Option<bool>,
    /// Headers that calls with its tokens need; joined to those of the client.
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    /// The plan: models that it may use, as names or globs.
    #[serde(default)]
    pub models: Option<Vec<NamePattern>>,
}

/// How a code is bound to who asked for it (RFC 7636).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Pkce {
    /// By a hash.
    #[default]
    S256,
    /// By the text itself; for servers that know no better.
    #[serde(rename = "plain")]
    Plain,
}

impl Pkce {
    /// The word of the protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::S256 => "S256",
            Self::Plain => "plain",
        }
    }
}

/// How requests for tokens are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenBody {
    /// As the standard says (RFC 6749).
    #[default]
    Form,
    /// As JSON.
    Json,
}

/// A mode, complete.
#[derive(Clone, Debug)]
pub struct AccountMode {
    /// Its name, which is the plan's too.
    pub name: String,
    /// `None`: the operator has given none, so nobody can log in.
    pub client_id: Option<String>,
    /// The upstream that new accounts belong to.
    pub upstream: Option<String>,
    /// The provider preset that its tokens are for.
    pub provider: String,
    /// Where people log in.
    pub authorize_url: String,
    /// Where codes and refresh tokens become access tokens.
    pub token_url: String,
    /// Where the provider sends people with their code.
    pub redirect_uri: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Further fields of the login's address.
    pub authorize_params: BTreeMap<String, String>,
    /// How the code is bound to who asked for it.
    pub pkce: Pkce,
    /// How requests for tokens are written.
    pub body: TokenBody,
    /// Whether the token endpoint wants the login's `state` as well.
    pub echo_state: bool,
    /// Headers that calls with its tokens need.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The plan; `None`: every model that its upstream serves.
    pub models: Option<Vec<NamePattern>>,
}

impl AccountMode {
    /// Every mode: the built-in ones with what the operator says about them, then the operator's own. The second half is
    /// what is wrong with those that are left out, by name.
    pub fn all(own: &[AccountDecl]) -> (Vec<Arc<Self>>, Vec<(String, String)>) {
        let builtin = catalog::accounts();
        let said = |name: &str| own.iter().find(|decl| decl.name.eq_ignore_ascii_case(name)).cloned();
        let laid_over = builtin
            .iter()
            .map(|base| said(&base.name).unwrap_or_default().over(base));
        let is_builtin = |decl: &&AccountDecl| builtin.iter().any(|base| base.name.eq_ignore_ascii_case(&decl.name));
        let others = own.iter().filter(|decl| !is_builtin(decl)).cloned();
        let (mut modes, mut problems) = (Vec::new(), Vec::new());
        for decl in laid_over.chain(others) {
            let name = decl.name.clone();
            match Self::of(decl) {
                Ok(mode) => modes.push(Arc::new(mode)),
                Err(problem) => problems.push((name, problem)),
            }
        }
        (modes, problems)
    }

    /// The mode that a complete declaration describes; `Err` says what it lacks, with the mend.
    pub fn of(decl: AccountDecl) -> Result<Self, String> {
        let name = decl.name;
        let wanted = |value: Option<String>, key: &str| {
            value.ok_or_else(|| format!("the account mode `{name}` is not a built-in one and has no `{key}`; add it"))
        };
        let headers = decl.headers.unwrap_or_default().into_iter().map(|(header, value)| {
            let bad = || format!("the header `{header}` of account mode `{name}` cannot be sent; correct it");
            let sent = HeaderName::try_from(header.as_str()).map_err(|_| bad())?;
            Ok((sent, HeaderValue::try_from(value).map_err(|_| bad())?))
        });
        Ok(Self {
            headers: headers.collect::<Result<_, String>>()?,
            provider: wanted(decl.provider, "provider")?,
            authorize_url: wanted(decl.authorize_url, "authorize_url")?,
            token_url: wanted(decl.token_url, "token_url")?,
            redirect_uri: wanted(decl.redirect_uri, "redirect_uri")?,
            client_id: decl.client_id.filter(|id| !id.trim().is_empty()),
            upstream: decl.upstream,
            scopes: decl.scopes.unwrap_or_default(),
            authorize_params: decl.authorize_params.unwrap_or_default(),
            pkce: decl.pkce.unwrap_or_default(),
            body: decl.body.unwrap_or_default(),
            echo_state: decl.echo_state.unwrap_or(false),
            models: decl.models,
            name,
        })
    }

    /// The client id; `Err` is the mend.
    pub fn client_id(&self) -> Result<&str, String> {
        self.client_id.as_deref().ok_or_else(|| {
            format!(
                "there is no client id for accounts of mode `{name}`, and none is built in: register your program with \
                 the provider and write into the configuration `accounts: [{{name: {name}, client_id: \"…\"}}]`",
                name = self.name
            )
        })
    }
}

impl AccountDecl {
    /// What this says, and where it says nothing what `base` says.
    fn over(self, base: &Self) -> Self {
        Self {
            name: base.name.clone(),
            client_id: self.client_id.or_else(|| base.client_id.clone()),
            upstream: self.upstream.or_else(|| base.upstream.clone()),
            provider: self.provider.or_else(|| base.provider.clone()),
            authorize_url: self.authorize_url.or_else(|| base.authorize_url.clone()),
            token_url: self.token_url.or_else(|| base.token_url.clone()),
            redirect_uri: self.redirect_uri.or_else(|| base.redirect_uri.clone()),
            scopes: self.scopes.or_else(|| base.scopes.clone()),
            authorize_params: self.authorize_params.or_else(|| base.authorize_params.clone()),
            pkce: self.pkce.or(base.pkce),
            body: self.body.or(base.body),
            echo_state: self.echo_state.or(base.echo_state),
            headers: self.headers.or_else(|| base.headers.clone()),
            models: self.models.or_else(|| base.models.clone()),
        }
    }
}

/// What the database knows of a credential that is an account, beside its access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountState {
    /// The name of its mode.
    pub mode: String,
    /// Grows with every pair of tokens.
    pub generation: i64,
    /// When its access token was made.
    pub issued_at: Timestamp,
    /// When its access token ends.
    pub expires_at: Timestamp,
    /// Why somebody has to log in again.
    pub needs_login: Option<String>,
}

/// A credential that is an account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its kind; `None`: the configuration no longer has the mode, so nothing is known of its plan.
    pub mode: Option<Arc<AccountMode>>,
    /// What the database knows.
    pub state: AccountState,
}

impl Account {
    /// Whether its plan has the model.
    pub fn may_use(&self, model: &str) -> bool {
        let Some(mode) = &self.mode else { return false };
        let models = mode.models.as_ref();
        models.is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(own: &[AccountDecl], name: &str) -> Arc<AccountMode> {
        let (modes, problems) = AccountMode::all(own);
        assert!(problems.is_empty(), "{problems:?}");
        modes.into_iter().find(|mode| mode.name == name).expect("the mode")
    }

    fn account(mode: Option<Arc<AccountMode>>) -> Account {
        let state = AccountState {
            mode: "max".to_owned(),
            generation: 1,
            issued_at: Timestamp(0),
            expires_at: Timestamp(0),
            needs_login: None,
        };
        Account { mode, state }
    }

    #[test]
    fn the_shipped_table_divides_the_models_by_plan_and_has_no_client() {
        const BOTH: [&str; 3] = [
            "claude-3-5-sonnet-20241022",
            "claude-3-haiku-20240307",
            "claude-3-5-haiku-20241022",
        ];
        for name in ["console", "max"] {
            let mode = mode(&[], name);
            assert_eq!((mode.client_id.as_ref(), mode.pkce), (None, Pkce::S256), "{name}");
            assert!(mode.client_id().unwrap_err().contains("client_id"));
            let account = account(Some(mode));
            assert!(BOTH.iter().all(|model| account.may_use(model)), "{name}");
            assert_eq!(account.may_use("claude-3-opus-20240229"), name == "max");
            assert!(!account.may_use("claude-2.1"));
        }
    }

    #[test]
    fn the_operators_words_go_over_the_table() {
        let own = AccountDecl {
            name: "MAX".to_owned(),
            client_id: Some("app-1".to_owned()),
            models: Some(vec!["claude-*".into()]),
            ..AccountDecl::default()
        };
        let max = mode(&[own], "max");
        assert_eq!(max.client_id(), Ok("app-1"));
        assert_eq!(max.redirect_uri, "https://console.anthropic.com/oauth/code/callback");
        assert!(account(Some(max)).may_use("claude-2.1"));
        assert!(
            !account(None).may_use("claude-2.1"),
            "a mode that is gone allows nothing"
        );
    }

    #[test]
    fn a_mode_of_ones_own_must_be_complete() {
        let own = AccountDecl {
            name: "mine".to_owned(),
            provider: Some("openai".to_owned()),
            ..AccountDecl::default()
        };
        let (modes, problems) = AccountMode::all(&[own]);
        assert_eq!(modes.len(), 2);
        assert!(problems[0].1.contains("`authorize_url`; add it"), "{problems:?}");
    }
}
