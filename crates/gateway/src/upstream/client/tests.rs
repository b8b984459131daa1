//! The pool against an upstream that counts its connections and ends them as it likes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::upstream::resolve::SystemResolver;

/// What the upstream does after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Waits for the next request.
    Stays,
    /// Closes the connection without having said so.
    Leaves,
    /// Does not end the answer.
    Hangs,
}

struct FakeUpstream {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    /// One message for each connection that has ended.
    ended: mpsc::Receiver<()>,
}

impl FakeUpstream {
    async fn start(after: After) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let opened = Arc::new(AtomicUsize::new(0));
        let (tell, ended) = mpsc::channel(16);
        let counter = Arc::clone(&opened);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let tell = tell.clone();
                tokio::spawn(async move {
                    answer_all(socket, after).await;
                    tell.send(()).await.ok();
                });
            }
        });
        Self { address, opened, ended }
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

/// Answers every request (they have no body) until the client or `after` ends it.
async fn answer_all(mut socket: TcpStream, after: After) {
    let mut seen = Vec::new();
    while let Ok(read @ 1..) = socket.read_buf(&mut seen).await {
        assert!(read > 0);
        if !seen.ends_with(b"\r\n\r\n") {
            continue;
        }
        seen.clear();
        let answer: &[u8] = match after {
            After::Hangs => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
            After::Stays | After::Leaves => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        };
        socket.write_all(answer).await.unwrap();
        if after == After::Leaves {
            return;
        }
    }
}

fn pool() -> Pool {
    let egress = Egress {
        origin: Origin::Operator,
        proxy: None,
        ca: None,
        connect_timeout: Duration::from_secs(5),
    };
    let connector = Connector::new(egress, Arc::default(), Arc::new(SystemResolver)).unwrap();
    Pool {
        connector,
        shelf: Shelf::new(),
    }
}

fn request(upstream: &FakeUpstream) -> Sent {
    let uri = format!("http://{}/v1/x?y", upstream.address);
    Request::get(uri).body(Full::new(Bytes::new())).unwrap()
}

async fn call(pool: &Pool, upstream: &FakeUpstream) -> Bytes {
    let answer = pool.send(request(upstream)).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn one_connection_serves_call_after_call() {
    let (pool, upstream) = (pool(), FakeUpstream::start(After::Stays).await);
    for _ in 0..3 {
        assert_eq!(call(&pool, &upstream).await, "hi");
    }
    assert_eq!(upstream.opened(), 1);
}

#[tokio::test]
async fn calls_at_the_same_time_have_connections_of_their_own() {
    let (pool, upstream) = (pool(), FakeUpstream::start(After::Stays).await);
    let (one, other) = tokio::join!(call(&pool, &upstream), call(&pool, &upstream));
    assert_eq!((one, other), (Bytes::from("hi"), Bytes::from("hi")));
    assert_eq!(upstream.opened(), 2);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_meanwhile_is_replaced() {
    let (pool, mut upstream) = (pool(), FakeUpstream::start(After::Leaves).await);
    for _ in 0..3 {
        assert_eq!(call(&pool, &upstream).await, "hi");
        upstream.ended.recv().await.unwrap();
    }
    assert_eq!(upstream.opened(), 3);
}

#[tokio::test]
async fn the_sweep_keeps_open_connections_and_drops_closed_ones() {
    let (pool, upstream) = (pool(), FakeUpstream::start(After::Stays).await);
    call(&pool, &upstream).await;
    assert_eq!(pool.shelf.swept(), 1);
    let mut leaving = FakeUpstream::start(After::Leaves).await;
    call(&pool, &leaving).await;
    leaving.ended.recv().await.unwrap();
    while pool.shelf.swept() > 1 {
        tokio::task::yield_now().await;
    }
    call(&pool, &upstream).await;
    assert_eq!(upstream.opened(), 1, "the open one is still there");
}

#[tokio::test]
async fn an_answer_dropped_half_way_closes_its_connection() {
    let (pool, mut upstream) = (pool(), FakeUpstream::start(After::Hangs).await);
    let mut body = pool.send(request(&upstream)).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "hi");
    drop(body);
    upstream.ended.recv().await.unwrap();
}

#[tokio::test]
async fn a_call_given_up_closes_its_connection() {
    let (pool, mut upstream) = (pool(), FakeUpstream::start(After::Hangs).await);
    let answer = pool.send(request(&upstream)).await.unwrap();
    drop(answer);
    upstream.ended.recv().await.unwrap();
}

#[test]
fn the_request_is_written_as_http_1_has_it() {
    for (uri, host, path) in [
        ("https://api.example:443/v1/x?y=1", "api.example", "/v1/x?y=1"),
        ("https://api.example:80", "api.example:80", "/"),
        ("http://[::1]:8080/v1", "[::1]:8080", "/v1"),
    ] {
        let target: Uri = uri.parse().unwrap();
        let mut request = Request::new(Full::new(Bytes::new()));
        let place = addressed(&mut request, &target).unwrap();
        assert_eq!(request.headers()[HOST], host);
        assert_eq!(*request.uri(), path);
        assert_eq!(place.1, *target.authority().unwrap());
    }
}
