//! The way out: an upstream's own proxy and its own authorities, and addresses that are nobody's business.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use blackbox::format::Format;
use blackbox::socks::{Asked, Socks};
use blackbox::tunnel::Proxy;
use blackbox::{CLIENT_KEY, config, receipt_of, wait};
use serde_json::json;
use testkit::client::Response;
use testkit::gateway::Tollgate;
use testkit::upstream::{Behaviour, Upstream};

fn call(gateway: &Tollgate) -> Response {
    Format::Chat.call("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url())
}

/// A call that must end without having reached anybody.
fn unreached(gateway: &Tollgate) -> Response {
    let response = call(gateway);
    let (status, text) = (response.status(), response.text());
    assert!(matches!(status, 502 | 503), "{status} {text}");
    response
}

/// The configuration with more fields on its OpenAI upstream.
fn with(upstream: &Upstream, fields: &str) -> String {
    let yaml = config(upstream, "").replace(
        "models: [\"gpt-*\", \"text-embedding-*\"],",
        &format!("models: [\"gpt-*\"], {fields},"),
    );
    format!("defaults: {{retries: 0}}\n{yaml}")
}

#[test]
fn an_upstream_is_reached_by_its_proxy() {
    let upstream = Upstream::start();
    let proxy = Proxy::start().unwrap();
    let gateway = Tollgate::start(&with(
        &upstream,
        &format!("proxy: \"http://fleet:s3cret@{}\"", proxy.address()),
    ));
    let response = call(&gateway);
    assert_eq!(response.status(), 200, "{}", response.text());
    let stream = Format::Chat.stream("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
    assert!(stream.text().trim_end().ends_with("data: [DONE]"), "{}", stream.text());
    let heads = proxy.heads();
    assert!(
        heads[0].starts_with(&format!("CONNECT {} ", upstream.address())),
        "{heads:?}"
    );
    // base64 of fleet:s3cret
    assert!(heads[0].contains("Basic ZmxlZXQ6czNjcmV0\r\n"), "{heads:?}");
    let received = upstream.received();
    assert!(
        received.iter().all(|call| call.header("proxy-authorization").is_none()),
        "the login is the proxy's alone"
    );
    // The others go straight.
    let direct = Format::Anthropic
        .call("claude-sonnet-4-5")
        .bearer(CLIENT_KEY)
        .send(&gateway.url());
    assert_eq!(direct.status(), 200, "{}", direct.text());
    assert_eq!(proxy.heads().len(), heads.len());
}

/// A name that the network must not know, so that only the proxy can.
const HIDDEN: &str = "models.inside.invalid";

/// The configuration with its OpenAI upstream at a name that only the proxy knows.
fn hidden(upstream: &Upstream, proxy: &str) -> String {
    let base = format!("http://{HIDDEN}:{}/v1", upstream.address().port());
    with(upstream, &format!("proxy: \"{proxy}\"")).replacen(&upstream.v1(), &base, 1)
}

#[test]
fn a_socks_proxy_resolves_the_names_of_the_operators_upstreams() {
    let upstream = Upstream::start();
    for login in [None, Some(("fleet", "s3cret"))] {
        let proxy = Socks::start(login).unwrap();
        let user = if login.is_some() { "fleet:s3cret@" } else { "" };
        let gateway = Tollgate::start(&hidden(&upstream, &format!("socks5://{user}{}", proxy.address())));
        let response = call(&gateway);
        assert_eq!(response.status(), 200, "{}", response.text());
        let stream = Format::Chat.stream("gpt-4o").bearer(CLIENT_KEY).send(&gateway.url());
        assert!(stream.text().trim_end().ends_with("data: [DONE]"), "{}", stream.text());
        let asked = Asked {
            login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
            host: HIDDEN.to_owned(),
            by_name: true,
            port: upstream.address().port(),
        };
        assert!(
            !proxy.asked().is_empty() && proxy.asked().iter().all(|each| *each == asked),
            "{:?}",
            proxy.asked()
        );
    }
    assert_eq!(upstream.received().len(), 4);
}

#[test]
fn a_socks_proxy_gets_an_address_as_an_address() {
    let upstream = Upstream::start();
    let proxy = Socks::start(None).unwrap();
    let gateway = Tollgate::start(&with(&upstream, &format!("proxy: \"socks5://{}\"", proxy.address())));
    assert_eq!(call(&gateway).status(), 200);
    let asked = &proxy.asked()[0];
    assert_eq!((asked.host.as_str(), asked.by_name), ("127.0.0.1", false));
}

#[test]
fn a_socks_proxy_that_refuses_is_no_reason_to_go_without() {
    let upstream = Upstream::start();
    let nobody = Upstream::start_refusing();
    let strict = Socks::start(Some(("fleet", "s3cret"))).unwrap();
    let open = Socks::start(None).unwrap();
    for (what, yaml) in [
        (
            "a login is missing",
            with(&upstream, &format!("proxy: \"socks5://{}\"", strict.address())),
        ),
        (
            "the login is wrong",
            with(
                &upstream,
                &format!("proxy: \"socks5://fleet:wr0ng@{}\"", strict.address()),
            ),
        ),
        (
            "the upstream is away",
            with(&nobody, &format!("proxy: \"socks5://{}\"", open.address())),
        ),
        (
            "nobody is there",
            with(&upstream, &format!("proxy: \"socks5://{}\"", nobody.address())),
        ),
    ] {
        let gateway = Tollgate::start(&yaml);
        let response = unreached(&gateway);
        assert!(
            !response.text().contains("wr0ng") && !gateway.stdout().contains("wr0ng"),
            "{what}"
        );
    }
    assert!(strict.asked().is_empty(), "nobody was let in");
    assert!(upstream.received().is_empty(), "the proxy was passed by");
}

#[test]
fn a_proxy_that_is_away_is_no_reason_to_go_without() {
    let upstream = Upstream::start();
    let nobody = Upstream::start_refusing();
    let gateway = Tollgate::start(&with(&upstream, &format!("proxy: \"http://{}\"", nobody.address())));
    unreached(&gateway);
    assert!(upstream.received().is_empty());
}

#[test]
fn a_redirect_is_not_followed() {
    let (upstream, elsewhere) = (Upstream::start(), Upstream::start());
    let gateway = Tollgate::start(&with(&upstream, "breaker: off"));
    for status in [301, 302, 307, 308] {
        upstream.always(Behaviour::raw(
            status,
            &[("location", &format!("{}/chat/completions", elsewhere.v1()))],
            "",
        ));
        let response = call(&gateway);
        assert_eq!(response.status(), 502, "{status}: {}", response.text());
        assert!(response.header("location").is_none());
    }
    assert!(elsewhere.received().is_empty(), "the redirect was followed");
}

#[test]
fn metadata_addresses_need_an_entry_even_for_the_operator() {
    let upstream = Upstream::start();
    let yaml = with(&upstream, "timeouts: {connect: 2s}");
    // Written like a name, so that it is known only when it is connected to.
    let yaml = yaml.replace(&upstream.v1(), "http://2852039166/v1");
    let gateway = Tollgate::start(&yaml.replace("defaults: {retries: 0}", "defaults: {retries: 3}"));
    let response = unreached(&gateway);
    // It would be barred again, so it is not tried again.
    let receipt = receipt_of(&gateway, &response);
    let attempts = receipt["attempts"].as_array().expect("attempts");
    assert_eq!(
        (attempts.len(), &attempts[0]["failure"]),
        (1, &json!("barred")),
        "{receipt}"
    );
    assert!(response.text().contains("tell the operator"), "{}", response.text());
    // The log names the mend.
    gateway.wait_for_output("allow_upstream_cidrs");
    assert!(gateway.stdout().contains("169.254.169.254"));
    assert!(
        !response.text().contains("169.254"),
        "inner addresses are not for callers: {}",
        response.text()
    );
}

#[test]
fn an_upstream_is_trusted_by_its_own_authorities() {
    let folder = tempfile::tempdir().unwrap();
    if !make_certificates(folder.path()) {
        wait::leave_out("a CA file per upstream: openssl is not installed");
        return;
    }
    let upstream = Upstream::start();
    let tls = Tls::start(folder.path(), &upstream);
    let base = format!("https://localhost:{}/v1", tls.port);
    let ca = folder.path().join("ca.pem");
    let trusted = with(&upstream, &format!("ca: {}", ca.display())).replacen(&upstream.v1(), &base, 1);
    let gateway = Tollgate::start(&trusted);
    let response = call(&gateway);
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(upstream.received().len(), 1);

    let untrusted = Tollgate::start(&with(&upstream, "weight: 1").replacen(&upstream.v1(), &base, 1));
    unreached(&untrusted);
    // The name must be the certificate's, too.
    let other_name = trusted.replacen("https://localhost:", "https://127.0.0.1:", 1);
    unreached(&Tollgate::start(&other_name));
    assert_eq!(
        upstream.received().len(),
        1,
        "a request went to somebody who could not prove who they are"
    );
}

/// An authority and a certificate of it for `localhost`; false where there is no openssl.
fn make_certificates(folder: &Path) -> bool {
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(folder)
            .stderr(Stdio::piped())
            .output();
        output.map(|output| {
            assert!(
                output.status.success(),
                "openssl {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        })
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        &["req", "-x509"][..],
        &key,
        &[
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
        ],
    ]
    .concat();
    if run(&authority).is_err() {
        return false;
    }
    let request = [
        &["req"][..],
        &key,
        &["-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost"],
    ]
    .concat();
    run(&request).expect("openssl is there");
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").expect("the folder can be written");
    run(&[
        "x509",
        "-req",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "cert.pem",
    ])
    .expect("openssl is there");
    true
}

/// TLS in front of the scripted upstream: Python ends it and passes the bytes on.
struct Tls {
    process: Child,
    port: u16,
}

const TERMINATOR: &str = "import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    finally:
        try:
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass
def serve(client):
    try:
        client = context.wrap_socket(client, server_side=True)
    except OSError:
        return
    upstream = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    threading.Thread(target=pump, args=(client, upstream), daemon=True).start()
    pump(upstream, client)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()";

impl Tls {
    fn start(folder: &Path, upstream: &Upstream) -> Self {
        let mut command = Command::new("python3");
        command
            .arg("-c")
            .arg(TERMINATOR)
            .arg(upstream.address().port().to_string())
            .current_dir(folder)
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 is there");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("python speaks");
        let port = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("a port, not {}", json!(line)));
        Self { process, port }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
