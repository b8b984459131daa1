//! What looking at the bytes costs: the scan of a request, the tap on a stream, the reading of an answer.
//!
//! Aims: a scan of long strings at 1 GB/s and more, at most 1 µs per event of 300 bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dialects::{Edits, StreamTap, TapOptions, read_answer, scan};
use domain::{Dialect, Operation, Surface};

const CHAT: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);

/// A conversation of `turns` earlier turns, about 2.3 KB each.
fn request(turns: usize) -> Bytes {
    let words = "The quick brown fox said \\\"hello\\\" to the lazy dog.\\n".repeat(42);
    let turn = format!(r#"{{"role":"user","content":"{words}"}},"#);
    let system = "You are a careful assistant. ".repeat(10);
    Bytes::from(format!(
        r#"{{"model":"gpt-4o","messages":[{{"role":"system","content":"{system}"}},{}{{"role":"user","content":"Say hello to everybody in the room."}}],"temperature":0.2,"max_tokens":256,"stream":true,"stream_options":{{"include_usage":true}}}}"#,
        turn.repeat(turns)
    ))
}

fn event() -> Bytes {
    Bytes::from_static(
        b"data: {\"id\":\"chatcmpl-BKzWcT4yBzGzMVDbVYVLdKo3Uq3Qm\",\"object\":\"chat.completion.chunk\",\"created\":1744316542,\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_432e014d75\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" wonderful\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
    )
}

fn anthropic_event() -> Bytes {
    Bytes::from_static(
        b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" wonderful\"}}\n\n",
    )
}

fn scans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for turns in [0, 96] {
        let body = request(turns);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{} bytes", body.len()), |bencher| {
            bencher.iter(|| scan(CHAT, black_box(&body)));
        });
    }
    group.finish();
    let body = request(0);
    let facts = scan(CHAT, &body).expect("the request is valid");
    let edits = Edits {
        model: Some("gpt-4o-2024-08-06"),
        omit_model: false,
        omit: &[],
        include_usage: true,
        params: &[],
    };
    criterion.bench_function("edit of a request", |bencher| {
        bencher.iter(|| facts.edit(black_box(&body), &edits));
    });
}

fn taps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tap");
    for (name, dialect, event) in [
        ("openai", Dialect::OpenaiChat, event()),
        ("anthropic", Dialect::AnthropicMessages, anthropic_event()),
    ] {
        let options = TapOptions {
            surface: Surface::new(Operation::Chat, dialect),
            hide_usage_chunk: true,
            json_array: false,
        };
        group.throughput(Throughput::Elements(1));
        let mut tap = StreamTap::new(options);
        let mut out = Vec::new();
        group.bench_function(format!("{name}, one event of {} bytes", event.len()), |bencher| {
            bencher.iter(|| {
                out.clear();
                tap.push(black_box(event.clone()), &mut out)
            });
        });
        let burst = Bytes::from(event.repeat(100));
        group.throughput(Throughput::Elements(100));
        group.bench_function(format!("{name}, 100 events in one chunk"), |bencher| {
            bencher.iter_batched(
                || StreamTap::new(options),
                |mut tap| {
                    let mut out = Vec::new();
                    tap.push(black_box(burst.clone()), &mut out);
                    out
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let body = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1744316542,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"Hello everybody! It is a pleasure to meet you all. How can I help you today?","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":52,"completion_tokens":19,"total_tokens":71,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_432e014d75"}"#;
    criterion.bench_function("answer of 700 bytes", |bencher| {
        bencher.iter(|| read_answer(CHAT, black_box(body)));
    });
}

criterion_group!(benches, scans, taps, answers);
criterion_main!(benches);
