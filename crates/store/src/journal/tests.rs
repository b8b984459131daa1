//! The journal against torn writes, full disks and other processes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tempfile::TempDir;

use super::read::Damage;
use super::*;
use crate::limits::{JOURNAL_BACKLOG_MAX, RECORD_BYTES_MAX};

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self, sync: Sync, segment_bytes: u64) -> JournalOptions {
        JournalOptions {
            dir: self.dir.path().join("journal"),
            sync,
            keep: Duration::from_hours(1),
            segment_bytes,
        }
    }

    fn open(&self) -> Journal {
        Journal::open(&self.options(Sync::Os, 1 << 20)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("journal").join(name)
    }

    /// The last segment's file.
    fn segment(&self) -> PathBuf {
        let (number, _) = segment::list(&self.dir.path().join("journal")).unwrap().pop().unwrap();
        segment::path(&self.dir.path().join("journal"), number)
    }
}

fn append(journal: &Journal, record: &[u8]) {
    drop(journal.append(record).unwrap());
}

fn append_all(journal: &Journal, records: &[Vec<u8>]) {
    for record in records {
        append(journal, record);
    }
}

/// Everything that can be read, and the damage on the way.
fn read_all(journal: &Journal) -> (Vec<Vec<u8>>, Vec<Damage>) {
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    let mut reader = Reader::default();
    let mut at = JournalPosition::default();
    while let Some(stretch) = reader.read(journal, at, 3, 1 << 22).unwrap() {
        assert!(stretch.to > at, "reading goes forward");
        records.extend(stretch.records().map(<[u8]>::to_vec));
        damage.extend(stretch.damage.clone());
        at = stretch.to;
    }
    (records, damage)
}

fn samples() -> Vec<Vec<u8>> {
    [1_usize, 2, 3, 60, 0x101, 7]
        .iter()
        .enumerate()
        .map(|(index, size)| vec![b'a' + index as u8; *size])
        .collect()
}

#[test]
fn what_is_appended_is_read_in_order_and_again_after_a_restart() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &samples());
    assert_eq!(read_all(&journal), (samples(), vec![]));
    let id = journal.id().to_owned();
    drop(journal);
    let journal = place.open();
    assert_eq!(journal.id(), id);
    append(&journal, b"after");
    let mut expected = samples();
    expected.push(b"after".to_vec());
    assert_eq!(read_all(&journal), (expected, vec![]));
}

#[test]
fn segments_are_begun_by_size_and_read_across() {
    let place = Place::new();
    let options = place.options(Sync::Os, 256);
    let journal = Journal::open(&options).unwrap();
    let records: Vec<Vec<u8>> = (0..50_u8).map(|number| vec![number; 60]).collect();
    append_all(&journal, &records);
    append(&journal, &[9; 1000]);
    let status = journal.status();
    assert!(status.segments > 10, "{status:?}");
    let (read, damage) = read_all(&journal);
    assert_eq!((read.len(), damage), (51, vec![]));
    assert_eq!(read[..50], records);
    drop(journal);
    let (read, _) = read_all(&Journal::open(&options).unwrap());
    assert_eq!(read.len(), 51);
}

#[test]
fn only_records_of_a_possible_size_are_taken() {
    let place = Place::new();
    let journal = Journal::open(&place.options(Sync::Os, 1 << 22)).unwrap();
    assert_eq!(journal.append(b"").unwrap_err(), AppendError::Size(0));
    let large = vec![1; RECORD_BYTES_MAX + 1];
    assert_eq!(journal.append(&large).unwrap_err(), AppendError::Size(large.len()));
    append(&journal, &large[1..]);
    append(&journal, b"x");
    let mut reader = Reader::default();
    let stretch = reader
        .read(&journal, JournalPosition::default(), 10, RECORD_BYTES_MAX + 100)
        .unwrap()
        .unwrap();
    assert_eq!(stretch.records().len(), 2);
    assert!(journal.healthy());
}

