//! Each fault of the scripted upstream does what its name says, seen with the testkit's own client.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::{Connection, End, Request, Response};
use testkit::upstream::{
    Answer, At, Behaviour, Blackhole, Chunking, Ending, Framing, Gate, HeadFault, How, Match, Refusal, Reporting,
    Upstream, Usage,
};

/// Short enough to be spent in a test, long enough to be seen.
const A_WHILE: Duration = Duration::from_millis(60);

fn chat(stream: bool) -> Request {
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    Request::post("/v1/chat/completions", &body).bearer("sk-1")
}

fn streamed(behaviour: Behaviour) -> (Upstream, Response) {
    let upstream = Upstream::start();
    upstream.then(behaviour);
    let response = chat(true).send(&upstream.url());
    (upstream, response)
}

/// A stream of role, t0, t1, t2, t3, finish, [DONE]: seven events.
fn tokens() -> Behaviour {
    Behaviour::answer(Answer::tokens(4))
}

fn ending(upstream: &Upstream) -> Option<Ending> {
    upstream.wait_for_rest();
    upstream.received()[0].ending
}

#[test]
fn answers_every_path_of_every_dialect() {
    let upstream = Upstream::start();
    let post = |target: &str, body: Value| Request::post(target, &body).send(&upstream.url()).json();
    assert_eq!(
        chat(false).send(&upstream.url()).json()["choices"][0]["message"]["role"],
        "assistant"
    );
    assert_eq!(
        post("/v1/completions", json!({"model": "m"}))["object"],
        "text_completion"
    );
    assert_eq!(
        post("/v1/embeddings", json!({"model": "m", "input": "x"}))["data"][0]["object"],
        "embedding"
    );
    assert_eq!(post("/v1/responses", json!({"model": "m"}))["status"], "completed");
    assert_eq!(
        post("/v1/messages", json!({"model": "m"}))["content"][0]["type"],
        "text"
    );
    assert_eq!(
        post("/v1/messages/count_tokens", json!({"model": "m"})),
        json!({"input_tokens": 12})
    );
    assert_eq!(post("/v1beta/models/g:generateContent", json!({}))["modelVersion"], "g");
    assert_eq!(post("/v1beta/models/g:countTokens", json!({}))["totalTokens"], 12);
    assert!(post("/v1beta/models/g:embedContent", json!({}))["embedding"]["values"].is_array());
    let batch = post("/v1beta/models/g:batchEmbedContents", json!({"requests": [{}, {}]}));
    assert_eq!(batch["embeddings"].as_array().unwrap().len(), 2);
    let models = |request: Request| request.send(&upstream.url()).json();
    assert_eq!(models(Request::get("/v1/models"))["data"][0]["id"], "scripted-large");
    assert_eq!(
        models(Request::get("/v1/models").header("anthropic-version", "1"))["first_id"],
        "scripted-large"
    );
    assert_eq!(
        models(Request::get("/v1beta/models"))["models"][1]["name"],
        "models/scripted-small"
    );
    assert_eq!(Request::get("/v1/files").send(&upstream.url()).status(), 404);
}

#[test]
fn a_stream_comes_event_by_event_and_ends_cleanly() {
    let (upstream, response) = streamed(tokens());
    assert_eq!((response.status(), response.end), (200, End::Complete));
    assert_eq!(response.chunks.len(), 7);
    assert!(response.chunks.iter().all(|chunk| chunk.bytes.ends_with(b"\n\n")));
    assert_eq!(response.events().last().unwrap().data, "[DONE]");
    assert_eq!(ending(&upstream), Some(Ending::Completed));
    assert_eq!(upstream.received()[0].body_sent, response.body.len() as u64);
}

#[test]
fn the_head_and_the_first_chunk_come_in_one_write() {
    let gate = Gate::closed();
    let upstream = Upstream::start();
    upstream.then(tokens().hold(At::Events(1), &gate));
    let mut exchange = chat(true).open(&upstream.url()).unwrap();
    assert!(exchange.next_chunk().is_some());
    assert_eq!(exchange.reads().len(), 1, "{:?}", exchange.reads());
    gate.open();
    assert_eq!(exchange.finish().end, End::Complete);
}

