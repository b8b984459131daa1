//! Log files, as an operator finds them: a full one gives way, one of a day long ago is deleted, and a run goes on where the
//! last one stopped. What happens at midnight is shown beside the code, which is told the time.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};

use blackbox::wait;
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Behaviour, Match, Refusal, Upstream};

const KEY: &str = "sk-tg-common-0123456789abcdef0123";

/// More than a file of credential events takes.
const FULL: u64 = 16 << 20;

/// Their sizes, by name.
fn files_of_events(gateway: &Tollgate) -> BTreeMap<String, u64> {
    let files = fs::read_dir(gateway.path("logs")).expect("the folder of logs");
    files
        .map(|file| file.expect("a file"))
        .map(|file| {
            let name = file.file_name().into_string().expect("a name");
            (name, file.metadata().expect("it is there").len())
        })
        .filter(|(name, _)| name.starts_with("credentials."))
        .collect()
}

fn call(gateway: &Tollgate) {
    let hello = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    Request::post("/v1/chat/completions", &hello)
        .bearer(KEY)
        .send(&gateway.url());
}

#[test]
fn a_full_log_of_credential_events_gives_way_to_the_next_and_old_ones_go() {
    let upstream = Upstream::start();
    upstream.rule(Match::any(), Behaviour::refuse(Refusal::rate_limited(Some(30))));
    let config = format!(
        "logs: {{dir: logs, retention: 30d}}
defaults: {{retries: 0}}
upstreams: [{{name: main, provider: openai, base_url: \"{}\", models: [m], credentials: [{{name: k1, key: sk-one}}, {{name: k2, key: sk-two}}]}}]
users: [{{name: alice}}]
keys: [{{name: common, user: alice, key: {KEY}}}]
",
        upstream.v1()
    );
    let mut gateway = Setup::config(&config).start();
    let begun: Vec<_> = files_of_events(&gateway).into_keys().collect();
    let [first] = begun.as_slice() else {
        panic!("one of today: {begun:?}")
    };
    gateway.stop();
    // No disk is needed for a file of zeros.
    let full = OpenOptions::new().write(true).open(gateway.path("logs").join(first));
    full.and_then(|file| file.set_len(FULL + 1)).expect("it grows");
    fs::write(gateway.path("logs/credentials.2020-01-01.log"), "{}\n").expect("an old one");
    fs::write(gateway.path("logs/credentials.2020-01-01.001.log"), "{}\n").expect("an old one");
    gateway.restart();

    call(&gateway);
    let told = |gateway: &Tollgate| {
        let names = files_of_events(gateway).into_keys();
        let mut texts = names.filter(|name| name != first).map(|name| {
            let path = gateway.path("logs").join(name);
            fs::read_to_string(path).expect("a log")
        });
        texts.any(|text| text.contains("cooldown_began"))
    };
    wait::until("the event in a file that has room", || told(&gateway));
    let files = files_of_events(&gateway);
    assert_eq!(files[first], FULL + 1, "the full one was left alone");
    assert!(!files.keys().any(|name| name.contains("2020")), "{files:?}");
}
