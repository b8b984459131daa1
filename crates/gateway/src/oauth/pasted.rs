//! What a person brings back from a login: the provider shows `code#state`, or their browser ends at an address with both
//! in its query.

use domain::Secret;

use super::LoginError;

/// A code and the login that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pasted {
    /// Spent once at the token endpoint.
    pub code: Secret,
    /// Of the login.
    pub state: Secret,
}

impl Pasted {
    /// Reads what was pasted.
    ///
    /// # Errors
    /// It is neither form, or the provider's word that nobody logged in.
    pub fn read(text: &str) -> Result<Self, LoginError> {
        let text = text.trim().trim_matches(['"', '\'']);
        let (code, state) = if let Some((_, query)) = text.split_once('?') {
            of_query(query)?
        } else {
            let (code, state) = text.split_once('#').ok_or_else(half)?;
            (code.to_owned(), state.to_owned())
        };
        let sendable = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !sendable(&code) || !sendable(&state) {
            return Err(half());
        }
        Ok(Self {
            code: Secret::new(code),
            state: Secret::new(state),
        })
    }
}

fn half() -> LoginError {
    let message = "that is not a code with its state; paste all of it, as `code#state` or as the whole address that \
                   your browser ended at";
    LoginError(message.to_owned())
}

fn of_query(query: &str) -> Result<(String, String), LoginError> {
    let (mut code, mut state) = (String::new(), String::new());
    let query = query.split('#').next().unwrap_or_default();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "code" => code = decoded(value),
            "state" => state = decoded(value),
            "error" => {
                let word: String = decoded(value)
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                return Err(LoginError(format!(
                    "the provider says that nobody logged in ({word}); begin again"
                )));
            }
            _ => {}
        }
    }
    Ok((code, state))
}

/// Without its percent signs; what is no text becomes what nobody can send.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = byte.filter(|_| *first == b'%') {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, String), String> {
        Pasted::read(text)
            .map(|pasted| (pasted.code.expose().to_owned(), pasted.state.expose().to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_understood() {
        let both = Ok(("c/1".to_owned(), "s-2".to_owned()));
        assert_eq!(read(" c/1#s-2\n"), both);
        assert_eq!(read("https://app.example/back?x=1&code=c%2F1&state=s-2#top"), both);
        assert_eq!(read("'http://localhost:1/cb?state=s-2&code=c/1'"), both);
    }

    #[test]
    fn half_of_it_is_told() {
        for text in [
            "",
            "c",
            "c#",
            "#s",
            "https://app.example/back?code=c",
            "c d#s",
            "https://x/?code=%0a&state=s",
        ] {
            assert!(read(text).unwrap_err().contains("paste all of it"), "{text}");
        }
        let refused = read("https://x/?error=access_denied&state=s").unwrap_err();
        assert!(refused.contains("(access_denied)"), "{refused}");
    }
}
