//! The first minutes of a newcomer.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use blackbox::format::Format;
use blackbox::{CLIENT_KEY, config, wait};
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::Upstream;

/// The lines to paste, as they were printed.
fn printed_lines(gateway: &Tollgate) -> Vec<String> {
    let stdout = gateway.stdout();
    let lines = stdout
        .lines()
        .filter(|line| line.starts_with("export ") || line.starts_with("curl "));
    lines.map(str::to_owned).collect()
}

fn value<'a>(lines: &'a [String], variable: &str) -> &'a str {
    let prefix = format!("export {variable}=");
    lines
        .iter()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {variable} in {lines:?}"))
}

#[test]
fn without_any_configuration_three_lines_get_an_answer() {
    let mut gateway = Setup::without_config().start();
    let lines = printed_lines(&gateway);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let (url, key) = (value(&lines, "OPENAI_BASE_URL"), value(&lines, "OPENAI_API_KEY"));
    assert_eq!(url, format!("{}/v1", gateway.url()));
    assert!(key.starts_with("sk-tg-") && key.len() > 40, "{key}");

    let shell = Command::new("sh").args(["-c", &lines.join("\n")]).output().unwrap();
    if shell.status.code() == Some(127) {
        wait::leave_out("the printed lines in a shell: curl is not installed");
    } else {
        let said = String::from_utf8_lossy(&shell.stdout).into_owned();
        assert!(
            said.contains("\"choices\"") && said.contains("Hello!"),
            "{said} {}",
            String::from_utf8_lossy(&shell.stderr)
        );
    }

    let ask = |body| {
        Request::post("/v1/chat/completions", &body)
            .bearer(key)
            .send(&gateway.url())
    };
    let messages = json!([{"role": "user", "content": "paper boats"}]);
    let plain = ask(json!({"model": "demo", "messages": messages})).json();
    assert!(
        plain["choices"][0]["message"]["content"]
            .as_str()
            .is_some_and(|text| text.contains("paper boats")),
        "{plain}"
    );
    assert!(
        plain["usage"]["total_tokens"].as_u64().is_some_and(|tokens| tokens > 0),
        "{plain}"
    );
    let stream = ask(json!({"model": "demo", "stream": true, "messages": messages}));
    assert!(stream.text().trim_end().ends_with("data: [DONE]"), "{}", stream.text());
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]);
    let called = ask(json!({"model": "demo", "messages": messages, "tools": tools})).json();
    assert_eq!(
        called["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "weather",
        "{called}"
    );
    for format in [Format::Anthropic, Format::Gemini, Format::Responses] {
        let response = format.call("demo").bearer(key).send(&gateway.url());
        assert_eq!(response.status(), 200, "{format:?}: {}", response.text());
    }

    // Again: the same key, and nobody is shown another.
    let key = key.to_owned();
    assert!(gateway.stop().success());
    gateway.restart();
    assert_eq!(printed_lines(&gateway).len(), 3, "printed once: {}", gateway.stdout());
    assert_eq!(gateway.stdout().matches("sk-tg-").count(), 1);
    assert_eq!(
        Format::Chat.call("demo").bearer(&key).send(&gateway.url()).status(),
        200
    );
}

#[test]
fn everything_in_the_data_folder_is_the_owners_alone() {
    let upstream = Upstream::start();
    let mut gateway = Tollgate::start(&config(&upstream, "logs: {dir: data/logs}\n"));
    assert_eq!(
        Format::Chat
            .call("gpt-4o")
            .bearer(CLIENT_KEY)
            .send(&gateway.url())
            .status(),
        200
    );
    blackbox::books::settled(&gateway);
    gateway.cli_ok(&["backup", "data/backup.db"]);
    let mut seen = Vec::new();
    assert_private(&gateway.path("data"), &mut seen);
    for name in [
        "tollgate.db",
        "tollgate.db-wal",
        "secrets.env",
        "journal",
        "logs",
        "backup.db",
    ] {
        assert!(seen.iter().any(|path| path == name), "{name} is missing: {seen:?}");
    }
    // Also under a wide umask, also after a crash.
    gateway.kill9();
    gateway.restart();
    assert_private(&gateway.path("data"), &mut seen);
}

