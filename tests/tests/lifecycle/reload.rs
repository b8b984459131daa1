//! A configuration that changes under a running server.

use std::time::Duration;

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config, receipt_of, wait};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{At, Behaviour, Gate, Upstream};

const NEW: &str = "sk-tg-another-key-0123456789abcdef";
/// What the promise says.
const SOON: Duration = Duration::from_secs(2);
/// What a busy machine is given on top of it. The product needs 0.2 s.
const BUSY: Duration = Duration::from_secs(4);

fn status(gateway: &Tollgate, model: &str, key: &str) -> u16 {
    Format::Chat.call(model).bearer(key).send(&gateway.url()).status()
}

#[test]
fn a_changed_file_is_in_force_within_two_seconds() {
    let upstream = Upstream::start();
    let yaml = config(&upstream, "");
    let gateway = Tollgate::start(&yaml);
    assert_eq!(
        (status(&gateway, "gpt-4o", CLIENT_KEY), status(&gateway, "gpt-4o", NEW)),
        (200, 401)
    );
    gateway.write_config(&yaml.replace(CLIENT_KEY, NEW));
    wait::within(SOON + BUSY, "the new key", || status(&gateway, "gpt-4o", NEW) == 200);
    assert_eq!(status(&gateway, "gpt-4o", CLIENT_KEY), 401, "the removed key");

    // Written in place, as `echo >` does.
    let models = "models: [{name: mine, price: {input: 1.00, output: 5.00}, targets: [{upstream: openai-main, model: gpt-4o}]}]\n";
    std::fs::write(gateway.path("tollgate.yaml"), format!("{yaml}{models}")).unwrap();
    wait::within(SOON + BUSY, "the new model", || {
        status(&gateway, "mine", CLIENT_KEY) == 200
    });
    let response = Format::Chat.call("mine").bearer(CLIENT_KEY).send(&gateway.url());
    assert_eq!(receipt_of(&gateway, &response)["charged"], 12 * 1_000 + 7 * 5_000);
    std::fs::write(
        gateway.path("tollgate.yaml"),
        format!("{yaml}{}", models.replace("1.00", "2.00")),
    )
    .unwrap();
    wait::within(SOON + BUSY, "the new price", || {
        let response = Format::Chat.call("mine").bearer(CLIENT_KEY).send(&gateway.url());
        receipt_of(&gateway, &response)["charged"] == 12 * 2_000 + 7 * 5_000
    });
    gateway.write_config(&yaml.replace("name: openai-main", "name: renamed"));
    wait::within(SOON + BUSY, "the model and its upstream to go", || {
        status(&gateway, "mine", CLIENT_KEY) == 404
    });
    assert_eq!(status(&gateway, "renamed/gpt-4o", CLIENT_KEY), 200);
    assert_eq!(status(&gateway, "openai-main/gpt-4o", CLIENT_KEY), 404);
}

#[test]
fn a_call_keeps_the_world_it_began_in() {
    let upstream = Upstream::start();
    let gate = Gate::closed();
    upstream.then(Behaviour::text("one two three").hold(At::Events(3), &gate));
    let yaml = config(&upstream, "");
    let gateway = Tollgate::start(&yaml);
    let mut stream = Format::Chat
        .stream("gpt-4o")
        .bearer(CLIENT_KEY)
        .open(&gateway.url())
        .unwrap();
    assert!(stream.read_until("one"));
    gateway.write_config("users: [{name: alice}]\nupstreams: []\n");
    wait::until("the key to go", || status(&gateway, "gpt-4o", CLIENT_KEY) == 401);
    gate.open();
    let response = stream.finish();
    assert!(
        response.is_complete() && response.text().trim_end().ends_with("data: [DONE]"),
        "{}",
        response.text()
    );
    assert_eq!(receipt_of(&gateway, &response)["ending"], "complete");
}

#[test]
fn a_hangup_reads_what_no_watcher_sees() {
    let upstream = Upstream::start();
    let yaml = config(&upstream, "").replace(CLIENT_KEY, "${THE_KEY}");
    let gateway = Setup::config(&yaml)
        .file(".env", format!("THE_KEY={CLIENT_KEY}\n"))
        .start();
    assert_eq!(status(&gateway, "gpt-4o", CLIENT_KEY), 200);
    std::fs::write(gateway.path(".env"), format!("THE_KEY={NEW}\n")).unwrap();
    gateway.sighup();
    wait::within(SOON + BUSY, "the new key", || status(&gateway, "gpt-4o", NEW) == 200);
    assert_eq!(status(&gateway, "gpt-4o", CLIENT_KEY), 401);
    for _ in 0..20 {
        gateway.sighup();
    }
    assert_eq!(status(&gateway, "gpt-4o", NEW), 200);
}