#[test]
fn bodies_are_cut_into_the_chunks_that_were_asked_for() {
    let whole = streamed(tokens()).1;
    for (chunking, largest) in [
        (Chunking::Size(1), 1),
        (Chunking::Size(7), 7),
        (Chunking::Sizes(vec![3, 1, 11]), 11),
    ] {
        let response = streamed(tokens().chunked(chunking.clone())).1;
        assert_eq!(response.body, whole.body, "{chunking:?}");
        assert_eq!(
            response.chunks.iter().map(|chunk| chunk.bytes.len()).max(),
            Some(largest),
            "{chunking:?}"
        );
    }
    assert_eq!(streamed(tokens().chunked(Chunking::Whole)).1.chunks.len(), 1);
}

#[test]
fn every_framing_tells_the_end() {
    for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
        let response = streamed(tokens().framed(framing)).1;
        assert_eq!(
            (response.end, response.events().len()),
            (End::Complete, 7),
            "{framing:?}"
        );
    }
}

#[test]
fn resets_closes_and_stalls_before_the_head() {
    let faults = [
        (Behaviour::reset(), End::Reset, Ending::Cut),
        (Behaviour::close(), End::Closed, Ending::Cut),
        (Behaviour::stall(), End::TimedOut, Ending::ClientGone),
        (Behaviour::default().head(HeadFault::Garbage), End::Broken, Ending::Cut),
    ];
    for (behaviour, end, ended) in faults {
        let upstream = Upstream::start();
        upstream.then(behaviour);
        let response = chat(true).timeout(A_WHILE).send(&upstream.url());
        assert_eq!((response.status(), response.end), (0, end));
        assert_eq!(ending(&upstream), Some(ended));
        assert_eq!(
            chat(true).send(&upstream.url()).end,
            End::Complete,
            "the next call is well"
        );
    }
}

#[test]
fn resets_closes_ends_and_stalls_in_mid_stream() {
    let faults = [
        (tokens().reset_after(3), End::Reset, Ending::Cut),
        (tokens().close_after(3), End::Closed, Ending::Cut),
        (tokens().end_after(3), End::Complete, Ending::Cut),
        (tokens().stall_after(3), End::TimedOut, Ending::ClientGone),
    ];
    for (behaviour, end, ended) in faults {
        let upstream = Upstream::start();
        upstream.then(behaviour);
        let response = chat(true).timeout(A_WHILE * 5).send(&upstream.url());
        assert_eq!((response.status(), response.end), (200, end));
        assert_eq!(response.events().len(), 3, "{end:?}: {}", response.text());
        assert_eq!(ending(&upstream), Some(ended));
    }
}

#[test]
fn plain_bodies_are_cut_too() {
    let answer = |how| {
        let upstream = Upstream::start();
        upstream.then(Behaviour::default().cut(At::Bytes(40), how));
        chat(false).send(&upstream.url())
    };
    let (closed, ended) = (answer(How::Close), answer(How::End));
    assert_eq!((closed.end, closed.body.len()), (End::Closed, 40));
    assert_eq!((ended.end, ended.header("content-length")), (End::Complete, Some("40")));
}

#[test]
fn a_cut_may_fall_inside_an_event() {
    let gone = tokens().cut(At::Bytes(100), How::Close).chunked(Chunking::Size(30));
    let response = streamed(gone).1;
    assert_eq!(
        (response.end, response.body.len(), response.chunks.len()),
        (End::Closed, 100, 4)
    );
}

