//! Hides whatever looks like a secret in a provider's words.
//!
//! Providers quote keys back ("Incorrect API key provided: sk-…abcd"), whole or in part. What is kept for the operator
//! must not hold them, and we do not know which of our credentials it was, so everything of the right shape goes:
//! known prefixes, starred fragments, UUIDs and long runs of letters and digits. Model names and dates survive.

use crate::limits::MESSAGE_MAX;

/// What stands in for a secret.
const MASK: &str = "…";

/// Prefixes of keys and tokens in use (OpenAI and kin, Google, xAI, Groq, AWS, GitHub, Hugging Face, JWT, Replicate,
/// Perplexity, NVIDIA, Fireworks, Together).
const PREFIXES: [&str; 19] = [
    "sk-", "sk_", "pk-", "rk-", "AIza", "xai-", "gsk_", "ya29.", "AKIA", "ASIA", "ghp_", "hf_", "eyJ", "r8_", "pplx-",
    "nvapi-", "fw_", "tgp_", "key-",
];

/// Letters and digits in a row from which on a word is taken for a secret: the shortest keys in use have 24.
const RUN_MAX: usize = 20;

/// `text` without what looks like a secret, cut to [`MESSAGE_MAX`] characters, on one line.
pub(crate) fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let mut shown = 0;
    for letter in text.chars() {
        // A secret that the cut goes through is still masked whole: words are judged before they are counted.
        if is_word(letter) {
            word.push(letter);
            continue;
        }
        shown += flush(&mut word, &mut out);
        out.push(if letter.is_control() { ' ' } else { letter });
        shown += 1;
        if shown > MESSAGE_MAX {
            break;
        }
    }
    flush(&mut word, &mut out);
    out.chars().take(MESSAGE_MAX).collect()
}

/// A code or type as providers write them: short, letters, digits and a few signs. Anything else is left out.
pub(crate) fn identifier(text: &str) -> Option<&str> {
    let fits = (1..=64).contains(&text.len())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter));
    (fits && !is_secret(text)).then_some(text)
}

fn flush(word: &mut String, out: &mut String) -> usize {
    let shown = if is_secret(word) { MASK } else { word.as_str() };
    out.push_str(shown);
    let count = shown.chars().count();
    word.clear();
    count
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || "-_.*•…+/=~".contains(letter)
}

fn is_secret(word: &str) -> bool {
    let starred = word.contains("**") || word.contains('•') || (word.contains('…') && word.len() > MASK.len());
    let prefixed = word.len() > 6 && PREFIXES.iter().any(|prefix| word.contains(prefix));
    starred || prefixed || is_uuid_like(word) || has_long_run(word)
}

fn has_long_run(word: &str) -> bool {
    word.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|run| {
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        run.len() >= RUN_MAX && (digits > 0 || run.bytes().any(|byte| byte.is_ascii_uppercase()))
    })
}

fn is_uuid_like(word: &str) -> bool {
    word.split(|letter: char| !(letter.is_ascii_hexdigit() || letter == '-'))
        .any(|run| run.len() >= 36 && run.split('-').map(str::len).eq([8, 4, 4, 4, 12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_keys_and_keeps_the_rest() {
        for secret in [
            "sk-proj-abc123",
            "sk-ant-api03-xyz",
            "AIzaSyD-1234567890abcdefghij",
            "test-con****-key",
            "0123456789abcdef0123456789abcdef",
            "dGhpc2lzYXNlY3JldDEyMzQ1",
            "7f3d2c1b-1111-2222-3333-444455556666",
            "eyJhbGciOi.eyJzdWIi.c2ln",
            "gsk_abcdef123456",
        ] {
            let said = masked(&format!(
                "Incorrect API key provided: {secret}. Find yours at https://x.y/keys."
            ));
            assert!(!said.contains(secret), "{said}");
            assert!(said.starts_with("Incorrect API key provided: …"), "{said}");
            assert!(said.ends_with("Find yours at https://x.y/keys."), "{said}");
        }
        let plain = "The model claude-sonnet-4-5-20250929 has a maximum context length of 1048565 tokens";
        assert_eq!(masked(plain), plain);
    }

    #[test]
    fn cuts_without_showing_half_a_secret() {
        let padding = "a ".repeat(MESSAGE_MAX / 2 - 2);
        let said = masked(&format!("{padding}sk-proj-abcdefghijklmnop and more {padding}"));
        assert!(said.chars().count() <= MESSAGE_MAX);
        assert!(!said.contains("sk-"), "{said}");
        assert_eq!(masked("a\nb"), "a b");
    }

    #[test]
    fn identifiers_are_codes_and_not_keys() {
        assert_eq!(identifier("insufficient_quota"), Some("insufficient_quota"));
        assert_eq!(identifier("sk-abcdefgh"), None);
        assert_eq!(identifier("no such key"), None);
        assert_eq!(identifier(""), None);
    }
}
