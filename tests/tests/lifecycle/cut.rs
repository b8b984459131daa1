//! The end of a stop: who is not done by then is told so and pays nothing, and who has not asked holds nobody up.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use blackbox::books::balance;
use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, audit, config, receipts, wait};
use testkit::client::Exchange;
use testkit::gateway::{Setup, Tollgate};
use testkit::upstream::{Answer, At, Behaviour, Gate, Match, Upstream, Usage};

const OPENING: i64 = 100_000_000_000;
const OPEN_KEY: &str = "sk-tg-blackbox-open-0123456789abcdef";
const ADMIN_TOKEN: &str = "admin-token-blackbox-0123456789";

fn start(upstream: &Upstream) -> Tollgate {
    let open = format!("keys:\n  - {{name: open, user: alice, key: \"{OPEN_KEY}\", passthrough: true}}\n");
    let more = format!("defaults: {{heartbeat: 1s}}\nsecurity: {{admin_token: {ADMIN_TOKEN}}}\n");
    let yaml = config(upstream, &more)
        .replace(
            "- {name: alice}",
            "- {name: alice, opening_credit: 100.00, policy: hard}",
        )
        .replace("keys:\n", &open);
    Setup::config(&yaml).start()
}

#[test]
fn what_is_cut_off_at_the_limit_is_told_so_and_pays_nothing() {
    let (upstream, gate) = (Upstream::start(), Gate::closed());
    let mut gateway = start(&upstream);
    let answer = || Behaviour::answer(Answer::text("one two three").usage(Usage::of(50, 3)));
    upstream.always(answer().hold(At::Finish, &gate));
    let open = |request: testkit::client::Request| {
        let request = request.bearer(CLIENT_KEY).timeout(Duration::from_secs(90));
        request.open(&gateway.url()).expect("connected")
    };
    let mut streams: Vec<(Format, Exchange)> = Vec::new();
    for format in FORMATS {
        let mut exchange = open(format.stream(format.model()));
        assert!(exchange.read_until("one"), "{format:?}");
        streams.push((format, exchange));
    }
    upstream.always(answer().hold_head(&gate));
    // Status 200 and heartbeats, and still no answer.
    for format in FORMATS {
        let mut exchange = open(format.stream(format.model()));
        assert!(exchange.next_chunk().is_some(), "{format:?}: a sign of life");
        streams.push((format, exchange));
    }
    // An answer that its client leaves unread: nothing can be told on that connection.
    upstream.rule(Match::model("gpt-4o-mini"), Behaviour::text(&"word ".repeat(100_000)));
    let unread = open(Format::Chat.stream("gpt-4o-mini"));
    let whole: Vec<_> = FORMATS.map(|format| (format, open(format.call(format.model())))).into();
    upstream.wait_for_calls(13);

    gateway.sigterm();
    // Half a minute is what everything under way is given.
    wait::within(Duration::from_secs(90), "the stop", || !gateway.is_running());
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
    for (format, stream) in streams {
        let response = stream.finish();
        let text = response.text();
        assert!(response.is_complete(), "{format:?}: {:?}: {text}", response.end);
        assert!(
            format.ends_in_error(&text) && !format.looks_complete(&text),
            "{format:?}: {text}"
        );
        assert!(text.contains("being stopped"), "{format:?}: {text}");
    }
    for (format, call) in whole {
        format.assert_refusal(&call.finish(), 503);
    }
    drop(unread);
    let receipts = receipts(&gateway);
    assert_eq!(receipts.len(), 13);
    let count = |ending| receipts.values().filter(|receipt| receipt["ending"] == ending).count();
    assert_eq!((count("limit"), count("failed")), (5, 8), "{receipts:?}");
    assert_eq!(balance(&gateway, "alice"), OPENING, "{receipts:?}");
    assert_eq!(audit(&gateway)["receipts"], 13, "all is booked");
}

