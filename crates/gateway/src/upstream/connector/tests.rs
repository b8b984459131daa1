//! The connector against a resolver that changes its mind, and real sockets.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::upstream::resolve::Resolving;

/// Gives the next of its answers at each look-up.
#[derive(Debug)]
struct Rebinding {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Rebinding {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers
            .iter()
            .map(|one| one.iter().map(|ip| ip.parse().unwrap()).collect())
            .collect();
        Arc::new(Self {
            answers,
            asked: AtomicUsize::new(0),
        })
    }
}

impl Resolve for Rebinding {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        let at = self.asked.fetch_add(1, Ordering::Relaxed).min(self.answers.len() - 1);
        let answer = self.answers[at].clone();
        Box::pin(async move { io::Result::Ok(answer) })
    }
}

fn connector(origin: Origin, proxy: Option<String>, resolver: Arc<Rebinding>, allow: &[&str]) -> Connector {
    let egress = Egress {
        origin,
        proxy,
        ca: None,
        connect_timeout: Duration::from_secs(5),
    };
    let rules = AddressRules {
        allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
    };
    Connector::new(egress, Arc::new(rules), resolver).unwrap()
}

async fn open(connector: &Connector, url: &str) -> Result<Stream, ConnectError> {
    connector.connect(&url.parse().unwrap()).await
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_name_that_rebinds_is_judged_at_each_connect() {
    let (_listener, port) = listener().await;
    // First a public-looking address that the list allows (and where our listener is), then loopback unlisted.
    let resolver = Rebinding::new(&[&["127.0.0.1"], &["127.0.0.2"], &["169.254.169.254"]]);
    let connector = connector(Origin::Remote, None, resolver, &["127.0.0.1/32"]);
    let url = format!("http://api.example:{port}/");
    assert!(open(&connector, &url).await.is_ok());
    assert!(matches!(
        open(&connector, &url).await,
        Err(ConnectError::Address(AddressError::Private(_)))
    ));
    assert!(matches!(
        open(&connector, &url).await,
        Err(ConnectError::Address(AddressError::Metadata(_)))
    ));
}

#[tokio::test]
async fn one_bad_address_among_good_ones_refuses_all() {
    let (_listener, port) = listener().await;
    let resolver = Rebinding::new(&[&["127.0.0.1", "10.0.0.1"]]);
    let connector = connector(Origin::Remote, None, resolver, &["127.0.0.1/32"]);
    let refused = open(&connector, &format!("http://api.example:{port}/")).await;
    assert!(matches!(refused, Err(ConnectError::Address(AddressError::Private(_)))));
}

#[tokio::test]
async fn the_operators_own_addresses_may_be_private() {
    let (_listener, port) = listener().await;
    let connector = connector(Origin::Operator, None, Rebinding::new(&[&["127.0.0.1"]]), &[]);
    assert!(open(&connector, &format!("http://127.0.0.1:{port}/")).await.is_ok());
    let metadata = open(&connector, "http://169.254.169.254/latest/meta-data").await;
    assert!(matches!(
        metadata,
        Err(ConnectError::Address(AddressError::Metadata(_)))
    ));
}

#[tokio::test]
async fn connections_have_nodelay_set() {
    let (_listener, port) = listener().await;
    let connector = connector(Origin::Operator, None, Rebinding::new(&[&["127.0.0.1"]]), &[]);
    let Stream::Plain(plain) = open(&connector, &format!("http://127.0.0.1:{port}/")).await.unwrap() else {
        panic!("plain")
    };
    assert!(plain.inner().nodelay().unwrap());
}

/// A proxy that answers one CONNECT and tells what was asked.
async fn connect_proxy() -> (u16, tokio::task::JoinHandle<String>) {
    let (listener, port) = listener().await;
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let mut read = 0;
        while !head[..read].windows(4).any(|end| end == b"\r\n\r\n") {
            read += socket.read(&mut head[read..]).await.unwrap();
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    (port, task)
}

#[tokio::test]
async fn an_http_proxy_gets_the_name_from_the_operator_and_the_address_from_others() {
    for (origin, asked) in [
        (Origin::Operator, "CONNECT api.example:8080"),
        (Origin::Remote, "CONNECT 1.2.3.4:8080"),
    ] {
        let (port, proxy) = connect_proxy().await;
        let address = format!("http://joe:secret@127.0.0.1:{port}");
        let connector = connector(origin, Some(address), Rebinding::new(&[&["1.2.3.4"]]), &["127.0.0.0/8"]);
        assert!(open(&connector, "http://api.example:8080/").await.is_ok());
        let head = proxy.await.unwrap();
        assert!(head.starts_with(asked), "{head}");
        assert!(
            head.to_ascii_lowercase()
                .contains("proxy-authorization: basic am9lonnly3jlda=="),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_socks_proxy_gets_the_checked_address_of_others_upstreams() {
    let (listener, port) = listener().await;
    let proxy = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = [0; 3];
        socket.read_exact(&mut hello).await.unwrap();
        socket.write_all(&[5, 0]).await.unwrap();
        let mut asked = [0; 10];
        socket.read_exact(&mut asked).await.unwrap();
        socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        asked
    });
    let address = format!("socks5://127.0.0.1:{port}");
    let resolver = Rebinding::new(&[&["1.2.3.4"], &["127.0.0.1"]]);
    let connector = connector(Origin::Remote, Some(address), resolver, &["127.0.0.0/8"]);
    assert!(open(&connector, "http://api.example:8080/").await.is_ok());
    // Version, connect, reserved, an IPv4 address, and the port: what was checked, not what the name says next.
    assert_eq!(proxy.await.unwrap(), [5, 1, 0, 1, 1, 2, 3, 4, 0x1f, 0x90]);
}

#[tokio::test]
async fn a_private_target_is_not_reached_through_a_proxy_either() {
    let connector = connector(
        Origin::Remote,
        Some("http://127.0.0.1:9".to_owned()),
        Rebinding::new(&[&["10.0.0.1"]]),
        &["127.0.0.0/8"],
    );
    let refused = open(&connector, "https://inside.example/").await;
    assert!(matches!(refused, Err(ConnectError::Address(AddressError::Private(_)))));
}

#[tokio::test]
async fn an_operators_address_of_metadata_is_not_reached_through_a_proxy_either() {
    for url in ["https://169.254.169.254/", "https://[::ffff:169.254.169.254]/"] {
        let proxy = Some("http://127.0.0.1:9".to_owned());
        let connector = connector(Origin::Operator, proxy, Rebinding::new(&[]), &[]);
        let refused = open(&connector, url).await;
        assert!(
            matches!(refused, Err(ConnectError::Address(AddressError::Metadata(_)))),
            "{url}"
        );
    }
}

#[test]
fn a_bad_proxy_address_is_named_without_its_login() {
    let error = Proxy::parse("ftp://joe:secret@host").unwrap_err().to_string();
    assert!(error.contains("ftp://…@host") && !error.contains("secret"), "{error}");
}