#[test]
fn whatever_a_crash_leaves_a_prefix_is_recovered() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &samples());
    drop(journal);
    let path = place.segment();
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let journal = place.open();
        let (read, damage) = read_all(&journal);
        assert!(samples().starts_with(&read) && damage.is_empty(), "cut at {length}");
        let kept: usize = read.iter().map(|record| record.len() + segment::HEADER).sum();
        let next = samples()
            .get(read.len())
            .map_or(usize::MAX, |record| kept + record.len() + segment::HEADER);
        assert!(
            length.saturating_sub(segment::MAGIC.len()) < next,
            "a whole record was dropped at {length}"
        );
        append(&journal, b"next");
        assert_eq!(read_all(&journal).0.last().unwrap(), b"next", "cut at {length}");
        drop(journal);
        let torn: Vec<_> = torn_files(&place);
        let good = if length < segment::MAGIC.len() {
            0
        } else {
            segment::MAGIC.len() + kept
        };
        assert_eq!(torn.concat().len(), length - good, "the rest is kept aside at {length}");
    }
}

#[test]
fn a_flipped_byte_ends_the_prefix_before_it() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &samples());
    drop(journal);
    let path = place.segment();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            fs::write(&path, &bytes).unwrap();
            let (read, _) = read_all(&place.open());
            assert!(samples().starts_with(&read), "flipped at {at}");
            assert!(read.len() < samples().len(), "flipped at {at} and nothing noticed");
            torn_files(&place);
        }
    }
}

#[test]
fn a_tail_of_zeros_is_not_a_row_of_records() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, b"one");
    drop(journal);
    let file = OpenOptions::new().write(true).open(place.segment()).unwrap();
    file.set_len(100_000).unwrap();
    assert_eq!(read_all(&place.open()).0, [b"one"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_to_the_last_segment_leaves_a_prefix(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 1..20),
        cut in any::<proptest::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let place = Place::new();
        let journal = place.open();
        append_all(&journal, &records);
        drop(journal);
        let mut bytes = fs::read(place.segment()).unwrap();
        bytes.truncate(cut.index(bytes.len()));
        bytes.extend_from_slice(&noise);
        fs::write(place.segment(), &bytes).unwrap();
        let (read, damage) = read_all(&place.open());
        prop_assert!(damage.is_empty());
        // Noise is a record with probability 2⁻³², or if it continues what was cut.
        prop_assert!(records.starts_with(&read));
    }
}

#[test]
fn damage_in_an_earlier_segment_costs_that_segments_rest_only() {
    let place = Place::new();
    let options = place.options(Sync::Os, 200);
    let journal = Journal::open(&options).unwrap();
    append_all(&journal, &(0..9).map(|number| vec![number; 50]).collect::<Vec<_>>());
    let first = segment::path(&options.dir, 1);
    let mut bytes = fs::read(&first).unwrap();
    bytes[8 + 58 + 20] ^= 1;
    fs::write(&first, bytes).unwrap();
    let (read, damage) = read_all(&journal);
    assert_eq!(
        read.iter().map(|record| record[0]).collect::<Vec<_>>(),
        [0, 3, 4, 5, 6, 7, 8]
    );
    assert_eq!(
        damage,
        [Damage {
            at: JournalPosition { segment: 1, offset: 66 },
            bytes: 116
        }]
    );
    fs::remove_file(segment::path(&options.dir, 2)).unwrap();
    let (read, _) = read_all(&journal);
    assert_eq!(
        read.iter().map(|record| record[0]).collect::<Vec<_>>(),
        [0, 6, 7, 8],
        "what is gone is stepped over"
    );
}

