//! Packets: nothing waits for an acknowledgement that it does not need, and nothing comes in two pieces that could come
//! in one.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use blackbox::format::{FORMATS, Format};
use blackbox::{CLIENT_KEY, UPSTREAM_KEY, config, wait};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use testkit::gateway::Tollgate;
use testkit::upstream::{At, Behaviour, Chunking, Gate, Upstream};

#[test]
fn head_and_first_bytes_reach_the_client_in_one_read() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    for format in FORMATS {
        // What precedes the first content comes with it; the end is held back, so that the answer cannot come at once.
        let gate = Gate::closed();
        let behaviour = Behaviour::text("one two three").chunked(Chunking::Whole);
        upstream.then(behaviour.hold(At::Terminator, &gate));
        let mut exchange = format
            .stream(format.model())
            .bearer(CLIENT_KEY)
            .open(&gateway.url())
            .unwrap();
        assert!(exchange.read_until("one"), "{format:?}");
        assert_eq!(
            exchange.reads().len(),
            1,
            "{format:?}: head and first bytes came apart: {:?}",
            exchange.reads()
        );
        gate.open();
        assert!(exchange.finish().is_complete());
        let whole = format.call(format.model()).bearer(CLIENT_KEY).send(&gateway.url());
        assert_eq!(
            whole.reads.len(),
            1,
            "{format:?}: a small answer came in pieces: {:?}",
            whole.reads
        );
        let refused = format.call("no-such-model").bearer(CLIENT_KEY).send(&gateway.url());
        assert_eq!(
            refused.reads.len(),
            1,
            "{format:?}: a refusal came in pieces: {:?}",
            refused.reads
        );
    }
}

#[test]
fn head_and_body_reach_the_upstream_in_one_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::start();
    let yaml = config(&upstream, "").replace(&upstream.v1(), &format!("http://{}/v1", listener.local_addr().unwrap()));
    let gateway = Tollgate::start(&yaml);
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let pieces: Vec<String> = (0..3).map(|_| answer_one(&mut connection)).collect();
        pieces
    });
    for _ in 0..3 {
        let response = Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
        assert_eq!(response.status(), 200, "{}", response.text());
    }
    for piece in server.join().unwrap() {
        let (head, body) = piece
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("the first read holds no whole head: {piece}"));
        assert!(head.contains(UPSTREAM_KEY), "{head}");
        assert_eq!(
            body,
            Format::Chat.body("gpt-4o").to_string(),
            "the body did not come along"
        );
    }
}

/// Reads once, answers, and gives what the first read brought.
fn answer_one(connection: &mut TcpStream) -> String {
    const ANSWER: &str = "{\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"hi\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}";
    connection.set_read_timeout(Some(wait::PATIENCE)).expect("a socket");
    let mut piece = vec![0; 64 * 1024];
    let length = connection.read(&mut piece).expect("a request");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        ANSWER.len()
    );
    connection
        .write_all(format!("{head}{ANSWER}").as_bytes())
        .expect("the gateway reads");
    String::from_utf8_lossy(&piece[..length]).into_owned()
}

#[test]
fn every_event_leaves_at_once() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    upstream.always(Behaviour::text("one two three four five six seven eight").paced(Duration::from_millis(30)));
    let response = Format::Chat.stream("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    // Eight words with pauses between them: a gateway that waits for more would send fewer, larger pieces.
    assert!(response.reads.len() >= 8, "{:?}", response.reads);
}

/// Asks the process's own sockets, so that no timing is involved.
#[test]
fn small_packets_are_not_held_back_on_either_side() {
    let upstream = Upstream::start();
    let gateway = Tollgate::start(&config(&upstream, ""));
    let gate = Gate::closed();
    upstream.always(Behaviour::text("one two three").hold(At::Events(3), &gate));
    let mut exchange = Format::Chat
        .stream("gpt-4o")
        .bearer(CLIENT_KEY)
        .open(&gateway.url())
        .unwrap();
    assert!(exchange.read_until("one"));
    let pid = Pid::from_raw(gateway.pid() as i32).unwrap();
    let sides = [
        ("the client's", gateway.port(), true),
        ("the upstream's", upstream.address().port(), false),
    ];
    for (side, port, local) in sides {
        let sockets = sockets(&gateway, port, local);
        assert!(!sockets.is_empty(), "no socket on {side} side");
        for number in sockets {
            let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
            let Ok(socket) = rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
                wait::leave_out("TCP_NODELAY: this machine does not let a process look at its child's sockets");
                return;
            };
            assert!(
                rustix::net::sockopt::tcp_nodelay(&socket).unwrap(),
                "TCP_NODELAY is off on {side} side"
            );
        }
    }
    gate.open();
    assert!(exchange.finish().is_complete());
}

/// The process's connected sockets whose local (or remote) port is this one.
fn sockets(gateway: &Tollgate, port: u16, local: bool) -> Vec<i32> {
    const CONNECTED: &str = "01";
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", gateway.pid())).expect("the table of connections");
    let inodes: Vec<String> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let address = fields.get(if local { 1 } else { 2 })?;
            let its_port = u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()?;
            (its_port == port && fields.get(3) == Some(&CONNECTED)).then(|| format!("socket:[{}]", fields[9]))
        })
        .collect();
    let folder = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("our own child's descriptors");
    folder
        .flatten()
        .filter(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
