//! Secrets of clouds, which have parts.
//!
//! A credential is one text in the configuration, on the command line and in the vault, whatever it is made of: so it is
//! sealed, compared and blanked in one way. What a cloud gives out in parts is written with colons between them, and
//! Google's file as it is. Which of its two kinds a secret is, parts or a plain API key, is told by its shape.
//!
//! Nothing here quotes the secret: what is wrong is said without it.

use serde::Deserialize;

use crate::Secret;

/// AWS access keys: `access_key_id:secret_access_key`, and a session token after a third colon.
#[derive(Clone, Debug)]
pub struct AwsKeys<'a> {
    /// Goes out with every request, and into the signature's scope.
    pub id: &'a str,
    /// Signs.
    pub secret: HiddenText<'a>,
    /// Of temporary keys.
    pub session_token: Option<HiddenText<'a>>,
}

/// A client of Microsoft Entra: `tenant:client:secret`.
#[derive(Clone, Debug)]
pub struct EntraClient<'a> {
    /// The tenant's id or domain.
    pub tenant: &'a str,
    /// The application's id.
    pub client: &'a str,
    /// Its secret.
    pub secret: HiddenText<'a>,
}

/// Google's key file of a service account.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceAccount {
    /// Who.
    pub client_email: String,
    /// PEM.
    pub private_key: Secret,
    /// Which of its keys.
    #[serde(default)]
    pub private_key_id: String,
    /// Where tokens are to be had.
    #[serde(default = "token_uri")]
    pub token_uri: String,
}

fn token_uri() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// A part of a secret, which cannot be printed either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HiddenText<'a>(&'a str);

impl<'a> HiddenText<'a> {
    /// The text itself.
    pub const fn expose(self) -> &'a str {
        self.0
    }
}

impl std::fmt::Debug for HiddenText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HiddenText(…)")
    }
}

/// Why a secret with parts is none.
const AWS: &str =
    "is neither `access_key_id:secret_access_key` (with `:session_token` where there is one) nor a Bedrock API key";
const ENTRA: &str = "is neither `tenant:client:secret` of an Entra application nor an API key";
const GOOGLE: &str = "begins like a service account's key file but is not one; give the whole JSON, in quotes";

impl<'a> AwsKeys<'a> {
    /// The keys; `None`: it is an API key, which has no colon.
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(secret: &'a Secret) -> Result<Option<Self>, &'static str> {
        let text = secret.expose();
        if !text.contains(':') {
            return Ok(None);
        }
        let mut parts = text.splitn(3, ':');
        let (id, key) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let token = parts.next();
        // Ids of keys have nothing else in them, and go into a header as they are.
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_id || key.is_empty() || token == Some("") {
            return Err(AWS);
        }
        Ok(Some(Self {
            id,
            secret: HiddenText(key),
            session_token: token.map(HiddenText),
        }))
    }
}

impl EntraClient<'_> {
    /// Whether the secret is meant to be one.
    pub fn is_one(secret: &Secret) -> bool {
        secret.expose().contains(':')
    }
}

impl<'a> EntraClient<'a> {
    /// The client; `None`: it is an API key, which has no colon.
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(secret: &'a Secret) -> Result<Option<Self>, &'static str> {
        let text = secret.expose();
        if !text.contains(':') {
            return Ok(None);
        }
        // The secret itself may have colons.
        let mut parts = text.splitn(3, ':');
        let (tenant, client) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is_name = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        match parts.next() {
            Some(secret) if !secret.is_empty() && is_name(tenant) && is_name(client) => Ok(Some(Self {
                tenant,
                client,
                secret: HiddenText(secret),
            })),
            _ => Err(ENTRA),
        }
    }
}

impl ServiceAccount {
    /// Whether the secret is meant to be one.
    pub fn is_one(secret: &Secret) -> bool {
        secret.expose().trim_start().starts_with('{')
    }

    /// The service account; `None`: it is an API key, which does not begin with a brace.
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(secret: &Secret) -> Result<Option<Self>, &'static str> {
        let text = secret.expose().trim();
        if !text.starts_with('{') {
            return Ok(None);
        }
        serde_json::from_str(text).map(Some).map_err(|_| GOOGLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_aws_have_two_or_three_parts() {
        let secret = Secret::new("AKIDEXAMPLE:wJalr/K7+bPx:tok:en==");
        let keys = AwsKeys::read(&secret).unwrap().unwrap();
        assert_eq!((keys.id, keys.secret.expose()), ("AKIDEXAMPLE", "wJalr/K7+bPx"));
        assert_eq!(keys.session_token.map(HiddenText::expose), Some("tok:en=="));
        assert!(AwsKeys::read(&Secret::new("ABSKQmVkcm9jaw==")).unwrap().is_none());
        for bad in ["A K:x", ":x", "AKID:", "AKID:x:"] {
            assert_eq!(AwsKeys::read(&Secret::new(bad)).unwrap_err(), AWS, "{bad}");
        }
        assert!(!format!("{keys:?}").contains("wJalr"));
    }

    #[test]
    fn a_client_of_entra_has_three_parts() {
        let secret = Secret::new("contoso.com:0000-11:s:e~c");
        let client = EntraClient::read(&secret).unwrap().unwrap();
        assert_eq!(
            (client.tenant, client.client, client.secret.expose()),
            ("contoso.com", "0000-11", "s:e~c")
        );
        assert!(EntraClient::read(&Secret::new("0123456789abcdef")).unwrap().is_none());
        assert!(EntraClient::read(&Secret::new("a/b:c:d")).is_err());
        assert!(!format!("{client:?}").contains("s:e~c"));
    }

    #[test]
    fn a_service_account_is_its_file() {
        let secret = Secret::new(
            r#" {"type":"service_account","client_email":"a@b","private_key":"-----BEGIN","project_id":"p"}"#,
        );
        let account = ServiceAccount::read(&secret).unwrap().unwrap();
        assert_eq!(account.token_uri, "https://oauth2.googleapis.com/token");
        assert!(!format!("{account:?}").contains("BEGIN"));
        assert!(ServiceAccount::read(&Secret::new("AIzaSy")).unwrap().is_none());
        assert_eq!(
            ServiceAccount::read(&Secret::new("{\"client_email\":1}")).unwrap_err(),
            GOOGLE
        );
    }
}
