//! Recovery of a journal: what was whole before the damage is there afterwards, and nothing else.
//!
//! A fuzzer cannot guess checksums, so most cases are written by it as a script: records, and what happens to the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use store::{Journal, JournalOptions, Sync};
use tempfile::TempDir;

/// The format, from its description.
const MAGIC: &[u8] = b"TGJRNL1\n";
const HEADER: usize = 8;
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// One directory for all cases of a process, in memory where there is such a place.
static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a directory for journals")
});

/// A file, and how many of the records in it must come back.
struct Written {
    bytes: Vec<u8>,
    records_min: usize,
}

/// The claims.
pub fn check(data: &[u8]) {
    let written = match data.split_first() {
        Some((b'!', raw)) => Written {
            bytes: raw.to_vec(),
            records_min: 0,
        },
        _ => by_script(data),
    };
    let dir = PLACE.path().join(std::thread::current().name().unwrap_or("main"));
    emptied(&dir);
    // A sealed segment before it is not looked at.
    let sealed = data.len() % 2 == 1;
    if sealed {
        fs::write(segment(&dir, 6), encoded(&[b"sealed"])).expect("written");
    }
    let path = segment(&dir, 7);
    fs::write(&path, &written.bytes).expect("written");
    recovers(&dir, &path, &written);
    if sealed {
        assert_eq!(fs::read(segment(&dir, 6)).expect("read"), encoded(&[b"sealed"]));
    }
}

fn recovers(dir: &Path, path: &Path, written: &Written) {
    let (good, records) = good(&written.bytes);
    assert!(records >= written.records_min, "the oracle lost records");
    let journal = open(dir);
    let now = fs::read(path).expect("read");
    let expected = if good == 0 { MAGIC } else { &written.bytes[..good] };
    assert_eq!(now, expected, "not the longest prefix of whole records");
    let end = journal.status().end;
    assert_eq!((end.segment, end.offset), (7, expected.len() as u64));
    let torn: Vec<PathBuf> = torn(dir);
    let cut = &written.bytes[good..];
    if cut.is_empty() {
        assert!(torn.is_empty());
    } else {
        assert_eq!(torn.len(), 1);
        assert_eq!(
            fs::read(&torn[0]).expect("read"),
            cut,
            "what was cut off is not what was kept"
        );
    }
    drop(journal.append(b"after").expect("appended"));
    drop(journal);
    let whole = [expected, &encoded(&[b"after"])[MAGIC.len()..]].concat();
    assert_eq!(fs::read(path).expect("read"), whole);
    let again = open(dir);
    assert_eq!(
        again.status().end.offset,
        whole.len() as u64,
        "recovered twice, differently"
    );
    let report = Journal::inspect(dir, None).expect("inspected");
    assert_eq!(report.damaged_bytes, 0);
    let before = u64::from(report.segments == 2);
    assert_eq!(report.records, records as u64 + 1 + before);
    assert_eq!(report.torn_files, usize::from(!cut.is_empty()));
}

fn open(dir: &Path) -> Journal {
    Journal::open(&JournalOptions {
        dir: dir.to_owned(),
        sync: Sync::Os,
        keep: Duration::from_hours(1),
        segment_bytes: 1 << 30,
    })
    .expect("a journal opens whatever its last segment holds")
}

/// Records whose sizes the script gives, then one kind of damage.
fn by_script(script: &[u8]) -> Written {
    let [kind, place, value, sizes @ ..] = script else {
        return Written {
            bytes: script.to_vec(),
            records_min: 0,
        };
    };
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut rest = sizes;
    while let Some((size, after)) = rest.split_first() {
        let size = usize::from(*size).max(1);
        let (own, after) = after.split_at(size.min(after.len()));
        let mut record = own.to_vec();
        record.resize(size, 0);
        records.push(record);
        rest = after;
    }
    let parts: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let mut bytes = encoded(&parts);
    let length = bytes.len();
    // Two bytes of the script name a place anywhere in a file of this size.
    let place = (usize::from(*place) * 251 + usize::from(*value)) % length;
    let untouched = match kind % 6 {
        0 => {
            bytes.truncate(place);
            place
        }
        1 => {
            bytes[place] ^= (*value).max(1);
            place
        }
        2 => {
            bytes.extend(std::iter::repeat_n(0, usize::from(*value)));
            length
        }
        3 => {
            bytes.extend_from_slice(sizes);
            length
        }
        4 => {
            bytes[place..].fill(0);
            place
        }
        _ => length,
    };
    Written {
        records_min: good(&bytes[..untouched.min(bytes.len())]).1,
        bytes,
    }
}

fn encoded(records: &[&[u8]]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for record in records {
        let length = u32::try_from(record.len()).expect("short").to_le_bytes();
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&crc(&length, record));
        bytes.extend_from_slice(record);
    }
    bytes
}

fn crc(length: &[u8], record: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(record);
    hasher.finalize().to_le_bytes()
}

/// The length of the good prefix, and the records in it.
fn good(bytes: &[u8]) -> (usize, usize) {
    if !bytes.starts_with(MAGIC) {
        return (0, 0);
    }
    let (mut at, mut records) = (MAGIC.len(), 0);
    while let Some(header) = bytes.get(at..at + HEADER) {
        let (length, sum) = header.split_at(4);
        let size = length.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte));
        let record = bytes.get(at + HEADER..at + HEADER + size);
        match record {
            Some(record) if size > 0 && size <= RECORD_BYTES_MAX && crc(length, record) == sum => {
                at += HEADER + size;
                records += 1;
            }
            _ => break,
        }
    }
    (at, records)
}

fn emptied(dir: &Path) {
    fs::create_dir_all(dir).expect("made");
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        // The identity is made with an fsync: once is enough.
        if path.file_name().is_none_or(|name| name != "id") {
            fs::remove_file(path).expect("removed");
        }
    }
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.log"))
}

fn torn(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir)
        .expect("listed")
        .map(|entry| entry.expect("listed").path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "torn"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_stops_at_the_first_damage() {
        let mut bytes = encoded(&[b"a", b"bc", b"d"]);
        assert_eq!(good(&bytes), (bytes.len(), 3));
        bytes[8 + 9 + 8] ^= 1;
        assert_eq!(good(&bytes), (8 + 9, 1));
        assert_eq!(good(b"TGJ"), (0, 0));
    }

    #[test]
    fn scripts_damage_what_they_say() {
        let written = by_script(&[1, 0, 20, 1, b'a', 1, b'b']);
        assert_eq!(written.records_min, 1);
        assert_eq!(good(&written.bytes).1, 1);
        assert_eq!(by_script(&[5, 0, 0, 1, b'a', 1, b'b']).records_min, 2);
    }
}
