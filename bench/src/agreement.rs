//! Upstream, floor and driver together, over real sockets: what is right passes, and every fault that the upstream
//! can show is seen by the driver. A driver that accepts everything would make every figure worthless.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use crate::control;
use crate::driver::{Arrivals, Load, Summary, drive};
use crate::floor::{Floor, listen};
use crate::upstream::Upstream;
use crate::wire::{Dialect, Shape, Size};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const DIALECTS: [Dialect; 2] = [Dialect::OpenaiChat, Dialect::AnthropicMessages];
const STREAM: Shape = Shape::Stream { chunks: 10 };

/// Runs a server on a thread of its own, for the rest of the test process.
fn serve<S, F>(start: impl FnOnce() -> S + Send + 'static) -> SocketAddr
where
    S: Future<Output = (SocketAddr, F)>,
    F: Future<Output = std::io::Result<()>>,
{
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (address, serving) = start().await;
            tell.send(address).unwrap();
            serving.await.unwrap();
        });
    });
    told.recv().unwrap()
}

fn upstream(query: &str) -> SocketAddr {
    let address = serve(|| async {
        let upstream = Upstream::bind(ANY_PORT).unwrap();
        (upstream.address().unwrap(), upstream.serve())
    });
    control::get(address, &format!("/__config?chunks=10&{query}"), "").unwrap();
    address
}

fn floor_before(upstream: SocketAddr) -> SocketAddr {
    serve(move || async move {
        let listener = listen(ANY_PORT).unwrap();
        let floor = Floor::new(upstream.to_string().parse().unwrap());
        (listener.local_addr().unwrap(), floor.serve(listener))
    })
}

fn load(address: SocketAddr, dialect: Dialect, size: Size, shape: Shape) -> Load {
    Load {
        address,
        request: dialect.http_request("bench", "key", size, shape),
        expected: dialect.expected(shape),
        arrivals: Arrivals::Open {
            rate: 1_000.0,
            count: 20,
            connections_max: 4,
        },
    }
}

fn run(load: &Load) -> Summary {
    drive(load, &mut |_| {}).unwrap().summarise()
}

#[test]
fn right_answers_pass_directly_and_through_the_floor() {
    let upstream = upstream("fault=none");
    for address in [upstream, floor_before(upstream)] {
        for dialect in DIALECTS {
            for (size, shape) in [
                (Size::Small, Shape::Plain),
                (Size::Large, Shape::Plain),
                (Size::Small, STREAM),
            ] {
                let got = run(&load(address, dialect, size, shape));
                assert_eq!(
                    (got.answered, got.errors),
                    (20, 0),
                    "{dialect:?} {shape:?}: {:?}",
                    got.error_kinds
                );
                assert_eq!(got.chunks, 20 * u64::from(shape.chunks()));
                assert!(got.latency_us.p50 > 0.0 && got.latency_us.max < 5e6);
            }
        }
    }
}

#[test]
fn a_closed_loop_keeps_its_connections_busy_until_time_is_up() {
    let arrivals = Arrivals::Closed {
        connections: 8,
        duration: Duration::from_millis(200),
    };
    let got = run(&Load {
        arrivals,
        ..load(upstream("fault=none"), Dialect::OpenaiChat, Size::Small, Shape::Plain)
    });
    assert!(got.answered > 100 && got.errors == 0, "{got:?}");
    assert!(got.seconds >= 0.2 && got.seconds < 5.0, "{got:?}");
}

#[test]
fn every_fault_is_seen_and_named() {
    let cases = [
        ("status", Shape::Plain, "status 503"),
        ("status", STREAM, "status 503"),
        ("usage", Shape::Plain, "wrong token counts"),
        ("usage", STREAM, "wrong token counts"),
        ("content", Shape::Plain, "wrong content"),
        ("content", STREAM, "wrong content"),
        ("lost-chunk", STREAM, "9 of 10 chunks"),
        ("no-end", STREAM, "no end marker"),
        ("cut", Shape::Plain, "cut"),
        ("cut", STREAM, "cut"),
    ];
    let upstream = upstream("fault=none");
    let floor = floor_before(upstream);
    for (fault, shape, name) in cases {
        control::get(upstream, &format!("/__config?fault={fault}"), "").unwrap();
        for (address, dialect) in DIALECTS
            .into_iter()
            .flat_map(|dialect| [(upstream, dialect), (floor, dialect)])
        {
            let got = run(&load(address, dialect, Size::Small, shape));
            assert_eq!(got.answered, 0, "{fault} {shape:?} {dialect:?}");
            assert_eq!(
                got.error_kinds.get(name),
                Some(&20),
                "{fault} {shape:?} {dialect:?}: {:?}",
                got.error_kinds
            );
        }
    }
}

#[test]
fn nothing_listening_is_an_error_per_request_and_no_endless_loop() {
    let gone = std::net::TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
    let got = run(&load(gone, Dialect::OpenaiChat, Size::Small, Shape::Plain));
    assert_eq!((got.answered, got.errors), (0, 20), "{:?}", got.error_kinds);
    let arrivals = Arrivals::Closed {
        connections: 2,
        duration: Duration::from_millis(150),
    };
    let got = run(&Load {
        arrivals,
        ..load(gone, Dialect::OpenaiChat, Size::Small, Shape::Plain)
    });
    assert!(got.errors >= 2 && got.errors <= 12, "{:?}", got.error_kinds);
}

#[test]
fn latency_runs_from_when_a_request_was_due() {
    // One connection, streams of 10 × 10 ms, all due at once: the last one waits for all those before it.
    let arrivals = Arrivals::Open {
        rate: 1e6,
        count: 5,
        connections_max: 1,
    };
    let got = run(&Load {
        arrivals,
        ..load(upstream("pause_us=10000"), Dialect::OpenaiChat, Size::Small, STREAM)
    });
    assert_eq!((got.answered, got.errors), (5, 0), "{:?}", got.error_kinds);
    assert!(got.latency_us.max >= 490_000.0, "{:?}", got.latency_us);
    assert!(got.gap_us.p50 >= 5_000.0, "{:?}", got.gap_us);
}

#[test]
fn all_streams_of_a_held_load_are_open_at_once() {
    let arrivals = Arrivals::Open {
        rate: 10_000.0,
        count: 50,
        connections_max: 50,
    };
    let load = Load {
        arrivals,
        ..load(upstream("pause_us=50000"), Dialect::OpenaiChat, Size::Small, STREAM)
    };
    let mut most = 0;
    let got = drive(&load, &mut |progress| most = most.max(progress.arriving))
        .unwrap()
        .summarise();
    assert_eq!((got.answered, most), (50, 50), "{:?}", got.error_kinds);
}

#[test]
fn the_floor_passes_every_byte_of_a_request() {
    let floor = floor_before(upstream("fault=none"));
    let body: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let head = format!(
        "POST /__echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let reply = control::exchange(floor, &[head.as_bytes(), &body].concat(), Duration::from_secs(5)).unwrap();
    assert_eq!(reply.status, 200);
    assert!(
        reply.body == body,
        "{} bytes came back of {}",
        reply.body.len(),
        body.len()
    );
}

#[test]
fn an_unknown_setting_of_the_upstream_is_refused() {
    let upstream = upstream("fault=none");
    for query in ["fault=slow", "chunks=1001", "chunk=1", ""] {
        assert!(
            control::get(upstream, &format!("/__config?{query}"), "").is_err(),
            "{query}"
        );
    }
}