#[test]
fn a_full_disk_refuses_and_heals() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, b"before");
    // Every write to this device fails for lack of space.
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    journal.shared.replace_file(full());
    assert!(matches!(journal.append(b"lost"), Err(AppendError::Write(_))));
    assert!(!journal.healthy());
    assert!(journal.status().error.unwrap().contains("space"));
    assert!(
        matches!(journal.append(b"too soon"), Err(AppendError::Write(_))),
        "it is not tried at every call"
    );
    journal.shared.forget_last_try();
    assert!(journal.healthy(), "asking is what heals");
    assert_eq!(journal.status().error, None);
    append(&journal, b"after");
    assert_eq!(
        read_all(&journal),
        (vec![b"before".to_vec(), b"after".to_vec()], vec![])
    );
    drop(journal);
    assert_eq!(read_all(&place.open()).0, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_probe_that_fails_leaves_it_unhealthy() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, b"before");
    journal
        .shared
        .replace_file(OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert!(journal.append(b"lost").is_err());
    // No new segment can be made either.
    let aside = place.dir.path().join("aside");
    fs::rename(place.path(""), &aside).unwrap();
    journal.shared.forget_last_try();
    assert!(!journal.healthy());
    fs::rename(&aside, place.path("")).unwrap();
    journal.shared.forget_last_try();
    append(&journal, b"after");
    assert!(journal.healthy());
    assert_eq!(read_all(&journal).0, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_backlog_has_an_end() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, b"x");
    journal
        .shared
        .waiting_bytes
        .store(JOURNAL_BACKLOG_MAX, Ordering::Relaxed);
    assert_eq!(journal.append(b"y").unwrap_err(), AppendError::Backlog);
    assert!(!journal.healthy() && !journal.status().healthy);
    journal.acknowledge(journal.bookable());
    assert_eq!(journal.waiting_bytes(), 0);
    assert!(journal.healthy());
    append(&journal, b"y");
}

#[test]
fn waiting_bytes_are_those_behind_the_booked_position() {
    let place = Place::new();
    let options = place.options(Sync::Os, 200);
    let journal = Journal::open(&options).unwrap();
    let mut ends = vec![journal.bookable()];
    for number in 0..9_u8 {
        append(&journal, &[number; 50]);
        ends.push(journal.bookable());
    }
    assert_eq!(journal.waiting_bytes(), 9 * 58);
    for (booked, end) in ends.iter().enumerate().rev() {
        journal.acknowledge(*end);
        assert_eq!(journal.waiting_bytes(), (9 - booked as u64) * 58, "booked {booked}");
    }
    drop(journal);
    assert_eq!(Journal::open(&options).unwrap().waiting_bytes(), 9 * 58);
}

#[test]
fn another_process_is_refused_with_the_holder_and_the_mend() {
    let place = Place::new();
    let journal = place.open();
    let error = Journal::open(&place.options(Sync::Os, 1 << 20))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&std::process::id().to_string()) && error.contains("storage.journal.dir"),
        "{error}"
    );
    let report = Journal::inspect(journal.dir(), None).unwrap();
    assert_eq!(report.held_by, Some(std::process::id().to_string()));
    drop(journal);
    let report = Journal::inspect(&place.path(""), None).unwrap();
    assert_eq!(report.held_by, None);
    place.open();
}

#[test]
fn looking_from_outside_counts_records() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, b"one");
    let booked = journal.bookable();
    append(&journal, b"two");
    append(&journal, b"three");
    let report = Journal::inspect(journal.dir(), Some(booked)).unwrap();
    assert_eq!(
        (report.records, report.waiting, report.segments, report.damaged_bytes),
        (3, 2, 1, 0)
    );
    assert_eq!(report.id.as_deref(), Some(journal.id()));
    assert_eq!(Journal::id_of(journal.dir()).unwrap().as_deref(), Some(journal.id()));
}

#[test]
fn nobody_else_may_read_it() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, b"x");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(journal.dir()), 0o700);
    for entry in fs::read_dir(journal.dir()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn tickets_are_ready_as_promised() {
    let poll = |ticket: &mut Ticket| {
        std::future::Future::poll(std::pin::Pin::new(ticket), &mut Context::from_waker(Waker::noop()))
    };
    for sync in [Sync::Os, Sync::Interval] {
        let place = Place::new();
        let journal = Journal::open(&place.options(sync, 1 << 20)).unwrap();
        assert_eq!(poll(&mut journal.append(b"x").unwrap()), Poll::Ready(Ok(())));
    }
    let place = Place::new();
    let journal = Journal::open(&place.options(Sync::Always, 300)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let tickets: Vec<_> = (0..40_u8)
            .map(|number| journal.append(&[number; 50]).unwrap())
            .collect();
        // In any order, and polled by whomever: each is woken by the flush that covers it.
        for ticket in tickets.into_iter().rev() {
            assert_eq!(ticket.await, Ok(()));
        }
    });
    assert_eq!(read_all(&journal).0.len(), 40);
}

