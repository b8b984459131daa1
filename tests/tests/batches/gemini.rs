//! Gemini's batches, of answers and of embeddings, whose requests are in the body or in a file that cannot be read again.

use blackbox::{audit, books};
use serde_json::{Value, json};
use testkit::client::{Request, Response};

use super::{HARD_KEY, JSON, LINES, OPENING, SOFT_KEY, World, joined};

const MODEL: &str = "gemini-2.5-flash";
const EMBEDDER: &str = "gemini-embedding-001";
/// Nano-dollars of a token in a batch: half of 0.30, 2.50 and 0.15 dollars a million.
const INPUT: i64 = 150;
const OUTPUT: i64 = 1_250;
const EMBEDDED: i64 = 75;
/// The dearest that a token of input may be, which a hold assumes.
const HEARD: i64 = 500;

impl World {
    fn make(&self, method: &str, key: &str, input: &Value) -> Response {
        let body = json!({"batch": {"displayName": "b", "inputConfig": input}});
        Request::post(&format!("/v1beta/models/{method}"), &body)
            .bearer(key)
            .send(&self.gateway.url())
    }

    /// What the upstream says of the batch from now on.
    fn gemini(&self, model: &str, state: &str, output: &Value) {
        let metadata =
            json!({"model": format!("models/{model}"), "state": format!("BATCH_STATE_{state}"), "output": output});
        let batch = json!({"name": "batches/b1", "metadata": metadata}).to_string();
        self.rule(":batchGenerateContent", &JSON, batch.clone());
        self.rule(":asyncBatchEmbedContent", &JSON, batch.clone());
        self.rule(":asyncBatchEmbed%43ontent", &JSON, batch.clone());
        self.rule("/batches/b1", &JSON, batch);
    }

    /// What the upstream says of the file of requests from now on.
    fn file(&self, bytes: usize, made: &str) -> Value {
        let file = json!({"name": "files/in", "sizeBytes": bytes.to_string(), "createTime": made, "state": "ACTIVE"});
        self.rule("/files/in", &JSON, file.to_string());
        file
    }

    /// Uploads it in one piece.
    fn upload(&self, content: &str, made: &str) {
        let uploaded = json!({"file": self.file(content.len(), made)});
        self.rule("/upload/v1beta/files", &JSON, uploaded.to_string());
        let request = Request::new("POST", "/upload/v1beta/files")
            .header("x-goog-upload-protocol", "raw")
            .header("content-type", "application/jsonl")
            .body(content)
            .bearer(HARD_KEY);
        assert_eq!(request.send(&self.gateway.url()).status(), 200);
    }
}

fn asked(text: &str, most: u64) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": most}})
}

fn answered(tokens: u64) -> Value {
    let usage = json!({"promptTokenCount": 1_000, "candidatesTokenCount": tokens, "totalTokenCount": 1_000 + tokens});
    json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "a"}]}, "finishReason": "STOP"}],
        "usageMetadata": usage, "modelVersion": MODEL})
}

fn embedded(tokens: &str) -> Value {
    json!({"embedding": {"values": [0.25, 0.5]}, "tokenCount": tokens})
}

#[test]
fn answers_are_billed_from_the_batch_itself() {
    let world = World::new();
    world.gemini(MODEL, "PENDING", &json!({}));
    let request = asked(&"x".repeat(8_000), 1_000);
    let requests =
        json!([{"request": request, "metadata": {"key": "a"}}, {"request": request, "metadata": {"key": "b"}}]);
    let input = json!({"requests": {"requests": requests}});
    assert_eq!(
        world
            .make(&format!("{MODEL}:batchGenerateContent"), HARD_KEY, &input)
            .status(),
        200
    );
    assert!(world.held() > 0);
    let answers = json!([{"response": answered(100), "metadata": {"key": "a"}}, {"error": {"code": 3}, "metadata": {"key": "b"}}]);
    let output = json!({"inlinedResponses": {"inlinedResponses": answers}});
    world.gemini(MODEL, "SUCCEEDED", &output);
    assert_eq!(world.billed(1), [1_000 * INPUT + 100 * OUTPUT]);
    audit(&world.gateway);
}

#[test]
fn embeddings_are_held_for_and_billed_at_the_price_of_batches() {
    let world = World::new();
    world.gemini(EMBEDDER, "PENDING", &json!({}));
    let request = |text: &str| json!({"request": {"content": {"parts": [{"text": text.repeat(1_000)}]}, "taskType": "CLUSTERING"}});
    let input = json!({"requests": {"requests": [request("ab"), request("cd")]}});
    // However the method is written.
    let made = world.make(&format!("{EMBEDDER}:asyncBatchEmbed%43ontent"), HARD_KEY, &input);
    assert_eq!(made.status(), 200, "{}", made.text());
    let held = world.held();
    assert!((2 * 2_000 * EMBEDDED..2 * 2_100 * EMBEDDED).contains(&held), "{held}");
    let answers = json!([{"response": embedded("700"), "metadata": {"key": "a"}}, {"response": embedded("300")}]);
    let output = json!({"inlinedEmbedContentResponses": {"inlinedResponses": answers}});
    world.gemini(EMBEDDER, "SUCCEEDED", &output);
    assert_eq!(world.billed(2), [300 * EMBEDDED, 700 * EMBEDDED]);
    assert_eq!(world.held(), 0);
    books::settled(&world.gateway);
    assert_eq!(books::balance(&world.gateway, "hard"), OPENING - 1_000 * EMBEDDED);
    audit(&world.gateway);
}

