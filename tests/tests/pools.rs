//! Pools of credentials, as an operator sees them: whose turn it is, what is left of a day, whose keys they are for, what
//! an answer says of a limit, and being taken out of service and put back, over restarts and beside a running server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blackbox::wait;
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, Behaviour, Gate, Match, Refusal, Upstream};

const ADMIN: &str = "tg-admin-of-the-pools-0123456789";
const COMMON: &str = "sk-tg-common-0123456789abcdef0123";
const TEAM_A: &str = "sk-tg-team-a-0123456789abcdef0123";
const TEAM_B: &str = "sk-tg-team-b-0123456789abcdef0123";

/// The secret of the credential of this name.
fn secret(name: &str) -> String {
    format!("sk-secret-of-{name}-0123456789abcdef")
}

struct World {
    gateway: Tollgate,
    upstream: Upstream,
}

impl World {
    /// One upstream whose credentials are these (name and settings), asked for models `m` and `n`.
    fn new(provider: &str, credentials: &[(&str, &str)], upstream_settings: &str) -> Self {
        let upstream = Upstream::start();
        upstream.always(Behaviour::text("hello"));
        let credentials: Vec<String> = credentials
            .iter()
            .map(|(name, settings)| format!("{{name: {name}, key: {}{settings}}}", secret(name)))
            .collect();
        let config = format!(
            "logs: {{dir: logs}}
defaults: {{retries: 0, retry_delay: 50ms}}
profiles: [team-a, team-b]
upstreams:
  - {{name: main, provider: {provider}, base_url: \"{}\", models: [m, n], breaker: off{upstream_settings}, credentials: [{}]}}
users: [{{name: alice}}]
keys:
  - {{name: common, user: alice, key: {COMMON}}}
  - {{name: a, user: alice, key: {TEAM_A}, profile: team-a}}
  - {{name: b, user: alice, key: {TEAM_B}, profile: Team-B}}
",
            if provider == "gemini" {
                format!("{}/v1beta", upstream.url())
            } else {
                upstream.v1()
            },
            credentials.join(", ")
        );
        let gateway = Setup::config(&config).env("ADMIN_TOKEN", ADMIN).start();
        Self { gateway, upstream }
    }

    fn call(&self, key: &str, model: &str) -> Response {
        let messages = json!([{"role": "user", "content": "hello"}]);
        Request::post("/v1/chat/completions", &json!({"model": model, "messages": messages}))
            .bearer(key)
            .send(&self.gateway.url())
    }

    /// One call of the common key: who served it, or the status.
    fn served(&self) -> String {
        self.served_to(COMMON)
    }

    fn served_to(&self, key: &str) -> String {
        let response = self.call(key, "m");
        let last = self.upstream.take_received().pop();
        match response.status() {
            200 => used(&last.expect("somebody was asked").credential.expect("with a key")),
            status => status.to_string(),
        }
    }

    /// What `/api/accounts` says of a credential.
    fn account(&self, name: &str) -> Value {
        let answer = Request::get("/api/accounts").bearer(ADMIN).send(&self.gateway.url());
        let accounts = answer.json()["accounts"].clone();
        let mut all = accounts.as_array().expect("a list").iter();
        all.find(|account| account["name"] == name)
            .expect("it is listed")
            .clone()
    }

    /// Why candidates are not for a call with this key, by credential.
    fn excluded(&self, key: &str) -> Vec<(String, String)> {
        let told = self
            .gateway
            .cli_json(&["explain", "--model", "m", "--key", key, "--json"]);
        assert_eq!(told["live"], true, "{told}");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let excluded = told["excluded"].as_array().expect("a list").iter();
        excluded
            .map(|one| (text(&one["credential"]), text(&one["reason"])))
            .collect()
    }

    /// The changes in the log of credential events: the change and the credential.
    fn events(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.gateway.path("logs")).expect("the folder of logs") {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a log");
            if name.starts_with("credentials.") {
                assert!(!text.contains("sk-secret-of"), "a secret in the log: {text}");
                lines.extend(
                    text.lines()
                        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")),
                );
            } else {
                assert!(!text.contains("tollgate::credential"), "in two logs");
            }
        }
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        lines
            .iter()
            .map(|line| (text(line, "change"), text(line, "credential")))
            .collect()
    }

    fn wait_for_event(&self, change: &str, credential: &str) {
        let wanted = (change.to_owned(), credential.to_owned());
        wait::until(change, || self.events().contains(&wanted));
    }
}

/// The name of the credential that has this secret.
fn used(secret: &str) -> String {
    let rest = secret.strip_prefix("sk-secret-of-").expect("one of ours");
    rest.split('-').next().expect("its name").to_owned()
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

/// A test about a day must not run over its end.
fn away_from_midnight() {
    let today = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
        % 86_400;
    if today > 86_400 - 120 {
        wait::lasts(Duration::from_secs(86_401 - today));
    }
}

#[test]
fn credentials_take_turns_of_the_length_that_they_say() {
    let world = World::new("openai", &[("k1", ", rotate_after: 3"), ("k2", "")], "");
    let turns: Vec<_> = (0..8).map(|_| world.served()).collect();
    assert_eq!(turns, ["k1", "k1", "k1", "k2", "k1", "k1", "k1", "k2"]);
}

#[test]
fn a_limit_of_the_day_is_exact_over_crashes_and_parallel_calls() {
    away_from_midnight();
    let mut world = World::new("openai", &[("k1", ", daily_limit: 12"), ("k2", ", daily_limit: 5")], "");
    let storm = |world: &World, calls: usize| {
        let answered: usize = std::thread::scope(|scope| {
            let call = || scope.spawn(|| usize::from(world.call(COMMON, "m").status() == 200));
            let calls: Vec<_> = (0..calls).map(|_| call()).collect();
            calls.into_iter().map(|call| call.join().expect("a call")).sum()
        });
        let received = world.upstream.take_received();
        assert_eq!(received.len(), answered, "nobody was asked in vain");
        let of = |name: &str| {
            let secret = secret(name);
            received
                .iter()
                .filter(|call| call.credential.as_deref() == Some(&secret))
                .count()
        };
        (of("k1"), of("k2"))
    };
    let (one, two) = storm(&world, 9);
    assert_eq!(one + two, 9);
    // A crash: what was journalled counts, booked or not.
    world.gateway.kill9();
    world.gateway.restart();
    assert_eq!(storm(&world, 20), (12 - one, 5 - two), "what was left, and no more");
    let refused = world.call(COMMON, "m");
    assert_eq!(refused.status(), 503);
    let wait: u64 = refused
        .header("retry-after")
        .expect("until midnight")
        .parse()
        .expect("seconds");
    assert!(wait <= 86_400, "{wait}");
    assert!(
        refused.text().contains("as much as the operator allows"),
        "{}",
        refused.text()
    );
    // An orderly restart changes nothing.
    assert!(world.gateway.stop().success());
    world.gateway.restart();
    assert_eq!(world.served(), "503");
    assert_eq!(world.account("k1")["uses_today"], 12);
    assert_eq!(
        world.excluded("common"),
        [pair("k1", "daily_limit"), pair("k2", "daily_limit")]
    );
    assert_eq!(world.account("k1")["state"], "daily_limit");
    let reached: Vec<_> = world
        .events()
        .into_iter()
        .filter(|(change, _)| change == "daily_limit_reached")
        .collect();
    assert_eq!(reached.len(), 2, "told once each: {reached:?}");
}

#[test]
fn a_key_of_a_profile_uses_its_credentials_and_never_anothers() {
    let world = World::new("openai", &[("k1", ", profile: team-a"), ("k2", "")], "");
    assert_eq!(world.served_to(TEAM_A), "k1");
    assert_eq!(world.served_to(TEAM_A), "k1");
    assert_eq!(world.served_to(COMMON), "k2");
    assert_eq!(world.served_to(TEAM_B), "503", "none has that profile");
    world.upstream.rule(
        Match::credential(&secret("k1")),
        Behaviour::refuse(Refusal::rate_limited(Some(60))),
    );
    assert_eq!(world.call(TEAM_A, "m").status(), 429);
    assert_eq!(world.call(TEAM_A, "m").status(), 429);
    let asked: Vec<_> = world
        .upstream
        .take_received()
        .into_iter()
        .filter_map(|call| call.credential)
        .collect();
    assert_eq!(asked, [secret("k1")], "another's was not asked, and its own not twice");
    assert_eq!(world.excluded("a"), [pair("k1", "cooldown"), pair("k2", "profile")]);
    assert_eq!(world.excluded("common"), [pair("k1", "profile")]);
}

#[test]
fn repeated_refusals_take_a_credential_out_and_an_operator_puts_it_back() {
    let mut world = World::new("openai", &[("k1", ""), ("k2", "")], "");
    world
        .upstream
        .rule(Match::credential(&secret("k1")), Behaviour::status(401));
    let revoked = || world.account("k1");
    // K9: nobody notices. The refused one rests, so it is asked again only as others fail.
    for _ in 0..10 {
        assert_eq!(world.served(), "k2");
    }
    assert_eq!(revoked()["refusals"], 1);
    assert_eq!(revoked()["state"], "cooldown");
    // With the other one away too, it is the last resort, and refused each time.
    world.upstream.rule(
        Match::credential(&secret("k2")),
        Behaviour::refuse(Refusal::rate_limited(Some(600))),
    );
    for _ in 0..6 {
        world.call(COMMON, "m");
    }
    wait::until("the snapshot to say so", || !revoked()["deactivated"].is_null());
    assert_eq!(revoked()["state"], "deactivated");
    let reason = revoked()["deactivated"]["reason"].as_str().expect("why").to_owned();
    assert!(reason.starts_with("refused 5 times in a row: 401"), "{reason}");
    world.wait_for_event("deactivated", "k1");
    let asked = world.upstream.take_received();
    let of_k1 = asked
        .iter()
        .filter(|call| call.credential.as_deref() == Some(&secret("k1")))
        .count();
    assert_eq!(of_k1, 4, "and not asked after that");

    // It is mended at the provider, and stays out over a restart until somebody says so.
    world
        .upstream
        .rule(Match::credential(&secret("k1")), Behaviour::text("hello"));
    world.gateway.restart();
    world.call(COMMON, "m");
    let asked = world.upstream.take_received();
    assert!(
        asked
            .iter()
            .all(|call| call.credential.as_deref() == Some(&secret("k2"))),
        "{asked:?}"
    );
    let listed = world.gateway.cli_ok(&["credential", "list"]);
    assert!(listed.contains("deactivated"), "{listed}");
    let shown = world.gateway.cli_ok(&["credential", "show", "main/k1"]);
    assert!(shown.contains(&reason) && shown.contains("--activate"), "{shown}");
    assert_eq!(world.excluded("common")[0], pair("k1", "deactivated"));
    // A credential of the file: what it declares is the file's, what became of it is not.
    let refused = world.gateway.cli(&["credential", "edit", "main/k1", "--weight", "3"]);
    assert!(!refused.status.success());
    let said = world.gateway.cli_ok(&["credential", "edit", "main/k1", "--activate"]);
    assert!(said.contains("is back in service"), "{said}");
    wait::within(Duration::from_secs(5), "the server to see it", || {
        world.served() == "k1"
    });
    world.wait_for_event("activated", "k1");
    assert_eq!(world.account("k1")["refusals"], 0);
}

#[test]
fn what_callers_ask_wrongly_counts_against_nobody() {
    let world = World::new("openai", &[("k1", "")], "");
    for status in [400, 404, 422, 403] {
        world.upstream.rule(Match::model("n"), Behaviour::status(status));
        for _ in 0..8 {
            assert_ne!(world.call(COMMON, "n").status(), 200, "{status}");
        }
        assert_eq!(world.account("k1")["refusals"], 0, "{status}");
        assert_eq!(world.served(), "k1", "{status}");
    }
}

#[test]
fn what_a_provider_named_holds_over_a_restart() {
    let mut world = World::new("openai", &[("k1", ""), ("k2", "")], "");
    world.upstream.rule(
        Match::credential(&secret("k1")),
        Behaviour::refuse(Refusal::rate_limited(Some(600))),
    );
    for _ in 0..2 {
        assert_eq!(world.served(), "k2");
    }
    let until = world.account("k1")["rests_until"].clone();
    assert!(until.is_string(), "{until}");
    // It is written at once; what is in the log of events is written, also if the process ends by no will of its own.
    world.wait_for_event("cooldown_began", "k1");
    world.gateway.kill9();
    world.gateway.restart();
    assert_eq!(world.account("k1")["rests_until"], until);
    world.upstream.take_received();
    for _ in 0..4 {
        assert_eq!(world.served(), "k2");
    }
}

#[test]
fn an_account_without_money_is_left_alone_over_a_restart() {
    let mut world = World::new("openai", &[("k1", ""), ("k2", "")], "");
    world.upstream.rule(
        Match::credential(&secret("k1")),
        Behaviour::refuse(Refusal::insufficient_quota()),
    );
    for _ in 0..4 {
        assert_eq!(world.served(), "k2");
    }
    assert_eq!(world.account("k1")["state"], "out_of_credit");
    world.wait_for_event("out_of_credit", "k1");
    world
        .upstream
        .rule(Match::credential(&secret("k1")), Behaviour::text("hello"));
    wait::until("the database to know", || {
        let shown = world.gateway.cli_json(&["credential", "show", "main/k1", "--json"]);
        shown["out_of_credit_since"].is_string()
    });
    world.gateway.restart();
    assert_eq!(world.account("k1")["state"], "out_of_credit");
    for _ in 0..4 {
        assert_eq!(world.served(), "k2");
    }
    // An operator who has paid says so.
    world.gateway.cli_ok(&["credential", "edit", "main/k1", "--activate"]);
    wait::within(Duration::from_secs(5), "the server to see it", || {
        world.served() == "k1"
    });
}

#[test]
fn an_account_is_paused_at_the_share_that_its_operator_says() {
    let world = World::new("anthropic", &[("k1", ", pause_at: 80%"), ("k2", "")], "");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let told = |five_hours: &str| {
        let answer = Answer::text("hello")
            .header("anthropic-ratelimit-unified-status", "allowed")
            .header("anthropic-ratelimit-unified-5h-utilization", five_hours)
            .header("anthropic-ratelimit-unified-5h-reset", &(now + 900).to_string())
            .header("anthropic-ratelimit-unified-7d-utilization", "0.125")
            .header("anthropic-ratelimit-unified-7d-reset", &(now + 90_000).to_string());
        world
            .upstream
            .rule(Match::credential(&secret("k1")), Behaviour::answer(answer));
    };
    told("0.79");
    assert_eq!(world.served(), "k1");
    assert_eq!(world.served(), "k2");
    told("0.8");
    assert_eq!(world.served(), "k1");
    for _ in 0..3 {
        assert_eq!(world.served(), "k2");
    }
    let account = world.account("k1");
    assert_eq!(account["state"], "paused");
    assert_eq!(account["windows"]["five_hours"]["used_percent"], 80.0);
    assert_eq!(account["windows"]["seven_days"]["used_percent"], 12.5);
    assert_eq!(world.excluded("common"), [pair("k1", "paused")]);
    let shown = world.gateway.cli_ok(&["credential", "show", "main/k1"]);
    assert!(
        shown.contains("80.0 % used") && shown.contains("paused until"),
        "{shown}"
    );
    world.wait_for_event("paused", "k1");
}

#[test]
fn a_limit_that_an_answer_says_is_used_up_is_not_run_into() {
    let world = World::new("openai", &[("k1", ""), ("k2", "")], "");
    let last = Answer::text("hello")
        .header("x-ratelimit-remaining-tokens", "0")
        .header("x-ratelimit-reset-tokens", "30s");
    world
        .upstream
        .rule(Match::credential(&secret("k1")).and_model("m"), Behaviour::answer(last));
    assert_eq!(world.served(), "k1");
    for _ in 0..3 {
        assert_eq!(world.served(), "k2", "{}", world.account("k1"));
    }
    // Of one model: the other one's limit is its own.
    let others: Vec<_> = (0..2)
        .map(|_| {
            assert_eq!(world.call(COMMON, "n").status(), 200);
            used(&world.upstream.take_received()[0].credential.clone().expect("a key"))
        })
        .collect();
    assert_eq!(others, ["k1", "k2"]);
    assert_eq!(world.account("k1")["resting_models"][0]["model"], "m");
    // It turns nobody away.
    world.upstream.rule(
        Match::credential(&secret("k2")),
        Behaviour::refuse(Refusal::rate_limited(Some(60))),
    );
    assert_eq!(world.served(), "k1");
}

#[test]
fn a_limit_of_one_model_leaves_the_others_alone() {
    let world = World::new("openai", &[("k1", "")], "");
    let limited = Refusal::rate_limited(Some(60)).message(
        "Rate limit reached for m in organization org-x on requests per min (RPM): Limit 3, Used 3, Requested 1.",
    );
    world.upstream.rule(Match::model("m"), Behaviour::refuse(limited));
    assert_eq!(world.call(COMMON, "m").status(), 429);
    assert_eq!(world.call(COMMON, "n").status(), 200);
    assert_eq!(world.call(COMMON, "m").status(), 429);
    let asked: Vec<_> = world
        .upstream
        .take_received()
        .into_iter()
        .filter_map(|call| call.model)
        .collect();
    assert_eq!(asked, ["m", "n"], "not asked again before its time");
    world.wait_for_event("cooldown_began", "k1");
    assert_eq!(world.events().len(), 1, "{:?}", world.events());
}

/// Two calls under way with one credential: what the first is told holds, whatever the second is told afterwards.
#[test]
fn a_longer_rest_is_never_replaced_by_a_shorter_one() {
    let world = World::new("openai", &[("k1", ""), ("k2", "")], "");
    let (long, short) = (Gate::closed(), Gate::closed());
    let refuse = |seconds, gate: &Gate| Behaviour::refuse(Refusal::rate_limited(Some(seconds))).hold_head(gate);
    let of = |secret: String, model: &str| Match::credential(&secret).and_model(model);
    world.upstream.rule(of(secret("k1"), "m"), refuse(600, &long));
    world.upstream.rule(of(secret("k1"), "n"), refuse(2, &short));
    std::thread::scope(|scope| {
        // Each model's calls take turns among the credentials, so both come to the first once.
        let calls: Vec<_> = ["m", "n", "m", "n"]
            .map(|model| scope.spawn(|| world.call(COMMON, model)))
            .into();
        let held = || {
            world
                .upstream
                .received()
                .iter()
                .filter(|call| call.credential == Some(secret("k1")))
                .count()
        };
        wait::until("both to be under way", || held() >= 2);
        long.open();
        world.wait_for_event("cooldown_began", "k1");
        let until = world.account("k1")["rests_until"].clone();
        assert!(until.is_string(), "{until}");
        short.open();
        for call in calls {
            call.join().expect("a call");
        }
        assert_eq!(world.account("k1")["rests_until"], until);
    });
    for _ in 0..4 {
        assert_eq!(world.served(), "k2");
    }
}

/// A time as dates are written (RFC 3339), from <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn moment(epoch_s: u64) -> String {
    let (days, second) = (epoch_s / 86_400 + 719_468, epoch_s % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}

/// In each provider's own words: two minutes from now.
#[test]
fn the_end_of_a_limit_is_learned_however_it_is_spelled() {
    let then = SystemTime::now() + Duration::from_mins(2);
    let epoch_s = then.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let date = moment(epoch_s);
    let spellings: [(&str, Refusal); 7] = [
        ("openai", Refusal::status(429).header("retry-after", "120")),
        ("openai", Refusal::status(429).header("retry-after-ms", "120000")),
        (
            "openai",
            Refusal::status(429)
                .header("x-ratelimit-remaining-requests", "0")
                .header("x-ratelimit-reset-requests", "2m0s"),
        ),
        (
            "openai",
            Refusal::status(429)
                .header("x-ratelimit-remaining-tokens", "0")
                .header("x-ratelimit-reset-tokens", "120000ms"),
        ),
        (
            "anthropic",
            Refusal::status(429)
                .header("anthropic-ratelimit-requests-remaining", "0")
                .header("anthropic-ratelimit-requests-reset", &date),
        ),
        (
            "anthropic",
            Refusal::status(429)
                .header("anthropic-ratelimit-unified-status", "rejected")
                .header("anthropic-ratelimit-unified-reset", &epoch_s.to_string()),
        ),
        (
            "gemini",
            Refusal {
                retry_info_s: Some(120),
                ..Refusal::status(429)
            },
        ),
    ];
    let date = &date;
    std::thread::scope(|scope| {
        for (provider, refusal) in spellings {
            scope.spawn(move || {
                let world = World::new(provider, &[("k1", "")], "");
                world.upstream.always(Behaviour::refuse(refusal.clone()));
                assert_eq!(world.call(COMMON, "m").status(), 429, "{provider}: {refusal:?}");
                let account = world.account("k1");
                // Anthropic's limits of requests are each a model's.
                let model = &account["resting_models"][0];
                let (state, until) = match &account["state"] {
                    ready if ready == "ready" => (&model["state"], &model["until"]),
                    state => (state, &account["rests_until"]),
                };
                assert_eq!(state, "cooldown_named_by_provider", "{refusal:?}: {account}");
                let until = until.as_str().expect("a time");
                let (least, most) = (moment(epoch_s - 5), moment(epoch_s + 40));
                assert!(
                    (least.as_str()..=most.as_str()).contains(&until),
                    "{refusal:?}: {until} is not about {date}"
                );
            });
        }
    });
}

#[test]
fn without_cooldown_nothing_rests() {
    let world = World::new("openai", &[("k1", "")], ", cooldown: off");
    world.upstream.then(Behaviour::refuse(Refusal::rate_limited(Some(60))));
    assert_eq!(world.call(COMMON, "m").status(), 429);
    assert_eq!(world.call(COMMON, "m").status(), 200);
}

#[test]
fn the_command_line_sets_what_the_file_can() {
    let world = World::new("openai", &[("k1", "")], "");
    let gateway = &world.gateway;
    let base = world.upstream.v1();
    gateway.cli_ok(&[
        "upstream",
        "add",
        "second",
        "--provider",
        "openai",
        "--base-url",
        &base,
        "--model",
        "x",
    ]);
    let key = secret("s1");
    gateway.cli_ok(&[
        "credential",
        "add",
        "second/s1",
        "--key",
        &key,
        "--profile",
        "team-c",
        "--daily-limit",
        "9",
        "--rotate-after",
        "4",
        "--pause-at",
        "90%",
    ]);
    let typo = gateway.cli(&["key", "add", "c", "--user", "alice", "--profile", "taem-c"]);
    assert!(
        String::from_utf8_lossy(&typo.stderr).contains("did you mean `team-c`?"),
        "{typo:?}"
    );
    let added = gateway.cli_json(&["key", "add", "c", "--user", "alice", "--profile", "team-c", "--json"]);
    let client = added["key"].as_str().expect("shown once").to_owned();
    wait::within(Duration::from_secs(5), "the server to see it", || {
        world.call(&client, "x").status() == 200
    });
    let shown = gateway.cli_json(&["credential", "show", "second/s1", "--json"]);
    assert_eq!(
        (
            &shown["daily_limit"],
            &shown["rotate_after"],
            &shown["profile"],
            &shown["pause_at"]
        ),
        (&json!(9), &json!(4), &json!("team-c"), &json!("90%"))
    );
    gateway.cli_ok(&[
        "credential",
        "edit",
        "second/s1",
        "--daily-limit",
        "none",
        "--weight",
        "2",
    ]);
    let shown = gateway.cli_json(&["credential", "show", "second/s1", "--json"]);
    assert_eq!(
        (&shown["daily_limit"], &shown["rotate_after"], &shown["weight"]),
        (&Value::Null, &json!(4), &json!(2))
    );
}
