//! What an append costs: the one thing that every call waits for. The aim is 3 µs.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use store::{Journal, JournalOptions, Sync};

/// About the size of a receipt with one attempt.
const RECORD: [u8; 900] = [b'x'; 900];

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Bytes(RECORD.len() as u64));
    for (name, sync) in [("os", Sync::Os), ("interval", Sync::Interval)] {
        let dir = tempfile::tempdir().unwrap();
        let options = JournalOptions {
            dir: dir.path().join("journal"),
            sync,
            keep: Duration::ZERO,
            segment_bytes: 64 * 1024 * 1024,
        };
        let journal = Journal::open(&options).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| drop(journal.append(black_box(&RECORD)).unwrap()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // Short: a second of appends is a gigabyte.
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).without_plots();
    targets = append
}
criterion_main!(benches);
