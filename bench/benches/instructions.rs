//! What single steps of a call cost in instructions, as regression tests: a limit that is exceeded fails the run.
//!
//! Time is noise on a shared machine, and five per cent lost here and there is never seen in it; the number of
//! instructions is the same on every run. So each step has a committed baseline, measured with the toolchain of
//! `rust-toolchain.toml`, and a few per cent of room for another C library or processor. Whoever makes a step dearer
//! on purpose raises its baseline in the same commit and says why; whoever makes it cheaper lowers it.
//!
//! Each step runs once before it is counted: what a process does only once (detecting the processor, the first
//! allocation) is no cost of a call. What is read is what the load driver sends ([`tollgate_bench::wire`]).
//!
//! Deliberately absent: system calls, wake-ups, cache misses. Those are for the load run of this folder.
#![expect(missing_docs, clippy::exit, reason = "what gungraun's macros expand to")]

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dialects::{
    Nonsense, Report, RequestFacts, ScanError, StreamTap, TapOptions, TapState, UsageReport, read_answer, scan,
};
use domain::price::{Step, Tariff};
use domain::{Dialect, Ending, Money, Operation, Policy, Price, Rates, Receipt, Surface, Usage};
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use metering::{Facts, Reported, charge, cost, rates_for};
use store::{Journal, JournalOptions, Sync, Ticket};
use tempfile::TempDir;
use tollgate_bench::wire::{self, Shape, Size, StreamText, Tokens};

const OPENAI: Surface = Surface::new(Operation::Chat, Dialect::OpenaiChat);
const ANTHROPIC: Surface = Surface::new(Operation::Chat, Dialect::AnthropicMessages);
const TOKENS: Tokens = Tokens { input: 42, output: 100 };

/// The room above a baseline, in per cent: what another C library's allocator or another processor's vector code may
/// take, and less than what a change of ours should take unnoticed.
const ROOM_PERCENT: u64 = 5;
/// The room that even the smallest step has: inlining elsewhere moves a handful of instructions.
const ROOM_MIN: u64 = 20;

/// Counts instructions and fails where they are more than `instructions` and the room.
fn baseline(instructions: u64) -> LibraryBenchmarkConfig {
    let limit = instructions + (instructions * ROOM_PERCENT / 100).max(ROOM_MIN);
    let mut config = LibraryBenchmarkConfig::default();
    // Caches are simulated for a processor of twenty years ago: nothing to steer by.
    config.tool(Callgrind::with_args(["cache-sim=no"]).hard_limits([(EventKind::Ir, limit)]));
    config
}

// --- request and answer ----------------------------------------------------------------------------------------------

fn request(size: Size) -> Bytes {
    let body = Bytes::from(wire::Dialect::OpenaiChat.request_body(size, Shape::Stream { chunks: 100 }));
    let facts = scan(OPENAI, &body).expect("the load driver's request is valid");
    assert!(facts.stream && facts.model.is_some(), "{facts:?}");
    body
}

#[library_benchmark]
#[bench::of_550_bytes(args = (Size::Small), setup = request, config = baseline(6_391))]
#[bench::of_220_kilobytes(args = (Size::Large), setup = request, config = baseline(555_186))]
fn scan_request(body: Bytes) -> (Result<RequestFacts, ScanError>, Bytes) {
    (black_box(scan(OPENAI, black_box(&body))), body)
}

fn answer() -> String {
    let text = wire::Dialect::OpenaiChat.plain_answer(TOKENS);
    assert!(has_usage(
        &read_answer(OPENAI, text.as_bytes()).expect("the answer is JSON")
    ));
    text
}

#[library_benchmark]
#[bench::of_700_bytes(setup = answer, config = baseline(22_476))]
fn read_whole_answer(text: String) -> (Result<Report, Nonsense>, String) {
    (black_box(read_answer(OPENAI, black_box(text.as_bytes()))), text)
}

// --- stream ----------------------------------------------------------------------------------------------------------

/// A tap in the middle of a stream, and the event that comes next.
struct Tapped {
    tap: StreamTap,
    event: Bytes,
    out: Vec<Bytes>,
}

/// An event of the stream that the load driver's upstream sends.
#[derive(Clone, Copy)]
enum Next {
    OpenaiChunk,
    OpenaiUsage,
    AnthropicDelta,
}

