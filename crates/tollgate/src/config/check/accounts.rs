//! Checks of kinds of accounts: that each is complete, and that its addresses are some.

use domain::account::{AccountDecl, AccountMode};
use domain::{Provider, catalog};

use super::super::Listed;
use super::super::mistake::{Mistake, Mistakes};
use super::super::suggest::hint;
use super::{Names, base_url, check_name, complain};

/// Checks `accounts`; `own` are the presets of the file.
pub fn accounts(listed: &[Listed<'_, AccountDecl>], own: &[&Provider], mistakes: &mut Mistakes) {
    let mut names = Names::default();
    for account in listed {
        let decl = &account.decl;
        check_name(account, &decl.name, &mut names, mistakes);
        let urls = [
            ("authorize_url", &decl.authorize_url),
            ("token_url", &decl.token_url),
            ("redirect_uri", &decl.redirect_uri),
        ];
        for (key, url) in urls {
            // The page to log in at may have a query already.
            let url = url.as_deref().map(|url| url.split('?').next().unwrap_or_default());
            if let Some(problem) = url.and_then(base_url) {
                complain(account, key, problem, mistakes);
            }
        }
        if decl.client_id.as_ref().is_some_and(|id| id.trim().is_empty()) {
            let message = "is empty; give the id by which the provider knows your program, or remove the key";
            complain(account, "client_id", message, mistakes);
        }
        check_provider(account, own, mistakes);
        let (_, problems) = AccountMode::all(std::slice::from_ref(decl));
        for (_, problem) in problems {
            mistakes.push(Mistake::of(account.node.at.clone(), account.path.as_str(), problem));
        }
    }
}

fn check_provider(account: &Listed<'_, AccountDecl>, own: &[&Provider], mistakes: &mut Mistakes) {
    let Some(name) = &account.decl.provider else { return };
    let own = own.iter().map(|provider| provider.name.as_str());
    let builtin = catalog::providers().iter().map(|provider| provider.name.as_str());
    let known: Vec<&str> = own.chain(builtin).collect();
    if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        let message = format!("there is no provider `{name}`{}", hint(name, &known));
        complain(account, "provider", message, mistakes);
    }
}
