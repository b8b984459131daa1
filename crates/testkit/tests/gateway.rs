//! The process harness, tried on a stand-in: a few lines of Python that behave like a server as far as the harness can
//! see. The real binary is not needed, and a mistake of the harness cannot hide behind one of the binary.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use testkit::client::Request;
use testkit::gateway::{Setup, Tollgate};

const STAND_IN: &str = r#"#!/usr/bin/env python3
import http.server, os, signal, sys
if sys.argv[1] == "balance":
    print('{"args": "%s", "in": "%s", "cwd": "%s"}' % (" ".join(sys.argv[1:]), sys.stdin.read(), os.getcwd())); sys.exit(0)
if sys.argv[1] == "fail":
    print("bad: line 3", file=sys.stderr); sys.exit(2)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = repr(sorted(os.environ)).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
def term(*a): print("stopping", flush=True); os._exit(0)
signal.signal(signal.SIGTERM, term)
signal.signal(signal.SIGHUP, lambda *a: print("reload", open("tollgate.yaml").read(), flush=True))
host, port = os.environ["TOLLGATE_SERVER__LISTEN"].rsplit(":", 1)
print("run", flush=True)
http.server.HTTPServer.address_family = 2
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"#;

/// The stand-in in a folder of its own, which must outlive the process.
fn stand_in() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tollgate");
    std::fs::write(&path, STAND_IN).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (dir, path)
}

fn start(path: &Path) -> Tollgate {
    Setup::config("a: 1").env("GIVEN", "x").binary(path).start()
}

#[test]
fn starts_in_a_clean_environment_and_answers() {
    let (_keep, path) = stand_in();
    let tollgate = start(&path);
    let environment = Request::get("/env").send(&tollgate.url()).text();
    assert!(environment.contains("'GIVEN'"), "{environment}");
    // Cargo sets CARGO_MANIFEST_DIR for every test: what our own environment holds must not get through.
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !environment.contains("CARGO"),
        "{environment}"
    );
    assert_eq!(std::fs::read_to_string(tollgate.path("tollgate.yaml")).unwrap(), "a: 1");
}

#[test]
fn kill_term_hup_and_restart() {
    let (_keep, path) = stand_in();
    let mut tollgate = start(&path);
    let (url, first) = (tollgate.url(), tollgate.pid());
    tollgate.kill9();
    assert!(!tollgate.is_running());
    assert_eq!(Request::get("/").send(&url).status(), 0);
    tollgate.restart();
    assert_eq!(Request::get("/").send(&url).status(), 200);
    assert_ne!(tollgate.pid(), first);
    assert_eq!(tollgate.stdout().matches("run").count(), 2);
    tollgate.write_config("b: 2");
    tollgate.sighup();
    tollgate.wait_for_output("reload b: 2");
    let exit = tollgate.stop();
    assert_eq!((exit.code(), exit.signal()), (Some(0), None));
    assert!(tollgate.stdout().contains("stopping"));
}

#[test]
fn commands_run_beside_it_in_its_folder() {
    let (_keep, path) = stand_in();
    let tollgate = start(&path);
    let shown = tollgate.cli_json(&["balance", "show"]);
    assert_eq!(
        (shown["args"].as_str(), shown["in"].as_str()),
        (Some("balance show"), Some(""))
    );
    let same = |path: &Path| path.canonicalize().unwrap();
    assert_eq!(same(Path::new(shown["cwd"].as_str().unwrap())), same(tollgate.dir()));
    let output = tollgate.cli_with_input(&["balance", "add"], "10.00");
    assert!(String::from_utf8_lossy(&output.stdout).contains("10.00"));
    assert_eq!(tollgate.cli(&["fail"]).status.code(), Some(2));
}

#[test]
fn a_start_that_fails_is_told_with_what_was_said() {
    let (_keep, path) = stand_in();
    let failure = Setup::config("a: 1")
        .command(&["fail"])
        .binary(&path)
        .try_start()
        .unwrap_err();
    assert_eq!(failure.exit.and_then(|exit| exit.code()), Some(2));
    assert!(failure.to_string().contains("bad: line 3"), "{failure}");
}

#[test]
fn the_process_ends_with_the_test() {
    let (_keep, path) = stand_in();
    let tollgate = start(&path);
    let (url, dir) = (tollgate.url(), tollgate.dir().to_owned());
    drop(tollgate);
    assert_eq!(Request::get("/").send(&url).status(), 0);
    assert!(!dir.exists());
}