fn assert_private(path: &Path, seen: &mut Vec<String>) {
    let mode = std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let expected = if path.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(mode, expected, "{} has mode {mode:o}", path.display());
    seen.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder").flatten() {
            assert_private(&entry.path(), seen);
        }
    }
}

#[test]
fn providers_are_found_by_their_keys_in_the_environment() {
    let gateway = Setup::without_config()
        .env("ANTHROPIC_API_KEY", "sk-ant-found-0123456789")
        .env("GEMINI_API_KEY", "AIza-found-0123456789")
        .prepare();
    let said = gateway.cli_ok(&["check"]);
    assert!(
        said.contains("anthropic") && said.contains("gemini") && !said.contains("openai"),
        "{said}"
    );
    assert!(!said.contains("found-0123456789"), "{said}");
    let mut gateway = gateway;
    gateway.restart();
    let upstreams = gateway.cli_json(&["upstream", "list", "--json"]);
    let names: Vec<&str> = upstreams
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|upstream| upstream["name"].as_str())
        .collect();
    assert_eq!(names, ["anthropic", "gemini"], "and no demonstration: {upstreams}");
    let lines = printed_lines(&gateway);
    assert!(
        lines.iter().any(|line| line.starts_with("export ANTHROPIC_BASE_URL=")),
        "lines for what is there: {lines:?}"
    );
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

#[test]
fn port_and_database_come_from_the_environment() {
    let port = free_port();
    // An empty variable is one that is not set: the harness's own choice of an address is taken back.
    let setup = Setup::config("server: {listen: 127.0.0.1:1}\n")
        .env("TOLLGATE_SERVER__LISTEN", "")
        .env("PORT", &port.to_string());
    let gateway = setup
        .port(port)
        .env("DATABASE_URL", "sqlite://elsewhere/books.db")
        .start();
    assert_eq!(gateway.port(), port);
    assert!(gateway.path("elsewhere/books.db").is_file() && gateway.path("elsewhere/secrets.env").is_file());
    assert!(!gateway.path("data/tollgate.db").exists());
    gateway.cli_ok(&["healthcheck"]);

    // The longer name wins over PORT, and a flag over both.
    let (second, third) = (free_port(), free_port());
    let setup = || {
        Setup::without_config()
            .env("PORT", "1")
            .env("TOLLGATE_SERVER__LISTEN", &format!("127.0.0.1:{second}"))
    };
    setup().port(second).start();
    setup()
        .command(&["serve", "--listen", &format!("127.0.0.1:{third}")])
        .port(third)
        .start();
}

#[test]
fn a_port_in_use_is_named_with_the_mend() {
    let upstream = Upstream::start();
    let port = upstream.address().port();
    let failure = Setup::config(&config(&upstream, ""))
        .env("TOLLGATE_SERVER__LISTEN", &format!("127.0.0.1:{port}"))
        .try_start()
        .unwrap_err();
    assert_eq!(failure.exit.and_then(|exit| exit.code()), Some(1), "{failure}");
    assert!(
        failure.stderr.contains(&port.to_string()) && failure.stderr.contains("--listen"),
        "{failure}"
    );
    assert_eq!(
        failure
            .stderr
            .trim()
            .lines()
            .filter(|line| line.starts_with("tollgate:"))
            .count(),
        failure.stderr.trim().lines().count(),
        "{failure}"
    );
}

#[test]
fn the_demonstration_leaves_nothing_behind() {
    let mut gateway = Setup::without_config()
        .command(&["demo"])
        .env("OPENAI_API_KEY", "sk-must-not-be-used-0123456789")
        .start();
    let lines = printed_lines(&gateway);
    let key = value(&lines, "OPENAI_API_KEY").to_owned();
    for model in ["demo", "smart", "DEMO-priced"] {
        let response = Format::Chat.call(model).bearer(&key).send(&gateway.url());
        assert_eq!(response.status(), 200, "{model}: {}", response.text());
        assert!(
            response
                .header("x-tollgate-upstream")
                .is_some_and(|name| name.starts_with("demo")),
            "{model}"
        );
    }
    assert!(gateway.stop().success());
    let mut left: Vec<_> = std::fs::read_dir(gateway.dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    left.retain(|name| name != "stdout.log" && name != "stderr.log");
    assert!(left.is_empty(), "{left:?}");
}
