//! An application's token from Microsoft Entra
//! (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>).

use domain::cloud::EntraClient;

use super::endpoint::{Errand, FORM};
use super::form::form;

/// What to send to get a token.
pub(super) fn errand(client: &EntraClient<'_>, authority: &str, scope: &str) -> Errand {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", client.client),
        ("client_secret", client.secret.expose()),
        ("scope", scope),
    ];
    Errand {
        url: format!(
            "{}/{}/oauth2/v2.0/token",
            authority.trim_end_matches('/'),
            client.tenant
        ),
        content_type: FORM,
        body: form(&fields),
    }
}

#[cfg(test)]
mod tests {
    use domain::Secret;

    use super::*;

    #[test]
    fn asks_the_tenant_for_the_scope() {
        let secret = Secret::new("contoso.com:app-1:s/e");
        let client = EntraClient::read(&secret).unwrap().unwrap();
        let errand = errand(&client, "https://login.microsoftonline.com/", "https://x/.default");
        assert_eq!(
            errand.url,
            "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"
        );
        assert_eq!(
            errand.body,
            "grant_type=client_credentials&client_id=app-1&client_secret=s%2Fe&scope=https%3A%2F%2Fx%2F.default"
        );
    }
}
