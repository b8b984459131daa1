//! A service account's token: a claim signed with its key (RS256) is exchanged for one
//! (<https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use domain::cloud::ServiceAccount;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use super::endpoint::{Errand, FORM};
use super::form::form;

/// For how long a claim holds: the longest that Google takes.
const CLAIM_SECS: i64 = 3_600;

/// Why a key file is of no use.
const NO_KEY: &str = "holds a `private_key` that is no RSA key in PKCS#8";

/// What to send to get a token.
pub(super) fn errand(account: &ServiceAccount, scope: &str, now: Timestamp) -> Result<Errand, &'static str> {
    let claim = claim(account, scope, now)?;
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", &claim),
    ];
    Ok(Errand {
        url: account.token_uri.clone(),
        content_type: FORM,
        body: form(&fields),
    })
}

fn claim(account: &ServiceAccount, scope: &str, now: Timestamp) -> Result<String, &'static str> {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id});
    let issued = now.unix_secs();
    let claims = json!({
        "iss": account.client_email,
        "scope": scope,
        "aud": account.token_uri,
        "iat": issued,
        "exp": issued + CLAIM_SECS,
    });
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let der = PrivatePkcs8KeyDer::from_pem_slice(account.private_key.expose().as_bytes()).map_err(|_| NO_KEY)?;
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| NO_KEY)?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .map_err(|_| NO_KEY)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::encoding::Pkcs8V1Der;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::engine::general_purpose::STANDARD;
    use domain::Secret;
    use serde_json::Value;

    use super::*;

    fn account(key: &KeyPair) -> ServiceAccount {
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let file =
            json!({"client_email": "a@p.iam", "private_key": pem, "private_key_id": "k1", "token_uri": "http://t/"});
        ServiceAccount::read(&Secret::new(file.to_string())).unwrap().unwrap()
    }

    #[test]
    fn the_claim_says_who_for_what_and_until_when_and_is_signed() {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let errand = errand(&account(&key), "scope", Timestamp::from_secs(1_000)).unwrap();
        assert_eq!(errand.url, "http://t/");
        let claim = errand.body.split_once("assertion=").unwrap().1;
        let parts: Vec<&str> = claim.split('.').collect();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let read = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
        assert_eq!(read(parts[0])["kid"], "k1");
        assert_eq!(
            read(parts[1]),
            json!({"iss": "a@p.iam", "scope": "scope", "aud": "http://t/", "iat": 1000, "exp": 4600})
        );
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        let signed = format!("{}.{}", parts[0], parts[1]);
        public.verify(signed.as_bytes(), &decode(parts[2])).unwrap();
    }

    #[test]
    fn a_bad_key_is_told_without_it() {
        let file =
            json!({"client_email": "a", "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"});
        let account = ServiceAccount::read(&Secret::new(file.to_string())).unwrap().unwrap();
        assert_eq!(errand(&account, "s", Timestamp::default()).unwrap_err(), NO_KEY);
    }
}