#[test]
fn terminators_and_finishes_can_be_missing() {
    let response = streamed(tokens().without_terminator()).1;
    assert_eq!(response.end, End::Complete);
    assert_eq!(
        response.events().last().unwrap().json().unwrap()["choices"][0]["finish_reason"],
        "stop"
    );
    let response = streamed(tokens().without_finish()).1;
    assert_eq!(
        response.events().last().unwrap().json().unwrap()["choices"][0]["delta"]["content"],
        "t3 "
    );

    let upstream = Upstream::start();
    upstream.always(Behaviour::default().without_terminator());
    let message = Request::post("/v1/messages", &json!({"model": "c", "stream": true})).send(&upstream.url());
    assert_eq!(message.events().last().unwrap().name.as_deref(), Some("message_delta"));
    let response = Request::post("/v1/responses", &json!({"model": "c", "stream": true})).send(&upstream.url());
    assert_eq!(
        response.events().last().unwrap().name.as_deref(),
        Some("response.output_item.done")
    );
}

#[test]
fn malformed_and_error_events_stand_where_they_were_put() {
    let response = streamed(tokens().malformed(2)).1;
    let events = response.events();
    assert_eq!((response.end, events.len()), (End::Complete, 7));
    let broken: Vec<usize> = (0..6).filter(|at| events[*at].json().is_none()).collect();
    assert_eq!(broken, [2]);

    let response = streamed(tokens().error_after(2)).1;
    let events = response.events();
    assert_eq!((response.end, events.len()), (End::Complete, 3));
    assert_eq!(events[2].json().unwrap()["error"]["type"], "server_error");

    let upstream = Upstream::start();
    upstream.always(Behaviour::default().error_after(1));
    let message = Request::post("/v1/messages", &json!({"model": "c", "stream": true})).send(&upstream.url());
    assert_eq!(message.events()[1].name.as_deref(), Some("error"));
    assert_eq!(message.events()[1].json().unwrap()["error"]["type"], "overloaded_error");

    let commented = streamed(tokens().insert(1, ": keepalive\n\n")).1.events();
    assert_eq!(
        (commented.len(), commented[1].comments.as_slice()),
        (8, &["keepalive".to_owned()][..])
    );
}

#[test]
fn pauses_stand_where_they_were_put() {
    let late_head = streamed(tokens().head_after(A_WHILE)).1;
    assert!(late_head.head.unwrap().at >= A_WHILE);

    let late_body = streamed(tokens().body_after(A_WHILE)).1;
    assert!(
        late_body.chunks[0]
            .at
            .saturating_sub(late_body.head.as_ref().unwrap().at)
            >= A_WHILE * 9 / 10
    );

    let paced = streamed(tokens().paced(A_WHILE / 4)).1;
    assert!(paced.chunks[6].at.saturating_sub(paced.chunks[0].at) >= A_WHILE);

    let slow = streamed(tokens().slow_head(Duration::from_micros(200))).1;
    assert_eq!(slow.end, End::Complete);
    assert!(
        slow.reads.iter().filter(|(_, size)| *size == 1).count() > 20,
        "{:?}",
        slow.reads
    );
}

#[test]
fn a_gate_holds_a_stream_until_the_test_opens_it() {
    let (gate, upstream) = (Gate::closed(), Upstream::start());
    upstream.then(tokens().hold(At::Events(2), &gate));
    let mut exchange = chat(true).open(&upstream.url()).unwrap();
    assert!(exchange.read_until("t0 "));
    let call = upstream.wait_for("a call with a head", |call| call.head_sent);
    assert_eq!((call.ending, upstream.counts().running()), (None, 1));
    gate.open();
    assert_eq!(exchange.finish().events().len(), 7);
    assert_eq!(upstream.wait_for_completed(1).completed, 1);
}

#[test]
fn a_client_that_leaves_is_noticed_at_once() {
    let (gate, upstream) = (Gate::closed(), Upstream::start());
    upstream.then(tokens().hold(At::Events(2), &gate));
    let mut exchange = chat(true).open(&upstream.url()).unwrap();
    assert!(exchange.read_until("t0 "));
    exchange.leave();
    let counts = upstream.wait_for_client_gone(1);
    assert_eq!((counts.completed, counts.cut, counts.running()), (0, 0, 0));
    assert_eq!(upstream.received()[0].ending, Some(Ending::ClientGone));
}

