//! `init` and `check`: files for people, and what is wrong with them.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command's exit code, stdout and stderr.
fn said(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn run(gateway: &Tollgate, arguments: &[&str]) -> (i32, String, String) {
    said(&gateway.cli(arguments))
}

#[test]
fn init_writes_what_serves_and_overwrites_nothing() {
    let mut gateway = Setup::without_config().prepare();
    gateway.cli_ok(&["init"]);
    let env = std::fs::read_to_string(gateway.path(".env")).unwrap();
    assert!(env.contains("ENCRYPTION_KEY=") && env.contains("ADMIN_TOKEN="), "{env}");
    let mode = |name: &str| std::fs::metadata(gateway.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".env"), 0o600);
    gateway.cli_ok(&["check"]);
    let (code, _, error) = run(&gateway, &["init"]);
    assert!(
        code == 1 && error.contains("exists") && error.contains("--force"),
        "{code} {error}"
    );
    assert_eq!(
        std::fs::read_to_string(gateway.path(".env")).unwrap(),
        env,
        "nothing was overwritten"
    );
    gateway.restart();
    let token = env.lines().find_map(|line| line.strip_prefix("ADMIN_TOKEN=")).unwrap();
    assert_eq!(
        Request::get("/api/stats").bearer(token).send(&gateway.url()).status(),
        200
    );
    assert!(!gateway.path("data/secrets.env").exists(), "the secrets are in .env");
    gateway.cli_ok(&["init", "--force"]);
    assert_ne!(std::fs::read_to_string(gateway.path(".env")).unwrap(), env);
}

#[test]
fn check_names_place_and_mend() {
    let gateway = Setup::without_config().prepare();
    for (yaml, expected) in [
        ("server: {lisen: x}\n", &["bad.yaml:1:10: ", "listen"][..]),
        (
            "\n\nupstreams:\n  - {name: a, provider: opnai}\n",
            &["bad.yaml:4:", "openai"],
        ),
        (
            "users: [{name: a, opening_credit: 1.0000000001}]\n",
            &["bad.yaml:1:", "opening_credit"],
        ),
        ("users: [{name: a, policy: harsh}]\n", &["bad.yaml:1:", "hard"]),
        (
            "keys: [{name: k, user: nobody, key: sk-tg-0123456789}]\n",
            &["bad.yaml:1:", "nobody"],
        ),
        (
            "models: [{name: m, targets: [{upstream: gone, model: x}]}]\n",
            &["bad.yaml:1:", "gone"],
        ),
        (
            "server: {listen: \"${NO_SUCH_VARIABLE}\"}\n",
            &["bad.yaml:1:", "NO_SUCH_VARIABLE"],
        ),
        ("search: {backend: searxng}\n", &["bad.yaml:1:1: ", "search"]),
        (
            "profiles: [team-a]\nusers: [{name: a}]\nkeys: [{name: k, user: a, key: sk-tg-0123456789, profile: taem-a}]\n",
            &["bad.yaml:3:59: ", "keys[0].profile", "did you mean `team-a`"],
        ),
        ("a: [\n", &["bad.yaml:"]),
    ] {
        std::fs::write(gateway.path("bad.yaml"), yaml).unwrap();
        let (code, out, error) = run(&gateway, &["check", "-c", "bad.yaml"]);
        assert_eq!(code, 1, "{yaml}: {out} {error}");
        for part in expected {
            assert!(error.contains(part), "{part} is missing for {yaml}: {error}");
        }
    }
    let (code, _, error) = run(&gateway, &["check", "-c", "not-there.yaml"]);
    assert!(code == 1 && error.contains("not-there.yaml"), "{code} {error}");
}

#[test]
fn exit_codes_tell_refusals_from_usage() {
    let gateway = Setup::without_config().prepare();
    for (arguments, expected) in [
        (&["check"][..], 0),
        (&["--version"], 0),
        (&["--help"], 0),
        (&["completions", "bash"], 0),
        (&["completions", "zsh"], 0),
        (&["check", "--schema"], 0),
        (&["user", "show", "nobody"], 1),
        (&["healthcheck"], 1),
        (&["explain", "--model", "no-such"], 1),
        (&["balance", "add", "nobody", "1.00"], 1),
        (&["user", "add"], 2),
        (&["nonsense"], 2),
        (&["check", "--nonsense"], 2),
        (&[], 2),
    ] {
        let (code, out, error) = run(&gateway, arguments);
        assert_eq!(code, expected, "{arguments:?}: {out} {error}");
        match expected {
            0 => assert!(!out.is_empty() && error.is_empty(), "{arguments:?}: {out} {error}"),
            1 => assert!(
                out.is_empty() && error.trim().lines().count() == 1,
                "{arguments:?}: one line on stderr: {out} {error}"
            ),
            _ => assert!(error.contains("Usage"), "{arguments:?}: {error}"),
        }
    }
    let schema = gateway.cli_ok(&["check", "--schema"]);
    assert!(schema.trim_start().starts_with('{') && schema.contains("upstreams"));
    assert!(gateway.cli_ok(&["completions", "bash"]).contains("healthcheck"));
}
