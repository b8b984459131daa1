//! Nothing that was planted comes out: neither in logs and error bodies, nor in metrics, views and listings, nor in the
//! files of the data folder.
//!
//! Each secret has a middle that occurs nowhere else, and that middle is looked for: a masked form may show a secret's
//! ends and nothing of its middle. Logs are written at their most talkative.

mod calls;
mod lab;
mod operators;
mod planted;
mod seen;

use std::path::{Path, PathBuf};

use blackbox::books::settled;
use blackbox::format::Format;
use blackbox::tunnel::Proxy;
use blackbox::{audit, wait};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Refusal, Upstream};

use crate::calls::{be_failed, be_refused, talk};
use crate::lab::{CREDENTIALS, call, config};
use crate::operators::{check_bad_files, look, reload_badly, run_commands};
use crate::planted::{CLIENT, ENCRYPTION, SECOND, planted};
use crate::seen::{Seen, find};

/// Everything under a folder, but for the files whose purpose is to hold secrets.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_none_or(|name| name != "secrets.env") {
            found.push(path);
        }
    }
    found
}

#[test]
fn nothing_that_was_planted_comes_out() {
    let (upstream, proxy) = (Upstream::start(), Proxy::start().unwrap());
    let yaml = config(&upstream, &proxy);
    let setup = Setup::config(&yaml)
        .env("ENCRYPTION_KEY", planted(ENCRYPTION))
        .env("SECOND_KEY", planted(SECOND));
    let mut gateway = setup.start();
    let mut seen = Seen::default();

    talk(&gateway, &upstream, &mut seen);
    be_refused(&gateway, &mut seen);
    be_failed(&gateway, &upstream, &mut seen);
    assert!(proxy.heads().len() > 1, "the proxy was used");
    run_commands(&gateway, &mut seen);
    check_bad_files(&gateway, &mut seen);
    reload_badly(&gateway, &yaml);
    settled(&gateway);
    look(&gateway, &mut seen);
    audit(&gateway);

    let note_files = |seen: &mut Seen, gateway: &Tollgate| {
        let files = files(&gateway.path("data"));
        for kind in ["tollgate.db", ".log", "backup.db"] {
            assert!(
                files.iter().any(|file| file.to_string_lossy().contains(kind)),
                "{kind} is missing: {files:?}"
            );
        }
        for file in files {
            seen.note(file.display().to_string(), std::fs::read(&file).expect("our own file"));
        }
    };
    // While it runs (there is a write-ahead log), and after it has ended.
    note_files(&mut seen, &gateway);
    assert!(gateway.stop().success());
    note_files(&mut seen, &gateway);
    seen.note("stdout", gateway.stdout());
    seen.note("stderr", gateway.stderr());
    assert!(gateway.stdout().len() > 10_000, "the logs were talkative");
    seen.assert_clean();
}

/// An upstream's refusal of the caller's own making goes on unchanged, but never with our credential in it.
#[test]
fn a_refusal_that_goes_on_unchanged_does_not_show_our_credential() {
    let (upstream, proxy) = (Upstream::start(), Proxy::start().unwrap());
    let gateway = Setup::config(&config(&upstream, &proxy))
        .env("ENCRYPTION_KEY", planted(ENCRYPTION))
        .start();
    let mut seen = Seen::default();
    for (format, credential) in CREDENTIALS {
        for status in [400, 404, 409, 413, 422] {
            let echo = format!("key {} may not do this", planted(credential));
            upstream.always(Behaviour::refuse(Refusal::status(status).message(&echo)));
            let response = call(format, format.model(), false)
                .bearer(planted(CLIENT))
                .send(&gateway.url());
            assert_eq!(response.status(), status, "{}", response.text());
            seen.response("an upstream's refusal", &response);
        }
    }
    seen.assert_clean();
}

#[test]
fn a_generated_key_is_printed_once_and_kept_nowhere() {
    let upstream = Upstream::start();
    let mut gateway = Tollgate::start(&blackbox::config(&upstream, "logs: {level: trace, dir: data/logs}\n"));
    let printed = gateway.cli_ok(&["key", "add", "fresh", "--user", "alice"]);
    let key = printed
        .split_whitespace()
        .find(|word| word.starts_with("sk-tg-"))
        .expect("a key")
        .to_owned();
    wait::until("the key to work", || {
        Format::Chat.call("gpt-4o").bearer(&key).send(&gateway.url()).status() == 200
    });
    let listings = [
        gateway.cli_ok(&["key", "list"]),
        gateway.cli_ok(&["key", "show", "fresh", "--json"]),
    ];
    assert!(gateway.stop().success());
    let middle = &key[key.len() / 2 - 8..key.len() / 2 + 8];
    for listing in listings {
        assert!(!listing.contains(middle), "{listing}");
    }
    for file in files(gateway.dir()) {
        let found = find(&std::fs::read(&file).expect("our own file"), middle.as_bytes());
        assert!(found.is_none(), "the key is in {}", file.display());
    }
}
