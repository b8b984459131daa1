//! Everything that came out, and the search for what was planted in it.

use std::fmt::Write as _;
use std::process::Output;

use testkit::client::Response;

use crate::planted::{PLANTED, PROXY, planted};

/// Everything seen, with the name of where.
#[derive(Default)]
pub(crate) struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    pub(crate) fn note(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    pub(crate) fn response(&mut self, place: &str, response: &Response) {
        let headers = response
            .head
            .as_ref()
            .map(|head| format!("{:?}", head.headers))
            .unwrap_or_default();
        self.note(
            format!("{place}: headers of the answer, status {}", response.status()),
            headers,
        );
        // An answer's body is the client's own; a refusal's is ours.
        if response.status() != 200 {
            self.note(
                format!("{place}: body of the refusal, status {}", response.status()),
                response.body.clone(),
            );
        }
    }

    pub(crate) fn output(&mut self, command: &[&str], output: &Output) {
        self.note(format!("stdout of {command:?}"), output.stdout.clone());
        self.note(format!("stderr of {command:?}"), output.stderr.clone());
    }

    /// Panics with all that was found.
    pub(crate) fn assert_clean(&self) {
        let mut found = String::new();
        for (place, bytes) in &self.0 {
            for (what, whole, middle) in PLANTED {
                for form in [middle.to_owned(), base64_of(whole)] {
                    if let Some(at) = find(bytes, form.as_bytes()) {
                        let around = &bytes[at.saturating_sub(120)..bytes.len().min(at + 80)];
                        writeln!(found, "{what} is in {place}: …{}…", String::from_utf8_lossy(around))
                            .expect("a string");
                    }
                }
            }
        }
        assert!(found.is_empty(), "\n{found}");
    }
}

/// The middle of a secret's base64 form, whatever precedes it (`user:secret` in a proxy's login).
fn base64_of(secret: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let login = format!("fleet:{secret}");
    let text: String = login
        .as_bytes()
        .chunks_exact(3)
        .flat_map(|three| {
            let bits = (u32::from(three[0]) << 16) | (u32::from(three[1]) << 8) | u32::from(three[2]);
            [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift) as usize & 63] as char)
        })
        .collect();
    text[12..].to_owned()
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[test]
fn the_search_finds_what_is_there() {
    let mut seen = Seen::default();
    seen.note("here", format!("x{}y", planted(PROXY)));
    assert!(std::panic::catch_unwind(|| seen.assert_clean()).is_err());
    // base64 of fleet:aaaa-PROXYMIDDLE0459-zzzz
    assert!("ZmxlZXQ6YWFhYS1QUk9YWU1JRERMRTA0NTktenp6eg==".contains(&base64_of(planted(PROXY))));
}
