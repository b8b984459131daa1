//! What clients do: good calls, calls that we refuse, and calls that upstreams fail in every way.

use blackbox::format::{FORMATS, Format};
use serde_json::json;
use testkit::client::Request;
use testkit::gateway::Tollgate;
use testkit::upstream::{Answer, Behaviour, Refusal, Upstream};

use crate::lab::{CREDENTIALS, call};
use crate::planted::{ANSWER, CLIENT, HEADER, MASTER, OPENAI, PLANTED, PROMPT, WRONG, planted};
use crate::seen::Seen;

/// Good calls: what they say must stay between client and upstream.
pub(crate) fn talk(gateway: &Tollgate, upstream: &Upstream, seen: &mut Seen) {
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
pub(crate) fn be_refused(gateway: &Tollgate, seen: &mut Seen) {
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
pub(crate) fn be_failed(gateway: &Tollgate, upstream: &Upstream, seen: &mut Seen) {
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
