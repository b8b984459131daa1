//! `scripted-upstream` as a program: scripted and questioned over HTTP, and gone with the test that started it.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use testkit::client::Request;

fn start() -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scripted-upstream"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut url)
        .unwrap();
    (child, url.trim().to_owned())
}

#[test]
fn takes_a_script_and_tells_what_it_received() {
    let (mut child, url) = start();
    let script = json!({
        "queue": [{"reply": {"refusal": {"status": 429, "headers": [["retry-after", "1"]]}}}],
        "default": {"reply": {"answer": {"pieces": ["from the script"]}}}
    });
    assert_eq!(Request::post("/__script", &script).send(&url).status(), 200);
    let wrong = Request::post("/__then", &json!({"no such": 1})).send(&url);
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().contains("unknown field"), "{}", wrong.text());
    assert_eq!(
        Request::post("/__then", &json!({"cut": {"at": {"events": 1}, "how": "end"}}))
            .send(&url)
            .status(),
        200
    );

    let chat = Request::post("/v1/chat/completions", &json!({"model": "m"})).bearer("k");
    assert_eq!(chat.send(&url).header("retry-after"), Some("1"));
    assert_eq!(chat.send(&url).status(), 200);
    assert_eq!(
        chat.send(&url).json()["choices"][0]["message"]["content"],
        "from the script"
    );

    let received = Request::get("/__received?calls=3").send(&url).json();
    assert_eq!(
        (&received["counts"]["started"], &received["calls"][2]["credential"]),
        (&json!(3), &json!("k"))
    );
    assert_eq!(received["calls"][0]["body"]["text"], r#"{"model":"m"}"#);
    assert_eq!(
        Request::new("DELETE", "/__received")
            .send(&url)
            .json()
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(Request::get("/__received").send(&url).json()["calls"], json!([]));

    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "it ends when its stdin closes");
}