fn tapped(next: Next) -> Box<Tapped> {
    let (surface, format) = match next {
        Next::OpenaiChunk | Next::OpenaiUsage => (OPENAI, wire::Dialect::OpenaiChat),
        Next::AnthropicDelta => (ANTHROPIC, wire::Dialect::AnthropicMessages),
    };
    let options = TapOptions {
        surface,
        hide_usage_chunk: false,
        json_array: false,
    };
    let stream = format.stream_answer(3, TOKENS);
    let (before, event) = around(next, &stream);
    let mut out = Vec::with_capacity(16);
    // A whole stream through another tap: what a process does only once is done, and the event is what it should be.
    let mut rehearsal = StreamTap::new(options);
    assert_eq!(rehearsal.push(chunk(&stream.whole()), &mut out), TapState::Terminal);
    assert!(has_usage(&rehearsal.report()));
    out.clear();
    let mut tap = StreamTap::new(options);
    for text in before {
        assert_eq!(tap.push(chunk(text), &mut out), TapState::Open);
    }
    out.clear();
    Box::new(Tapped {
        tap,
        event: chunk(event),
        out,
    })
}

/// The texts before the event, and the event.
fn around(next: Next, stream: &StreamText) -> (Vec<&str>, &str) {
    let mut before = vec![stream.opening.as_str(), &stream.content[0], &stream.content[1]];
    match next {
        Next::OpenaiChunk | Next::AnthropicDelta => (before, &stream.content[2]),
        Next::OpenaiUsage => {
            before.extend([stream.content[2].as_str(), &stream.closing[0]]);
            (before, &stream.closing[1])
        }
    }
}

/// As the HTTP client hands it over: a part of a shared buffer, so that slices of it allocate nothing.
fn chunk(text: &str) -> Bytes {
    BytesMut::from(text).split().freeze()
}

fn has_usage(report: &Report) -> bool {
    matches!(report.usage, UsageReport::Possible(usage) if usage.input == TOKENS.input)
}

#[library_benchmark]
#[bench::openai_chunk(args = (Next::OpenaiChunk), setup = tapped, config = baseline(8_534))]
#[bench::openai_usage(args = (Next::OpenaiUsage), setup = tapped, config = baseline(18_068))]
#[bench::anthropic_delta(args = (Next::AnthropicDelta), setup = tapped, config = baseline(5_420))]
fn tap_event(mut tapped: Box<Tapped>) -> (TapState, Box<Tapped>) {
    let event = std::mem::take(&mut tapped.event);
    let state = tapped.tap.push(black_box(event), &mut tapped.out);
    (black_box(state), tapped)
}

// --- money -----------------------------------------------------------------------------------------------------------