#[test]
fn refused_connections_are_refused_and_the_port_comes_back() {
    let upstream = Upstream::start();
    let (first, kept) = Connection::open(&upstream.url()).unwrap().send(&chat(false)).unwrap();
    assert_eq!(first.status(), 200);
    upstream.refuse_connections();
    assert_eq!(chat(true).send(&upstream.url()).end, End::Refused);
    let idle = kept.unwrap().send(&chat(false)).unwrap().0;
    assert!(
        matches!(idle.end, End::Closed | End::Reset),
        "an idle connection was closed: {:?}",
        idle.end
    );
    upstream.accept_connections();
    assert_eq!(chat(true).send(&upstream.url()).end, End::Complete);
    assert_eq!(upstream.counts().started, 2);
}

#[test]
fn connections_can_be_reset_on_arrival_and_in_flight() {
    let upstream = Upstream::start();
    upstream.reset_next_connections(1);
    assert!(matches!(chat(true).send(&upstream.url()).end, End::Reset | End::Closed));
    assert_eq!(upstream.counts().started, 0);

    upstream.then(tokens().hold(At::Events(2), &Gate::closed()));
    let mut exchange = chat(true).open(&upstream.url()).unwrap();
    assert!(exchange.read_until("t0 "));
    upstream.reset_connections();
    assert_eq!(exchange.finish().end, End::Reset);
    assert_eq!(chat(true).send(&upstream.url()).end, End::Complete);
}

#[test]
fn connections_are_kept_unless_the_script_hangs_up() {
    let upstream = Upstream::start();
    let (_, kept) = Connection::open(&upstream.url()).unwrap().send(&chat(false)).unwrap();
    upstream.then(Behaviour::default().hang_up());
    let (second, kept) = kept.unwrap().send(&chat(true)).unwrap();
    assert_eq!((second.end, second.header("connection")), (End::Complete, None));
    let third = kept
        .expect("nothing was said about closing")
        .send(&chat(true))
        .unwrap()
        .0;
    assert!(matches!(third.end, End::Closed | End::Reset), "{:?}", third.end);
    assert_eq!((upstream.counts().connections, upstream.counts().started), (1, 2));
}

#[test]
fn refusals_have_status_headers_and_body() {
    let upstream = Upstream::start();
    upstream.then(Behaviour::refuse(Refusal::rate_limited(Some(3))));
    let limited = chat(true).send(&upstream.url());
    assert_eq!((limited.status(), limited.header("Retry-After")), (429, Some("3")));
    assert_eq!(limited.json()["error"]["code"], "rate_limit_exceeded");
    for status in [401, 403, 408, 500, 502, 503, 529] {
        upstream.then(Behaviour::status(status));
        let response = chat(true).send(&upstream.url());
        assert_eq!((response.status(), response.end), (status, End::Complete));
        assert_eq!(
            response.header("content-type"),
            Some(if status == 502 { "text/html" } else { "application/json" })
        );
    }
}

#[test]
fn rules_choose_by_credential_model_and_path() {
    let upstream = Upstream::start();
    upstream.rule(Match::credential("sk-bad"), Behaviour::status(401));
    upstream.rule(Match::path("/messages").and_model("c"), Behaviour::status(529));
    upstream.rule_then(Match::body("hi"), Behaviour::status(500));
    assert_eq!(upstream.queued(), 1);
    assert_eq!(chat(false).send(&upstream.url()).status(), 500);
    assert_eq!(chat(false).send(&upstream.url()).status(), 200);
    let bad = Request::post("/v1/messages", &json!({"model": "d"})).header("X-Api-Key", "sk-bad");
    assert_eq!(bad.send(&upstream.url()).status(), 401);
    let message = |model: &str| {
        Request::post("/v1/messages", &json!({"model": model}))
            .send(&upstream.url())
            .status()
    };
    assert_eq!((message("c"), message("d")), (529, 200));
}