#[test]
fn a_flush_that_fails_is_told_to_those_who_wait_and_heals() {
    let place = Place::new();
    let journal = Journal::open(&place.options(Sync::Always, 1 << 20)).unwrap();
    append(&journal, b"before");
    // This device takes every write and refuses every flush.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let unflushable = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    journal.shared.replace_file(unflushable);
    let asked_late = journal.append(b"nowhere either").unwrap();
    let ticket = journal.append(b"nowhere").unwrap();
    assert!(matches!(runtime.block_on(ticket), Err(AppendError::Write(_))));
    assert!(!journal.healthy());
    journal.shared.forget_last_try();
    assert!(journal.healthy());
    assert_eq!(runtime.block_on(journal.append(b"after").unwrap()), Ok(()));
    let late = runtime.block_on(asked_late);
    assert!(
        matches!(late, Err(AppendError::Write(_))),
        "a later flush proves nothing"
    );
}

#[test]
fn what_a_failed_flush_left_in_the_dark_is_never_booked() {
    let place = Place::new();
    // Small segments, so that what is taken back lies in several.
    let journal = Journal::open(&place.options(Sync::Always, 100)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(journal.append(b"kept").unwrap()), Ok(()));
    // Nobody polls these tickets, so the thread does not flush them.
    let refused: Vec<_> = (b'a'..b'f').map(|letter| vec![letter; 30]).collect();
    let tickets: Vec<_> = refused.iter().map(|record| journal.append(record).unwrap()).collect();
    assert_eq!(read_all(&journal).0, [b"kept"], "not durable, not to be booked");
    journal.fail_a_flush();
    for ticket in tickets {
        assert!(matches!(runtime.block_on(ticket), Err(AppendError::Write(_))));
    }
    assert_eq!(journal.take_undone(), refused);
    assert_eq!(journal.take_undone(), Vec::<Vec<u8>>::new());
    assert_eq!(runtime.block_on(journal.append(b"after").unwrap()), Ok(()));
    assert_eq!(read_all(&journal).0, [&b"kept"[..], b"after"]);
    drop(journal);
    assert_eq!(
        read_all(&place.open()).0,
        [&b"kept"[..], b"after"],
        "nor by the next start"
    );
}

#[test]
fn a_folder_that_is_moved_away_is_noticed_and_nothing_is_lost() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, b"before");
    journal.shared.look();
    assert!(journal.healthy());
    let (there, away) = (place.path(""), place.path("").with_extension("away"));
    fs::rename(&there, &away).unwrap();
    journal.shared.look();
    assert!(!journal.healthy());
    assert!(journal.append(b"refused").is_err());
    journal.shared.forget_last_try();
    assert!(!journal.healthy(), "there is no folder yet");
    fs::rename(&away, &there).unwrap();
    journal.shared.forget_last_try();
    assert!(journal.healthy());
    append(&journal, b"after");
    assert_eq!(read_all(&journal).0, [&b"before"[..], b"after"]);
    drop(journal);
    assert_eq!(read_all(&place.open()).0, [&b"before"[..], b"after"]);
}

/// The contents of `.torn` files, which are removed.
fn torn_files(place: &Place) -> Vec<Vec<u8>> {
    let mut torn = Vec::new();
    for entry in fs::read_dir(place.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "torn") {
            torn.push(fs::read(&path).unwrap());
            fs::remove_file(&path).unwrap();
        }
    }
    torn
}

#[test]
fn a_file_that_is_no_journal_is_set_aside() {
    let place = Place::new();
    drop(place.open());
    fs::write(place.segment(), b"something else entirely").unwrap();
    let journal = place.open();
    append(&journal, b"x");
    assert_eq!(read_all(&journal).0, [b"x"]);
    assert_eq!(torn_files(&place), [b"something else entirely"]);
    drop(File::open(place.segment()).unwrap());
}