/// Calls of every row of a price list: plain, cached, long, by tier, with audio, with searches.
struct Calls {
    price: Price,
    calls: [(Usage, Option<&'static str>); 6],
}

fn calls() -> &'static Calls {
    let calls = Box::leak(Box::new(Calls {
        price: price(),
        calls: usages(),
    }));
    let costs = calls
        .calls
        .map(|(usage, tier)| cost(&usage, rates_for(&calls.price, &usage, tier)));
    assert!(costs.iter().all(|cost| *cost > Money::ZERO), "{costs:?}");
    calls
}

fn price() -> Price {
    let rates = |factor: i64| Rates {
        input: Money::from_nanos(2_500_000_000 * factor),
        output: Money::from_nanos(10_000_000_000 * factor),
        cache_read: Money::from_nanos(1_250_000_000 * factor),
        cache_write_5m: Money::from_nanos(3_125_000_000 * factor),
        cache_write_1h: Money::from_nanos(5_000_000_000 * factor),
        input_audio: Money::from_nanos(40_000_000_000 * factor),
        output_audio: Money::from_nanos(80_000_000_000 * factor),
        web_searches: Money::from_nanos(10_000_000_000 * factor),
        ..Rates::default()
    };
    Price {
        image_kinds: Vec::new(),
        ordinary: Tariff {
            rates: rates(1),
            steps: vec![Step {
                above: 200_000,
                rates: rates(2),
            }],
        },
        tiers: [("flex", rates(3)), ("priority", rates(4))]
            .map(|(tier, rates)| (tier.to_owned(), Tariff::flat(rates)))
            .to_vec(),
    }
}

fn usages() -> [(Usage, Option<&'static str>); 6] {
    let plain = Usage {
        input: 1_234,
        output: 567,
        reasoning: 128,
        ..Usage::default()
    };
    let cached = Usage {
        cache_read: 20_480,
        cache_write_5m: 1_024,
        cache_write_1h: 512,
        ..plain
    };
    let long = Usage {
        input: 250_000,
        ..plain
    };
    let audio = Usage {
        input_audio: 700,
        output_audio: 300,
        ..plain
    };
    let searched = Usage {
        web_searches: 3,
        ..plain
    };
    [
        (plain, Some("default")),
        (cached, None),
        (long, Some("default")),
        (plain, Some("priority")),
        (audio, None),
        (searched, None),
    ]
}

#[library_benchmark]
#[bench::six_calls(setup = calls, config = baseline(1_817))]
fn price_usage(calls: &'static Calls) -> Money {
    let mut sum = Money::ZERO;
    for (usage, tier) in black_box(&calls.calls) {
        let rates = rates_for(black_box(&calls.price), usage, *tier);
        sum = black_box(sum + cost(usage, rates));
    }
    sum
}

#[library_benchmark]
#[bench::six_calls(setup = calls, config = baseline(2_556))]
fn charge_call(calls: &'static Calls) -> Money {
    let mut sum = Money::ZERO;
    for (usage, tier) in black_box(&calls.calls) {
        let charge = charge(black_box(&facts(&calls.price, *usage, *tier)));
        sum = black_box(sum + charge.charged);
    }
    sum
}

/// A stream that ended well, of a user of policy `hard`.
fn facts<'a>(price: &'a Price, usage: Usage, service_tier: Option<&'a str>) -> Facts<'a> {
    Facts {
        operation: Operation::Chat,
        ending: Ending::Complete,
        hold_ran_out: false,
        status_ok: true,
        reported: Reported::Possible(usage),
        relayed_content: true,
        content_bytes: 2_400,
        sound_tokens: 0,
        body_bytes: 4_800,
        begun_bytes: 0,
        units: None,
        price: Some(price),
        service_tier,
        policy: Policy::Hard,
        hold: Money::from_dollars(20),
        bill_abandoned: true,
    }
}

// --- journal ---------------------------------------------------------------------------------------------------------

/// A receipt of an ordinary stream with one attempt, as the gateway writes it.
const RECEIPT: &str = r#"{"call":"0199c2f4-7a31-7c04-9f10-3f2b8d6f5a11","started_at":1763670000000000,"finished_at":1763670000450000,"user":12,"key":3,"operation":"chat","dialect":"openai_chat","stream":true,"model":"gpt-4o-mini","upstream":2,"credential":5,"answered_model":"gpt-4o-mini-2024-07-18","status":200,"ending":"complete","usage":{"input":512,"cache_read":1024,"output":100},"usage_source":"reported","rates":{"input":150000000,"output":600000000,"cache_read":75000000,"cache_write_5m":150000000,"cache_write_1h":150000000,"input_audio":150000000,"output_audio":600000000,"web_searches":0},"cost":213600,"charged":213600,"uncollected":0,"attempts":[{"upstream":2,"upstream_name":"openai-main","credential":5,"credential_name":"k1","model":"gpt-4o-mini","status":200,"started_ms":0,"took_ms":210}],"first_content_ms":212,"took_ms":450}"#;

/// An open journal, and a receipt for it.
struct Desk {
    journal: Journal,
    receipt: Receipt,
    record: Vec<u8>,
    _dir: TempDir,
}

fn desk() -> Box<Desk> {
    let dir = tempfile::tempdir().expect("there is a folder for temporary files");
    let options = JournalOptions {
        dir: dir.path().join("journal"),
        // As `interval`, but without its thread, which would be counted when it happens to run.
        sync: Sync::Os,
        keep: Duration::ZERO,
        segment_bytes: 64 * 1024 * 1024,
    };
    let journal = Journal::open(&options).expect("a new journal opens");
    let receipt: Receipt = serde_json::from_str(RECEIPT).expect("the receipt is one");
    let record = receipt.to_json();
    assert_eq!(String::from_utf8_lossy(&record), RECEIPT);
    drop(journal.append(&record).expect("a new journal is healthy"));
    Box::new(Desk {
        journal,
        receipt,
        record,
        _dir: dir,
    })
}

#[library_benchmark]
#[bench::of_one_attempt(setup = desk, config = baseline(13_758))]
fn serialise_receipt(desk: Box<Desk>) -> (Vec<u8>, Box<Desk>) {
    let record = black_box(&desk.receipt).to_json();
    (black_box(record), desk)
}

#[library_benchmark]
#[bench::of_one_attempt(setup = desk, config = baseline(852))]
fn append_record(desk: Box<Desk>) -> (Ticket, Box<Desk>) {
    let ticket = desk
        .journal
        .append(black_box(&desk.record))
        .expect("the journal is healthy");
    (black_box(ticket), desk)
}

// Both, as the end of a call does them.
#[library_benchmark]
#[bench::of_one_attempt(setup = desk, config = baseline(14_684))]
fn journal_receipt(desk: Box<Desk>) -> (Ticket, Box<Desk>) {
    let record = black_box(&desk.receipt).to_json();
    let ticket = desk.journal.append(&record).expect("the journal is healthy");
    (black_box(ticket), desk)
}

library_benchmark_group!(
    name = wire_formats,
    benchmarks = [scan_request, read_whole_answer, tap_event]
);
library_benchmark_group!(name = money, benchmarks = [price_usage, charge_call]);
library_benchmark_group!(
    name = journal,
    benchmarks = [serialise_receipt, append_record, journal_receipt]
);
main!(library_benchmark_groups = [wire_formats, money, journal]);