#[test]
fn a_wrong_file_is_refused_by_place_and_the_old_one_serves_on() {
    let upstream = Upstream::start();
    let yaml = config(&upstream, "");
    let mut gateway = Tollgate::start(&yaml);
    for (wrong, place) in [
        (format!("{yaml}nonsense: 1\n"), "tollgate.yaml:9:1"),
        (yaml.replace("user: alice", "user: alicia"), "tollgate.yaml:8:26"),
        (
            yaml.replace("provider: anthropic", "provider: antropic"),
            "tollgate.yaml:3:30",
        ),
        ("upstreams: [".to_owned(), "tollgate.yaml:"),
    ] {
        gateway.write_config(&wrong);
        gateway.wait_for_output(place);
        wait::until("the refusal", || gateway.stdout().contains("the old one serves on"));
        assert_eq!(status(&gateway, "gpt-4o", CLIENT_KEY), 200);
    }
    gateway.write_config(&yaml.replace(CLIENT_KEY, NEW));
    wait::until("the right one", || status(&gateway, "gpt-4o", NEW) == 200);
    // At the start there is no old one.
    std::fs::write(gateway.path("tollgate.yaml"), "nonsense: 1\n").unwrap();
    assert!(gateway.stop().success());
    let failure = gateway.try_restart().unwrap_err();
    assert_eq!(failure.exit.and_then(|exit| exit.code()), Some(1), "{failure}");
    assert!(failure.stderr.contains("tollgate.yaml:1:1: "), "{failure}");
}

#[test]
fn a_file_that_vanishes_or_is_emptied_takes_nothing_away() {
    let upstream = Upstream::start();
    let yaml = config(&upstream, "");
    let gateway = Tollgate::start(&yaml);
    let file = gateway.path("tollgate.yaml");
    let serves_on = |why: &str| {
        gateway.wait_for_output(why);
        assert_eq!(status(&gateway, "gpt-4o", CLIENT_KEY), 200, "{why}");
        assert!(
            gateway.stdout().contains("the old one serves on"),
            "{}",
            gateway.stdout()
        );
    };
    std::fs::remove_file(&file).unwrap();
    serves_on("tollgate.yaml is gone");
    for nothing in ["", " \n\n", "# The first line of a file that is being written\n"] {
        let told = gateway.stdout().matches("tollgate.yaml is empty").count();
        std::fs::write(&file, nothing).unwrap();
        wait::until("the refusal", || {
            gateway.stdout().matches("tollgate.yaml is empty").count() > told
        });
        serves_on("tollgate.yaml is empty");
    }
    // Asked again, it is still refused.
    let told = gateway.stdout().matches("tollgate.yaml is empty").count();
    gateway.sighup();
    wait::until("the refusal of SIGHUP", || {
        gateway.stdout().matches("tollgate.yaml is empty").count() > told
    });
    assert_eq!(status(&gateway, "gpt-4o", CLIENT_KEY), 200);
    gateway.write_config(&yaml.replace(CLIENT_KEY, NEW));
    wait::within(SOON + BUSY, "a whole file", || status(&gateway, "gpt-4o", NEW) == 200);
    assert!(!gateway.stdout().contains("upstream demo"), "{}", gateway.stdout());
    // Who means nothing says so.
    gateway.write_config("{}\n");
    wait::within(SOON + BUSY, "the key to go", || status(&gateway, "gpt-4o", NEW) == 401);
}

#[test]
fn a_file_that_appears_beside_a_running_server_is_read() {
    let upstream = Upstream::start();
    let gateway = Setup::without_config().start();
    assert_eq!(status(&gateway, "gpt-4o", CLIENT_KEY), 401);
    gateway.write_config(&config(&upstream, ""));
    wait::within(SOON + BUSY, "the new key", || {
        status(&gateway, "gpt-4o", CLIENT_KEY) == 200
    });
}