#[test]
fn half_a_request_holds_no_stop_up() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    let connect = || {
        let socket = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
        let reader = BufReader::new(socket.try_clone().unwrap());
        (socket, reader)
    };
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    // Half a head: on a new connection, and on one that was used.
    let (mut fresh, _) = connect();
    fresh.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nho").unwrap();
    let (mut used, mut answers) = connect();
    used.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nPOST /v1/chat")
        .unwrap();
    assert!(line(&mut answers).contains("200"));
    // Half a body, of a call and of whatever else has one.
    let begin = |path: &str, key: &str| {
        let (mut begun, mut told) = connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: 1000\r\n\r\n"
        );
        begun.write_all(head.as_bytes()).unwrap();
        assert!(line(&mut told).contains("100 Continue"), "{path}");
        begun.write_all(b"{\"model\":").unwrap();
        (begun, told)
    };
    let (_call, mut told) = begin("/v1/messages", CLIENT_KEY);
    let rest = [
        begin("/v1/files", OPEN_KEY),
        begin("/upload/v1beta/files", OPEN_KEY),
        begin("/api/admin/accounts/begin", ADMIN_TOKEN),
    ];

    gateway.sigterm();
    let signalled = Instant::now();
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
    let took = signalled.elapsed();
    assert!(took < Duration::from_secs(15), "held up for {took:?}");
    line(&mut told);
    let status = line(&mut told);
    assert!(status.contains("503"), "{status}");
    let said: Vec<String> = told.lines().map_while(Result::ok).collect();
    assert!(said.last().unwrap().starts_with("{\"type\":\"error\""), "{said:?}");
    for (_, mut told) in rest {
        line(&mut told);
        let status = line(&mut told);
        assert!(status.contains("503") || status.contains("400"), "{status}");
    }
    assert!(receipts(&gateway).is_empty());
}

#[test]
fn a_body_that_goes_on_arriving_is_waited_for() {
    const PIECES: usize = 40;
    let upstream = Upstream::start();
    let file = r#"{"id":"file-1"}"#;
    upstream.rule(
        Match::path("/files"),
        Behaviour::raw(200, &[("content-type", "application/json")], file),
    );
    let mut gateway = start(&upstream);
    let open = |path: &str, first: &str| {
        let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {OPEN_KEY}\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            first.len() + PIECES
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut told = BufReader::new(socket.try_clone().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert!(line.contains("100 Continue"), "{path}");
        socket.write_all(first.as_bytes()).unwrap();
        (socket, told)
    };
    let call = Format::Chat.body("gpt-4o").to_string();
    let mut sending = [open("/v1/files", "{}"), open("/v1/chat/completions", &call)];
    gateway.sigterm();
    gateway.wait_for_output("stopping");
    // Longer than whoever sends nothing is waited for.
    for _ in 0..PIECES {
        for (socket, _) in &mut sending {
            socket.write_all(b" ").unwrap();
        }
        wait::lasts(Duration::from_millis(75));
    }
    for (_, told) in sending {
        let said: Vec<String> = told.lines().map_while(Result::ok).collect();
        assert!(said.iter().any(|line| line.starts_with("HTTP/1.1 200")), "{said:?}");
    }
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
}

#[test]
fn an_answer_that_is_read_slowly_is_given_whole() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    // More than the sockets' buffers hold.
    let text = "word ".repeat(4_000_000);
    upstream.always(Behaviour::text(&text));
    let request = Format::Chat.call("gpt-4o").bearer(CLIENT_KEY);
    let mut exchange = request.timeout(Duration::from_secs(90)).open(&gateway.url()).unwrap();
    assert_eq!(exchange.head().expect("a head").status, 200);
    gateway.sigterm();
    // Longer than half a request may hold the stop up.
    wait::lasts(Duration::from_secs(3));
    let response = exchange.finish();
    assert!(response.is_complete(), "{:?}", response.end);
    assert!(response.body.len() > text.len());
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
}
