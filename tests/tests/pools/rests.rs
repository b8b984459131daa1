//! Credentials that rest: because a provider named a time, in whatever words, or because they are close to a limit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blackbox::wait;
use testkit::upstream::{Answer, Behaviour, Gate, Match, Refusal};

use crate::lab::{COMMON, World, pair, secret, used};

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
