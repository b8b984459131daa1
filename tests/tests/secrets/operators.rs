//! What operators do: look, type commands, and write configurations that are wrong just where a secret stands.

use blackbox::wait;
use testkit::client::Request;
use testkit::gateway::Tollgate;

use crate::planted::{ADDED, ADMIN, CLIENT, HEADER, MASTER, OPENAI, PROXY, SECOND, planted};
use crate::seen::Seen;

/// What operators look at.
pub(crate) fn look(gateway: &Tollgate, seen: &mut Seen) {
    for path in [
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/api/stats",
        "/api/accounts",
        "/api/requests?limit=1000",
    ] {
        let response = Request::get(path).bearer(planted(ADMIN)).send(&gateway.url());
        assert_eq!(response.status(), 200, "{path}: {}", response.text());
        seen.note(path, response.body);
    }
    for path in [
        "/api/me/balance",
        "/api/me/usage",
        "/api/me/models",
        "/v1/models",
        "/v1/dashboard/billing/subscription",
    ] {
        let response = Request::get(path).bearer(planted(CLIENT)).send(&gateway.url());
        assert_eq!(response.status(), 200, "{path}: {}", response.text());
        seen.note(path, response.body);
    }
}

pub(crate) fn run_commands(gateway: &Tollgate, seen: &mut Seen) {
    command(
        gateway,
        seen,
        &["key", "add", "added", "--user", "alice", "--key-stdin"],
        planted(ADDED),
    );
    command(
        gateway,
        seen,
        &[
            "upstream",
            "add",
            "second",
            "--provider",
            "openai",
            "--key-env",
            "SECOND_KEY",
        ],
        "",
    );
    command(
        gateway,
        seen,
        &["credential", "add", "spare", "--upstream", "second", "--key-stdin"],
        planted(SECOND),
    );
    for listing in [
        &["check"][..],
        &["user", "list"],
        &["user", "show", "alice"],
        &["key", "list"],
        &["key", "show", "laptop"],
        &["key", "show", "added"],
        &["upstream", "list"],
        &["upstream", "show", "openai-main"],
        &["upstream", "show", "second"],
        &["credential", "list"],
        &["credential", "show", "openai-main/k1"],
        &["credential", "show", "second/spare"],
        &["model", "list"],
        &["balance", "show"],
        &["balance", "show", "alice"],
        &["audit"],
        &["journal", "status"],
        &["explain", "--model", "gpt-4o"],
        &["healthcheck"],
    ] {
        command(gateway, seen, listing, "");
        command(gateway, seen, &[listing, &["--json"]].concat(), "");
    }
    let backup = gateway.path("data/backup.db").display().to_string();
    command(gateway, seen, &["backup", &backup], "");
}

fn command(gateway: &Tollgate, seen: &mut Seen, arguments: &[&str], input: &str) {
    let output = gateway.cli_with_input(arguments, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    seen.output(arguments, &output);
}

/// Configurations that are wrong just where a secret stands.
pub(crate) fn check_bad_files(gateway: &Tollgate, seen: &mut Seen) {
    let bad = [
        format!(
            "security: {{encryption_key: \"{}\", admin_token: [\"{}\"]}}",
            planted(PROXY),
            planted(ADMIN)
        ),
        format!(
            "security: {{master_key: {{a: \"{}\"}}, admin_tokn: \"{}\"}}",
            planted(MASTER),
            planted(ADMIN)
        ),
        format!(
            "upstreams: [{{name: a, provider: openai, proxy: \"ftp://fleet:{}@x\", credentials: [{{name: k, key: [\"{}\"]}}]}}]",
            planted(PROXY),
            planted(OPENAI)
        ),
        format!(
            "upstreams: [{{name: a, provider: openai, base_url: \"ftp://fleet:{}@x/\", credentials: [{{name: k, kee: \"{}\"}}]}}]",
            planted(PROXY),
            planted(OPENAI)
        ),
        format!(
            "upstreams: [{{name: a, provider: openai, headers: {{\"bad name\": \"{}\"}}, credentials: \"{}\"}}]",
            planted(HEADER),
            planted(OPENAI)
        ),
        format!(
            "upstreams: [{{name: a, provider: openai, headers: {{x-a: \"{}\\u0001\"}}, credentials: {{key: \"{}\"}}}}]",
            planted(HEADER),
            planted(OPENAI)
        ),
        format!(
            "keys: [{{name: k, user: nobody, key: \"{}\"}}, {{name: l, user: nobody, key: \"{}\"}}]",
            planted(CLIENT),
            planted(CLIENT)
        ),
        format!(
            "keys: [{{name: k, user: [\"{}\"], key: {{x: \"{}\"}}}}]",
            planted(CLIENT),
            planted(ADDED)
        ),
        format!("storage: {{url: \"mysql://u:{}@h/d\"}}", planted(PROXY)),
        format!("security: {{admin_token: \"{}\"\nkeys: [", planted(ADMIN)),
        format!(
            "server: {{listen: \"${{ENCRYPTION_KEY}}\", request_timeout: \"${{SECOND_KEY}}\"}}\nlogs: {{level: \"{}\"}}",
            "${SECOND_KEY}"
        ),
    ];
    for (index, yaml) in bad.iter().enumerate() {
        let name = format!("bad-{index}.yaml");
        std::fs::write(gateway.path(&name), yaml).expect("the folder can be written");
        for arguments in [
            &["check", "-c", &name][..],
            &["check", "-c", &name, "--json"],
            &["key", "list", "-c", &name],
        ] {
            let output = gateway.cli(arguments);
            assert_eq!(
                output.status.code(),
                Some(1),
                "{yaml} passed `{arguments:?}`: {}",
                String::from_utf8_lossy(&output.stdout)
            );
            seen.output(
                &[&arguments.join(" "), yaml.split(':').next().unwrap_or_default()],
                &output,
            );
        }
        std::fs::remove_file(gateway.path(&name)).expect("it was there");
    }
    // Databases that are right as a word and wrong as a place.
    for place in ["h.invalid/d", "127.0.0.1:1/d", "h:99999999/d"] {
        let url = format!("storage.url=postgres://u:{}@{place}", planted(PROXY));
        for command in ["key list", "serve"] {
            let arguments: Vec<&str> = command.split(' ').chain(["--set", &url]).collect();
            let output = wait::cli(gateway, &arguments);
            assert_eq!(
                output.status.code(),
                Some(1),
                "{arguments:?}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
            seen.output(&[command, place], &output);
        }
    }
}

pub(crate) fn reload_badly(gateway: &Tollgate, good: &str) {
    for (index, bad) in ["nonsense", "encryption_key"].into_iter().enumerate() {
        let bad = good
            .replace(
                "admin_token: \"",
                &format!("{bad}: \"{}\", admin_token: [\"", planted(HEADER)),
            )
            .replace("\", master_key", "\"], master_key");
        gateway.write_config(&bad);
        wait::until("the refusal of a wrong file", || {
            gateway.stdout().matches("is refused, the old one serves on").count() > index
        });
    }
    gateway.write_config(good);
}