#[test]
fn what_was_received_is_written_down_as_it_came() {
    let upstream = Upstream::start();
    let body = br#"{ "model" : "m",  "x": 1 }"#;
    let request = Request::new("POST", "/v1/chat/completions?a=b&c")
        .header("X-Odd-CASE", "One")
        .header("authorization", "Bearer sk-1")
        .header("x-odd-case", "two")
        .body(body.as_slice());
    request.send(&upstream.url());
    let chunked = Request::new("POST", "/v1/messages")
        .header("transfer-encoding", "chunked")
        .body(b"5\r\n{\"mod\r\n9;x=1\r\nel\":\"c\"} \r\n0\r\nTrailer: x\r\n\r\n".as_slice());
    chunked.send(&upstream.url());
    let [first, second] = &upstream.wait_for_calls(2)[..] else {
        panic!("two calls")
    };
    assert_eq!(
        (first.path(), first.query(), first.body.as_ref()),
        ("/v1/chat/completions", Some("a=b&c"), &body[..])
    );
    let odd: Vec<_> = first
        .headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case("x-odd-case"))
        .collect();
    assert_eq!(
        odd,
        [
            &("X-Odd-CASE".to_owned(), "One".to_owned()),
            &("x-odd-case".to_owned(), "two".to_owned())
        ]
    );
    assert_eq!(
        (first.credential.as_deref(), first.model.as_deref()),
        (Some("sk-1"), Some("m"))
    );
    assert_eq!((second.json(), second.connection), (json!({"model": "c"}), 2));
    assert_eq!(upstream.take_received().len(), 2);
    assert_eq!((upstream.received().len(), upstream.counts().started), (0, 2));
}

#[test]
fn usage_can_be_anything() {
    let upstream = Upstream::start();
    let usage = |behaviour| {
        upstream.then(behaviour);
        chat(false).send(&upstream.url()).json()["usage"].clone()
    };
    assert_eq!(
        usage(Behaviour::answer(Answer::text("a").usage(Usage::negative())))["completion_tokens"],
        -7
    );
    let cached = usage(Behaviour::answer(
        Answer::text("a").usage(Usage::more_cached_than_prompt()),
    ));
    assert_eq!(
        (
            &cached["prompt_tokens"],
            &cached["prompt_tokens_details"]["cached_tokens"]
        ),
        (&json!(50), &json!(100))
    );
    assert_eq!(
        usage(Behaviour::answer(Answer::text("a").usage_raw(json!("odd")))),
        "odd"
    );
    assert_eq!(
        usage(Behaviour::answer(Answer::text("a").reporting(Reporting::Never))),
        Value::Null
    );
}

#[test]
fn recordings_are_replayed_byte_for_byte() {
    let Some(recordings) = testkit::recordings::Recordings::find() else {
        return;
    };
    let upstream = Upstream::start();
    for name in ["openai-chat", "anthropic-messages", "gemini", "openai-responses"] {
        for (at, recording) in recordings.load(name).iter().enumerate().filter(|(at, _)| at % 10 == 0) {
            upstream.then(recording.replay(Chunking::Size(1 + at * 37)));
            let response = chat(true).send(&upstream.url());
            assert_eq!(response.status(), recording.response.status);
            assert_eq!(response.end, End::Complete);
            assert_eq!(response.body, recording.response.body, "{name} {}", recording.id);
        }
    }
}

#[test]
fn many_clients_are_served_at_once_and_all_are_counted() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let completed: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Some(Connection::open(&url).unwrap());
                    let mut completed = 0;
                    for _ in 0..20 {
                        let (response, kept) = connection.take().unwrap().send(&chat(true)).unwrap();
                        completed += usize::from(response.is_complete());
                        connection = kept;
                    }
                    completed
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let counts = upstream.wait_for_rest();
    assert_eq!((completed, counts.completed, counts.connections), (640, 640, 32));
}

#[test]
fn a_black_hole_neither_takes_nor_refuses_connections() {
    let hole = Blackhole::open();
    let tried = std::net::TcpStream::connect_timeout(&hole.address(), A_WHILE);
    assert_eq!(tried.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}
