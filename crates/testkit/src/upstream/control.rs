//! The upstream's own endpoints, for tests that are not written in Rust.
//!
//! | request | does |
//! |---|---|
//! | `POST /__script` | replaces the script by the body's |
//! | `POST /__then` | queues the body's behaviour |
//! | `GET /__received` | counts and requests so far; `?calls=N` first waits until N calls have begun |
//! | `DELETE /__received` | hands the requests over and forgets them |

use std::sync::Arc;
use std::time::Duration;

use super::behaviour::Behaviour;
use super::conn::{Conn, Gone};
use super::json::{self, object};
use super::request::Request;
use super::script::Script;
use super::shared::Shared;

/// Whether these endpoints are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Off,
    On,
}

/// How long `?calls=N` waits at most, looking this often: it shares the upstream's one thread and must not block it.
const WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(crate) async fn answer(shared: &Arc<Shared>, conn: &mut Conn, request: &Request) -> Result<(), Gone> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let (status, body) = match (request.method.as_str(), path) {
        ("POST", "/__script") => changed(request, |new: Script| shared.script(|script| *script = new)),
        ("POST", "/__then") => changed(request, |next: Behaviour| {
            shared.script(|script| script.queue.push_back(Arc::new(next)));
        }),
        ("GET", "/__received") => {
            if let Some(calls) = query.strip_prefix("calls=").and_then(|n| n.parse().ok()) {
                wait_for_calls(shared, calls).await;
            }
            let counts = shared.log(|log| log.counts);
            let calls = shared.log(|log| json::text(&log.calls));
            (
                "200 OK",
                format!(r#"{{"counts":{},"calls":{calls}}}"#, json::text(&counts)),
            )
        }
        ("DELETE", "/__received") => {
            let calls = shared.log(|log| std::mem::take(&mut log.calls));
            ("200 OK", json::text(&calls))
        }
        _ => (
            "404 Not Found",
            object! { "error": "no such control endpoint" }.get().to_owned(),
        ),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    conn.write(format!("{head}{body}").as_bytes()).await
}

fn changed<T: serde::de::DeserializeOwned>(request: &Request, change: impl FnOnce(T)) -> (&'static str, String) {
    match serde_json::from_slice(&request.body) {
        Ok(value) => {
            change(value);
            ("200 OK", "{}".to_owned())
        }
        Err(error) => (
            "400 Bad Request",
            object! { "error": error.to_string() }.get().to_owned(),
        ),
    }
}

async fn wait_for_calls(shared: &Arc<Shared>, calls: u64) {
    let deadline = tokio::time::Instant::now() + WAIT_MAX;
    while shared.log(|log| log.counts.started) < calls && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
