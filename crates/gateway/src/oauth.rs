//! Logging accounts in: OAuth 2 with PKCE (RFC 6749, RFC 7636), from whichever side it is begun.
//!
//! A person opens an address, logs in at the provider, and brings back a code. What is proven on the way: that the code
//! belongs to this login (`state`), and that whoever spends it is who asked for it (the verifier, of which the provider
//! has seen only a hash). Both are made here and leave the process only for the one who finishes the login.
//!
//! The library for this would bring its own HTTP vocabulary, a second random generator and a calendar, and cannot say
//! what providers want besides the standard (JSON bodies, the `state` again); what is needed is two hashes and a form.

mod pasted;

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::account::{AccountMode, Pkce, TokenBody};
use domain::snapshot::Upstream;
use domain::{Failure, FailureClass, Secret, Timestamp};
use serde_json::Value;
use store::AccountTokens;

use crate::upstream::address::AddressRules;
use crate::upstream::auth::endpoint::{self, Errand, FORM};
use crate::upstream::auth::form::form;
use crate::upstream::client::UpstreamClient;
use crate::upstream::resolve::Resolve;

pub use pasted::Pasted;

/// Random bytes of a state and of a verifier: 43 characters, as RFC 7636 recommends.
const RANDOM_BYTES: usize = 32;

/// An access token is never believed to live longer.
const LIFE_MAX: Duration = Duration::from_hours(24 * 366);

/// A login that is to be made.
#[derive(Clone, Debug)]
pub struct Login {
    /// Where a person logs in.
    pub url: String,
    /// Comes back with the code.
    pub state: Secret,
    /// Goes with the code to the token endpoint.
    pub verifier: Secret,
}

/// Why no login can be begun, or none came of it. Says the mend, and no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoginError(pub String);

impl Login {
    /// Begins a login.
    ///
    /// # Errors
    /// The operator has configured no client id.
    pub fn begin(mode: &AccountMode) -> Result<Self, LoginError> {
        let client_id = mode.client_id().map_err(LoginError)?;
        let (state, verifier) = (random()?, random()?);
        let challenge = challenge(mode.pkce, &verifier);
        let scopes = mode.scopes.join(" ");
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", &mode.redirect_uri),
            ("scope", &scopes),
            ("code_challenge", &challenge),
            ("code_challenge_method", mode.pkce.name()),
            ("state", state.expose()),
        ];
        let extra = mode.authorize_params.iter();
        fields.extend(extra.map(|(name, value)| (name.as_str(), value.as_str())));
        fields.retain(|(_, value)| !value.is_empty());
        let joint = if mode.authorize_url.contains('?') { '&' } else { '?' };
        Ok(Self {
            url: format!("{}{joint}{}", mode.authorize_url, form(&fields)),
            state,
            verifier,
        })
    }
}

fn random() -> Result<Secret, LoginError> {
    let mut bytes = [0; RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| LoginError("the system gives no randomness".to_owned()))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

fn challenge(method: Pkce, verifier: &Secret) -> String {
    match method {
        Pkce::S256 => URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes())),
        Pkce::Plain => verifier.expose().to_owned(),
    }
}

/// What is given for tokens.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// The code of a login.
    Code {
        /// What the person brought back.
        code: &'a Secret,
        /// Of the login.
        state: &'a Secret,
        /// Of the login.
        verifier: &'a Secret,
    },
    /// A refresh token.
    Refresh(&'a Secret),
}

/// What to send to get tokens.
pub(crate) fn errand(mode: &AccountMode, client_id: &str, grant: Grant<'_>) -> Errand {
    let mut fields = match grant {
        Grant::Code { code, state, verifier } => {
            let mut fields = vec![
                ("grant_type", "authorization_code"),
                ("code", code.expose()),
                ("redirect_uri", &mode.redirect_uri),
                ("code_verifier", verifier.expose()),
            ];
            if mode.echo_state {
                fields.push(("state", state.expose()));
            }
            fields
        }
        Grant::Refresh(token) => vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())],
    };
    fields.push(("client_id", client_id));
    let (content_type, body) = match mode.body {
        TokenBody::Form => (FORM, form(&fields)),
        TokenBody::Json => {
            let object: serde_json::Map<String, Value> = fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                .collect();
            ("application/json", Value::Object(object).to_string())
        }
    };
    Errand {
        url: mode.token_url.clone(),
        content_type,
        body,
    }
}

/// Reads the tokens of an answer; one that brings no new refresh token leaves the old one good.
pub(crate) fn read(
    answer: &Value,
    client_id: &str,
    refresh: Option<&Secret>,
    now: Timestamp,
) -> Result<AccountTokens, Failure> {
    let rotated = answer["refresh_token"].as_str().filter(|token| !token.is_empty());
    Ok(AccountTokens {
        access: Secret::new(endpoint::access_token(answer)?),
        refresh: rotated.map(Secret::new).or_else(|| refresh.cloned()),
        client_id: client_id.to_owned(),
        issued_at: now,
        expires_at: now + endpoint::life(answer, LIFE_MAX),
    })
}