#[test]
fn embeddings_of_a_file_are_held_for_by_its_size() {
    let world = World::new();
    world.gemini(EMBEDDER, "PENDING", &json!({}));
    let make = |key| {
        world.make(
            &format!("{EMBEDDER}:asyncBatchEmbedContent"),
            key,
            &json!({"file_name": "files/in"}),
        )
    };
    assert_eq!(make(HARD_KEY).status(), 400, "the upstream knows no such file");
    world.file(20_000_000_000, "long ago");
    assert_eq!(make(HARD_KEY).status(), 402, "it may cost 1,500 dollars");
    world.file(1_000_000, "long ago");
    assert_eq!(make(HARD_KEY).status(), 200);
    let held = world.held();
    assert!((1_000_000 * EMBEDDED..1_001_000 * EMBEDDED).contains(&held), "{held}");
    let lines = [
        json!({"key": "a", "response": embedded("1200")}),
        json!({"key": "b", "error": {"code": 3}}),
    ];
    world.rule("/files/out:download", &LINES, joined(lines.into_iter()));
    world.gemini(EMBEDDER, "SUCCEEDED", &json!({"responsesFile": "files/out"}));
    assert_eq!(world.billed(1), [1_200 * EMBEDDED]);
    audit(&world.gateway);
}

#[test]
fn embeddings_of_a_batch_outlive_a_crash() {
    let mut world = World::new();
    world.gemini(EMBEDDER, "PENDING", &json!({}));
    let input = json!({"fileName": "files/in"});
    let made = world.make(&format!("{EMBEDDER}:asyncBatchEmbedContent"), SOFT_KEY, &input);
    assert_eq!(made.status(), 200);
    world.gateway.restart();
    world.rule(
        "/files/out:download",
        &LINES,
        joined([json!({"key": "a", "response": embedded("5")})].into_iter()),
    );
    let metadata = json!({"state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": "files/out"}});
    // Without a word on the model: it is the one that was asked for.
    world.rule(
        "/batches/b1",
        &JSON,
        json!({"name": "batches/b1", "metadata": metadata}).to_string(),
    );
    assert_eq!(world.billed(1), [5 * EMBEDDED]);
}

#[test]
fn answers_to_a_file_are_held_for_by_what_was_seen_when_it_was_uploaded() {
    let world = World::new();
    world.gemini(MODEL, "PENDING", &json!({}));
    let make = || {
        world.make(
            &format!("{MODEL}:batchGenerateContent"),
            HARD_KEY,
            &json!({"fileName": "files/in"}),
        )
    };
    world.file(1_000, "long ago");
    let refused = make();
    assert_eq!(refused.status(), 400);
    assert!(
        refused.text().contains("Upload it again in one request"),
        "{}",
        refused.text()
    );
    let line = json!({"key": "a", "request": asked(&"x".repeat(1_000), 100)});
    world.upload(&joined((0..50).map(|_| line.clone())), "today");
    assert_eq!(make().status(), 200);
    let (held, least) = (world.held(), 50 * (1_000 * HEARD + 100 * OUTPUT));
    assert!((least..least * 5 / 4).contains(&held), "{held} for {least}");
    let lines = (0..50).map(|at| json!({"key": format!("k{at}"), "response": answered(100)}));
    world.rule("/files/out:download", &LINES, joined(lines));
    world.gemini(MODEL, "SUCCEEDED", &json!({"responsesFile": "files/out"}));
    assert_eq!(world.billed(50), [1_000 * INPUT + 100 * OUTPUT; 50]);
    // Another file may have got its name.
    world.file(joined((0..50).map(|_| line.clone())).len(), "tomorrow");
    assert_eq!(make().status(), 400);
    audit(&world.gateway);
}

/// The last piece is no file: what it asks for is not all that is asked.
#[test]
fn a_file_that_came_in_pieces_is_not_taken_for_its_last_one() {
    let world = World::new();
    world.gemini(MODEL, "PENDING", &json!({}));
    let line = json!({"key": "a", "request": asked("hi", 10)});
    let pieces = [
        joined((0..40).map(|_| line.clone())),
        joined(std::iter::once(line.clone())),
    ];
    let address = format!("{}/upload/v1beta/files?upload_id=u1", world.upstream.url());
    let session = [
        ("x-goog-upload-url", address.as_str()),
        ("x-goog-upload-status", "active"),
    ];
    world.rule("/upload/v1beta/files", &session, String::new());
    let begin = Request::new("POST", "/upload/v1beta/files")
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .bearer(HARD_KEY)
        .send(&world.gateway.url());
    let told = begin.header("x-goog-upload-url").unwrap();
    let path = &told[told.find("/upload/").unwrap()..];
    let go_on = |piece: &str, command: &str| {
        let request = Request::new("POST", path)
            .header("x-goog-upload-command", command)
            .body(piece);
        assert_eq!(request.send(&world.gateway.url()).status(), 200, "{command}");
    };
    world.rule(
        "/upload/v1beta/files",
        &[("x-goog-upload-status", "active")],
        String::new(),
    );
    go_on(&pieces[0], "upload");
    let file = world.file(pieces[0].len() + pieces[1].len(), "today");
    let whole = [("content-type", "application/json"), ("x-goog-upload-status", "final")];
    world.rule("/upload/v1beta/files", &whole, json!({"file": file}).to_string());
    go_on(&pieces[1], "upload, finalize");
    let refused = world.make(
        &format!("{MODEL}:batchGenerateContent"),
        HARD_KEY,
        &json!({"fileName": "files/in"}),
    );
    assert_eq!(refused.status(), 400);
    assert!(
        refused.text().contains("Upload it again in one request"),
        "{}",
        refused.text()
    );
    assert_eq!(world.held(), 0);
}
