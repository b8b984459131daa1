//! Nothing that was planted comes out: neither in logs and error bodies, nor in metrics, views and listings, nor in the
//! files of the data folder.
//!
//! Each secret has a middle that occurs nowhere else, and that middle is looked for: a masked form may show a secret's
//! ends and nothing of its middle. Logs are written at their most talkative.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use blackbox::books::settled;
use blackbox::format::{FORMATS, Format};
use blackbox::tunnel::Proxy;
use blackbox::{audit, wait};
use serde_json::json;
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Refusal, Upstream};

/// What was planted, and the middle that is looked for.
const PLANTED: [(&str, &str, &str); 14] = [
    (
        "the client's key",
        "sk-tg-aaaa-CLIENTMIDDLE0451-zzzz",
        "CLIENTMIDDLE0451",
    ),
    (
        "a key that nobody knows",
        "sk-tg-aaaa-WRONGMIDDLE0452-zzzz",
        "WRONGMIDDLE0452",
    ),
    (
        "the openai credential",
        "sk-proj-aaaa-OPENAIMIDDLE0453-zzzz",
        "OPENAIMIDDLE0453",
    ),
    (
        "the anthropic credential",
        "sk-ant-aaaa-CLAUDEMIDDLE0454-zzzz",
        "CLAUDEMIDDLE0454",
    ),
    (
        "the gemini credential",
        "AIzaaaaa-GEMINIMIDDLE0455-zzzz",
        "GEMINIMIDDLE0455",
    ),
    // Base64 of 32 bytes: its own middle in base64.
    (
        "the encryption key",
        "RU5DUllQVElPTk1JRERMRTA0NTYtMDEyMzQ1Njc4OTA=",
        "lPTk1JRERMRTA0NTYtMDEy",
    ),
    ("the admin token", "aaaa-ADMINMIDDLE0457-zzzz", "ADMINMIDDLE0457"),
    ("the master key", "aaaa-MASTERMIDDLE0458-zzzz", "MASTERMIDDLE0458"),
    ("the proxy's login", "aaaa-PROXYMIDDLE0459-zzzz", "PROXYMIDDLE0459"),
    (
        "the value of a header",
        "aaaa-HEADERMIDDLE0460-zzzz",
        "HEADERMIDDLE0460",
    ),
    ("the prompt", "aaaa PROMPTMIDDLE0461 zzzz", "PROMPTMIDDLE0461"),
    ("the answer", "aaaa ANSWERMIDDLE0462 zzzz", "ANSWERMIDDLE0462"),
    (
        "a key added by command",
        "sk-tg-aaaa-ADDEDMIDDLE0463-zzzz",
        "ADDEDMIDDLE0463",
    ),
    (
        "a credential added by command",
        "sk-aaaa-SECONDMIDDLE0464-zzzz",
        "SECONDMIDDLE0464",
    ),
];

const CLIENT: usize = 0;
const WRONG: usize = 1;
const OPENAI: usize = 2;
const CLAUDE: usize = 3;
const GEMINI: usize = 4;
const ENCRYPTION: usize = 5;
const ADMIN: usize = 6;
const MASTER: usize = 7;
const PROXY: usize = 8;
const HEADER: usize = 9;
const PROMPT: usize = 10;
const ANSWER: usize = 11;
const ADDED: usize = 12;
const SECOND: usize = 13;

fn planted(which: usize) -> &'static str {
    PLANTED[which].1
}