/// Spends codes of logins, with the rules for outbound connections that calls have.
#[derive(Debug)]
pub struct TokenClient {
    client: UpstreamClient,
}

impl TokenClient {
    /// With these rules.
    pub fn new(rules: AddressRules, resolver: std::sync::Arc<dyn Resolve>) -> Self {
        Self {
            client: UpstreamClient::new(rules, resolver),
        }
    }

    /// Gets tokens for a grant, by the way that `upstream` is reached.
    pub async fn tokens(
        &self,
        upstream: &Upstream,
        mode: &AccountMode,
        grant: Grant<'_>,
        now: Timestamp,
    ) -> Result<AccountTokens, LoginError> {
        let client_id = mode.client_id().map_err(LoginError)?;
        let asked = endpoint::ask(&self.client, upstream, errand(mode, client_id, grant)).await;
        let tokens = asked.and_then(|answer| read(&answer, client_id, None, now));
        tokens.map_err(|failure| LoginError(told(&failure, mode)))
    }
}

/// What came of it, for the person who tries.
fn told(failure: &Failure, mode: &AccountMode) -> String {
    let url = &mode.token_url;
    match (endpoint::word(failure), failure.class) {
        (Some("invalid_grant"), _) => {
            "the provider does not take the code (invalid_grant): it was used already, is too old, or belongs to another \
             login; begin again"
                .to_owned()
        }
        (Some(word), FailureClass::Auth) => format!(
            "{url} refused ({word}); check `client_id` and `redirect_uri` of the account mode `{}`",
            mode.name
        ),
        (_, FailureClass::RateLimited) => format!("{url} says that too many asked; wait a little and begin again"),
        _ => format!("{url}: {}; begin again", failure.detail),
    }
}

#[cfg(test)]
mod tests {
    use domain::account::{AccountDecl, AccountMode};

    use super::*;

    fn mode(name: &str) -> AccountMode {
        let own = AccountDecl {
            name: name.to_owned(),
            client_id: Some("app 1".to_owned()),
            ..AccountDecl::default()
        };
        let (modes, _) = AccountMode::all(&[own]);
        (**modes.iter().find(|mode| mode.name == name).unwrap()).clone()
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            challenge(Pkce::S256, &verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(challenge(Pkce::Plain, &verifier), verifier.expose());
    }

    #[test]
    fn the_address_says_everything_and_shows_no_verifier() {
        let login = Login::begin(&mode("max")).unwrap();
        let query = login.url.strip_prefix("https://claude.ai/oauth/authorize?").unwrap();
        let challenge = challenge(Pkce::S256, &login.verifier);
        assert_eq!(
            query,
            format!(
                "response_type=code&client_id=app%201&redirect_uri=https%3A%2F%2Fconsole.anthropic.com%2Foauth%2Fcode%2Fcallback\
                 &scope=org%3Acreate_api_key%20user%3Aprofile%20user%3Ainference&code_challenge={challenge}\
                 &code_challenge_method=S256&state={}&code=true",
                login.state.expose()
            )
        );
        assert!(!login.url.contains(login.verifier.expose()));
        assert_ne!(login.state, Login::begin(&mode("max")).unwrap().state);
    }

    #[test]
    fn without_a_client_id_the_mend_is_told() {
        let mode = AccountMode {
            client_id: None,
            ..mode("console")
        };
        let error = Login::begin(&mode).unwrap_err().to_string();
        assert!(error.contains("accounts: [{name: console, client_id:"), "{error}");
    }

    #[test]
    fn requests_are_written_as_the_mode_wants_them() {
        let (code, state, verifier) = (Secret::new("c"), Secret::new("s"), Secret::new("v"));
        let grant = Grant::Code {
            code: &code,
            state: &state,
            verifier: &verifier,
        };
        let json = errand(&mode("max"), "app", grant);
        assert_eq!(json.content_type, "application/json");
        let body: Value = serde_json::from_str(&json.body).unwrap();
        assert_eq!(
            (&body["code_verifier"], &body["state"], &body["client_id"]),
            (&"v".into(), &"s".into(), &"app".into())
        );
        let standard = AccountMode {
            body: TokenBody::Form,
            echo_state: false,
            ..mode("max")
        };
        let form = errand(&standard, "app", Grant::Refresh(&Secret::new("r+1")));
        assert_eq!(form.body, "grant_type=refresh_token&refresh_token=r%2B1&client_id=app");
        assert!(!errand(&standard, "app", grant).body.contains("state="));
    }

    #[test]
    fn a_refresh_token_that_is_not_rotated_stays() {
        let now = Timestamp::from_secs(100);
        let old = Secret::new("old");
        let read = |answer: Value| read(&answer, "app", Some(&old), now).unwrap();
        let kept = read(serde_json::json!({"access_token": "a", "expires_in": 60}));
        assert_eq!(
            (kept.refresh, kept.expires_at),
            (Some(old.clone()), Timestamp::from_secs(160))
        );
        let rotated = read(serde_json::json!({"access_token": "a", "refresh_token": "new"}));
        assert_eq!(rotated.refresh, Some(Secret::new("new")));
        assert!(!format!("{rotated:?}").contains("new"));
    }
}