/// Everything seen, with the name of where.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn note(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn response(&mut self, place: &str, response: &Response) {
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

    fn output(&mut self, command: &[&str], output: &Output) {
        self.note(format!("stdout of {command:?}"), output.stdout.clone());
        self.note(format!("stderr of {command:?}"), output.stderr.clone());
    }

    /// Panics with all that was found.
    fn assert_clean(&self) {
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

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
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

fn config(upstream: &Upstream, proxy: &Proxy) -> String {
    let (url, v1) = (upstream.url(), upstream.v1());
    format!(
        "server: {{body_limit: 64KiB}}
logs: {{level: trace, dir: data/logs}}
security: {{encryption_key: \"${{ENCRYPTION_KEY}}\", admin_token: \"{}\", master_key: \"{}\"}}
defaults: {{retries: 1, retry_delay: 10ms}}
upstreams:
  - {{name: openai-main, provider: openai, base_url: \"{v1}\", breaker: off, cooldown: off, proxy: \"http://fleet:{}@{}\", headers: {{x-team-secret: \"{}\"}}, models: [\"gpt-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
  - {{name: claude, provider: anthropic, base_url: \"{v1}\", breaker: off, cooldown: off, models: [\"claude-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
  - {{name: google, provider: gemini, base_url: \"{url}/v1beta\", breaker: off, cooldown: off, models: [\"gemini-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
  - {{name: nowhere, provider: openai, base_url: \"http://127.0.0.1:1/v1\", models: [\"lost-*\"], credentials: [{{name: k1, key: \"{}\"}}]}}
users:
  - {{name: alice, opening_credit: 10.00, policy: soft}}
keys:
  - {{name: laptop, user: alice, key: \"{}\"}}
",
        planted(ADMIN), planted(MASTER), planted(PROXY), proxy.address(), planted(HEADER), planted(OPENAI), planted(CLAUDE),
        planted(GEMINI), planted(OPENAI), planted(CLIENT),
    )
}

const CREDENTIALS: [(Format, usize); 4] = [
    (Format::Chat, OPENAI),
    (Format::Responses, OPENAI),
    (Format::Anthropic, CLAUDE),
    (Format::Gemini, GEMINI),
];

/// A call whose prompt is the planted one.
fn call(format: Format, model: &str, stream: bool) -> Request {
    let body = format
        .body(model)
        .to_string()
        .replace("\"hi\"", &json!(planted(PROMPT)).to_string());
    let path = match (format, stream) {
        (Format::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        _ => format.path(model),
    };
    let body = if stream && format != Format::Gemini {
        body.replacen('{', "{\"stream\":true,", 1)
    } else {
        body
    };
    Request::new("POST", &path)
        .header("content-type", "application/json")
        .body(body)
}

/// Good calls: what they say must stay between client and upstream.
fn talk(gateway: &Tollgate, upstream: &Upstream, seen: &mut Seen) {
    upstream.always(Behaviour::answer(Answer::text(planted(ANSWER))));
    for format in FORMATS {
        for stream in [false, true] {
            for key in [CLIENT, MASTER] {
                let response = call(format, format.model(), stream)
                    .bearer(planted(key))
                    .send(&gateway.url());
                assert!(
                    response.status() == 200 && response.text().contains(PLANTED[ANSWER].2),
                    "{format:?}: {}",
                    response.text()
                );
                seen.response("a good call", &response);
            }
        }
    }
    // One that leaves in the middle, and one whose usage is impossible and so kept as it came.
    let mut exchange = call(Format::Chat, "gpt-4o", true)
        .bearer(planted(CLIENT))
        .open(&gateway.url())
        .expect("connected");
    exchange.read_until("ANSWER");
    exchange.leave();
    let impossible = Answer::text(planted(ANSWER)).usage_raw(json!({"prompt_tokens": -1, "completion_tokens": 1}));
    upstream.then(Behaviour::answer(impossible));
    call(Format::Chat, "gpt-4o", false)
        .bearer(planted(CLIENT))
        .send(&gateway.url());
}

/// Refusals of ours.
fn be_refused(gateway: &Tollgate, seen: &mut Seen) {
    for format in FORMATS {
        let send = |request: Request, key: usize| request.bearer(planted(key)).send(&gateway.url());
        let good = || call(format, format.model(), false);
        let too_large = good().body(format!(
            "{{\"model\":\"{}\",\"pad\":\"{}\"}}",
            planted(PROMPT),
            "x".repeat(70_000)
        ));
        let responses = [
            send(good(), WRONG),
            send(call(format, "no-such-model", false), CLIENT),
            send(good().body(format!("{{\"messages\": \"{}", planted(PROMPT))), CLIENT),
            send(good().header("content-encoding", "gzip"), CLIENT),
            send(too_large, CLIENT),
            Request::get(&format!("{}?key={}", format.path(format.model()), planted(WRONG))).send(&gateway.url()),
            send(Request::get("/v1/files"), CLIENT),
            send(call(format, "lost-model", false), CLIENT),
            send(Request::get("/api/stats"), WRONG),
            send(Request::get("/metrics"), CLIENT),
            send(Request::get("/api/me/balance"), WRONG),
            send(Request::get("/nowhere"), CLIENT),
        ];
        for response in responses {
            assert_ne!(response.status(), 200);
            seen.response("a refusal", &response);
        }
    }
}

/// Upstreams that repeat what they should not, our credential, in every failure there is.
fn be_failed(gateway: &Tollgate, upstream: &Upstream, seen: &mut Seen) {
    for (format, credential) in CREDENTIALS {
        let mut echo = format!("key {} is bad", planted(credential));
        if credential == OPENAI {
            // The only upstream that is told of it.
            echo = format!("{echo}, and so is {}", planted(HEADER));
        }
        // 422 is the caller's own mistake, told in the provider's words.
        let mut faults: Vec<Behaviour> = [401, 402, 403, 408, 422, 429, 500, 503, 529]
            .map(|status| Behaviour::refuse(Refusal::status(status).message(&echo).header("x-echo", &echo)))
            .into();
        faults.push(Behaviour::refuse(Refusal::insufficient_quota().message(&echo)));
        faults.push(Behaviour::raw(
            200,
            &[("content-type", "application/json")],
            echo.clone(),
        ));
        faults.push(Behaviour::raw(
            302,
            &[("location", &format!("http://127.0.0.1:1/?key={}", planted(credential)))],
            echo.clone(),
        ));
        faults.push(Behaviour::raw(
            502,
            &[("content-type", "text/html")],
            format!("<h1>{echo}</h1>"),
        ));
        faults.push(Behaviour::raw(
            200,
            &[("content-type", "text/event-stream")],
            format!("data: {{\"error\":{{\"message\":\"{echo}\"}}}}\n\n"),
        ));
        faults.push(Behaviour::raw(
            200,
            &[("content-type", "text/event-stream")],
            format!("data: {{{echo}\n\n"),
        ));
        faults.push(Behaviour::reset());
        for fault in faults {
            upstream.always(fault.clone());
            for stream in [false, true] {
                let response = call(format, format.model(), stream)
                    .bearer(planted(CLIENT))
                    .send(&gateway.url());
                assert_ne!(response.status(), 200, "{format:?}, {fault:?}: {}", response.text());
                seen.response(&format!("{format:?}, an upstream's failure"), &response);
            }
        }
        // Broken in the middle: the error is inside a stream that has begun. What follows the answer is looked at.
        let broken = Behaviour::answer(Answer::text("a good beginning of it"))
            .insert(6, &format!("data: {{\"error\":{{\"message\":\"{echo}\"}}}}\n\n"));
        upstream.always(broken);
        let response = call(format, format.model(), true)
            .bearer(planted(CLIENT))
            .send(&gateway.url());
        seen.note(format!("{format:?}: a stream with an error in it"), response.body);
    }
}

/// What operators look at.
fn look(gateway: &Tollgate, seen: &mut Seen) {
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

fn command(gateway: &Tollgate, seen: &mut Seen, arguments: &[&str], input: &str) {
    let output = gateway.cli_with_input(arguments, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    seen.output(arguments, &output);
}

fn run_commands(gateway: &Tollgate, seen: &mut Seen) {
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

/// Configurations that are wrong just where a secret stands.
fn check_bad_files(gateway: &Tollgate, seen: &mut Seen) {
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

fn reload_badly(gateway: &Tollgate, good: &str) {
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

#[test]
fn the_search_finds_what_is_there() {
    let mut seen = Seen::default();
    seen.note("here", format!("x{}y", planted(PROXY)));
    assert!(std::panic::catch_unwind(|| seen.assert_clean()).is_err());
    // base64 of fleet:aaaa-PROXYMIDDLE0459-zzzz
    assert!("ZmxlZXQ6YWFhYS1QUk9YWU1JRERMRTA0NTktenp6eg==".contains(&base64_of(planted(PROXY))));
}
