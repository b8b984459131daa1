//! A log file that gives way to the next one: at midnight (UTC), and when it is full. Old ones are deleted.
//!
//! `tracing-appender` begins a new file by the day only: a storm of rate limits over a few hundred credentials would fill a
//! disk within a day, and the journal of receipts with it. It also reads the clock by itself, so that nobody can show what it
//! does at midnight without waiting for it. Here the time is an argument, of the same kind as everywhere else.
//!
//! Files are `PREFIX.DATE.log`, which a day without a storm has alone, then `PREFIX.DATE.001.log` and so on. What is in a name
//! is the only state: a restart goes on with the newest file of the day.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use domain::Timestamp;

/// Files of one day. A thousand full ones are more than any bound on what is kept; the last one takes what still comes.
const FILES_OF_A_DAY_MAX: u32 = 999;

/// What is kept of one kind of log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// A file that would become larger gives way to the next. A single line may be larger all the same.
    pub file_bytes_max: u64,
    /// All files together, the one that is written aside.
    pub bytes_max: u64,
    /// Days, today included.
    pub days: i64,
}

/// Where one kind of log is written. `C` says what time it is.
#[derive(Debug)]
pub(super) struct RotatingFile<C> {
    folder: PathBuf,
    prefix: &'static str,
    keep: Keep,
    clock: C,
    current: Current,
}

#[derive(Debug)]
struct Current {
    file: File,
    name: Name,
    bytes: u64,
}

/// What a file's name says. The order is that of their writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    /// Counted from the epoch.
    day: i64,
    number: u32,
}

impl<C: Fn() -> Timestamp> RotatingFile<C> {
    /// Goes on with the newest file of today, or begins one, and deletes what is no longer kept.
    pub(super) fn open(folder: &Path, prefix: &'static str, keep: Keep, clock: C) -> io::Result<Self> {
        let current = Current::open(folder, prefix, clock().day(), keep.file_bytes_max)?;
        let files = Self {
            folder: folder.to_owned(),
            prefix,
            keep,
            clock,
            current,
        };
        files.clear();
        Ok(files)
    }

    /// Makes room for a line. Where no new file can be opened, the old one takes it: better in the wrong file than nowhere.
    fn rotate_for(&mut self, line: &[u8]) {
        let today = (self.clock)().day();
        // A clock that was put back does not go back to the files of yesterday.
        let new_day = today > self.current.name.day;
        let day = today.max(self.current.name.day);
        let full = self.current.bytes > 0 && self.current.bytes + line.len() as u64 > self.keep.file_bytes_max;
        if !new_day && (!full || self.current.name.number == FILES_OF_A_DAY_MAX) {
            return;
        }
        let room = self.keep.file_bytes_max.saturating_sub(line.len() as u64);
        if let Ok(next) = Current::open(&self.folder, self.prefix, day, room) {
            self.current = next;
            self.clear();
        }
    }

    /// Deletes the files of days that are over, and the oldest of those that are too much together. One that cannot be
    /// deleted is tried again with the next.
    fn clear(&self) {
        let mut kept = 0;
        for name in written(&self.folder, self.prefix).into_iter().rev() {
            if name >= self.current.name {
                continue;
            }
            let path = name.path(&self.folder, self.prefix);
            kept += fs::metadata(&path).map_or(0, |file| file.len());
            if kept > self.keep.bytes_max || name.day <= self.current.name.day - self.keep.days {
                drop(fs::remove_file(&path));
            }
        }
    }
}

impl<C: Fn() -> Timestamp> Write for RotatingFile<C> {
    /// Takes a whole line at a time, as its only caller gives it, so that no line is in two files.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.rotate_for(line);
        self.current.file.write_all(line)?;
        self.current.bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current.file.flush()
    }
}

impl Current {
    /// The newest file of this day that holds no more than this, or a new one.
    fn open(folder: &Path, prefix: &str, day: i64, bytes_max: u64) -> io::Result<Self> {
        let newest = written(folder, prefix).pop().filter(|newest| newest.day == day);
        let mut name = newest.unwrap_or(Name { day, number: 0 });
        loop {
            let path = name.path(folder, prefix);
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            let bytes = file.metadata()?.len();
            if bytes <= bytes_max || bytes == 0 || name.number == FILES_OF_A_DAY_MAX {
                return Ok(Self { file, name, bytes });
            }
            name.number += 1;
        }
    }
}

impl Name {
    fn path(self, folder: &Path, prefix: &str) -> PathBuf {
        let date = jiff::Timestamp::from_microsecond(Timestamp::midnight(self.day).0)
            .unwrap_or_default()
            .strftime("%Y-%m-%d");
        folder.join(match self.number {
            0 => format!("{prefix}.{date}.log"),
            number => format!("{prefix}.{date}.{number:03}.log"),
        })
    }

    /// `None` for what somebody else put there.
    fn read(name: &str, prefix: &str) -> Option<Self> {
        let rest = name.strip_prefix(prefix)?.strip_prefix('.')?.strip_suffix(".log")?;
        let (date, number) = match rest.split_once('.') {
            Some((date, number)) => (date, number.parse().ok().filter(|number| *number > 0)?),
            None => (rest, 0),
        };
        let date: jiff::civil::Date = date.parse().ok()?;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Self {
            day: Timestamp(midnight.as_microsecond()).day(),
            number,
        })
    }
}

/// The files that are there, in the order of their writing. A folder that cannot be read has none.
fn written(folder: &Path, prefix: &str) -> Vec<Name> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Name::read(entry.ok()?.file_name().to_str()?, prefix))
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// 2026-11-28, noon.
    const NOON: Timestamp = Timestamp::from_secs(1_795_867_200);
    const DAY: i64 = 86_400;

    /// Lines of ten bytes.
    const LINE: &[u8] = b"a line...\n";

    const KEEP: Keep = Keep {
        file_bytes_max: 30,
        bytes_max: 1_000,
        days: 3,
    };

    struct Folder {
        folder: tempfile::TempDir,
        now: Rc<Cell<Timestamp>>,
    }

    impl Folder {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                now: Rc::new(Cell::new(NOON)),
            }
        }

        fn open(&self, keep: Keep) -> RotatingFile<impl Fn() -> Timestamp + use<>> {
            let now = Rc::clone(&self.now);
            RotatingFile::open(self.folder.path(), "credentials", keep, move || now.get()).unwrap()
        }

        fn pass(&self, secs: i64) {
            self.now.set(Timestamp(self.now.get().0 + secs * 1_000_000));
        }

        /// Names and sizes, in the order of their names.
        fn files(&self) -> Vec<(String, u64)> {
            let mut files: Vec<_> = fs::read_dir(self.folder.path())
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    (
                        entry.file_name().into_string().unwrap(),
                        entry.metadata().unwrap().len(),
                    )
                })
                .collect();
            files.sort();
            files
        }
    }

    fn files<const N: usize>(all: [(&str, u64); N]) -> Vec<(String, u64)> {
        all.map(|(rest, bytes)| (format!("credentials.{rest}log"), bytes))
            .into()
    }

    #[test]
    fn a_full_file_gives_way_to_the_next_of_the_day() {
        let folder = Folder::new();
        let mut log = folder.open(KEEP);
        for _ in 0..7 {
            log.write_all(LINE).unwrap();
        }
        let expected = [("2026-11-28.001.", 30), ("2026-11-28.002.", 10), ("2026-11-28.", 30)];
        assert_eq!(folder.files(), files(expected));
    }

    #[test]
    fn a_day_that_begins_gives_a_file_of_its_own() {
        let folder = Folder::new();
        let mut log = folder.open(KEEP);
        folder.pass(DAY / 2 - 1);
        log.write_all(LINE).unwrap();
        folder.pass(1);
        log.write_all(LINE).unwrap();
        log.write_all(LINE).unwrap();
        assert_eq!(folder.files(), files([("2026-11-28.", 10), ("2026-11-29.", 20)]));
    }

    #[test]
    fn days_that_are_over_are_deleted_and_nothing_of_others() {
        let folder = Folder::new();
        let others = [
            "tollgate.2020-01-01.log",
            "credentials.txt",
            "credentials.2020-01-01.old.log",
            "credentials.20.log",
        ];
        for other in others {
            fs::write(folder.folder.path().join(other), "kept").unwrap();
        }
        fs::write(folder.folder.path().join("credentials.2020-01-01.log"), "old").unwrap();
        let mut log = folder.open(KEEP);
        for _ in 0..5 {
            log.write_all(LINE).unwrap();
            folder.pass(DAY);
        }
        let (kept, own): (Vec<_>, Vec<_>) = folder
            .files()
            .into_iter()
            .partition(|(name, _)| others.contains(&name.as_str()));
        assert_eq!(kept.len(), others.len());
        let expected = [("2026-11-30.", 10), ("2026-12-01.", 10), ("2026-12-02.", 10)];
        assert_eq!(own, files(expected), "today and the two days before");
    }

    #[test]
    fn what_is_kept_is_bounded_however_much_a_day_brings() {
        let folder = Folder::new();
        let keep = Keep { bytes_max: 100, ..KEEP };
        let mut log = folder.open(keep);
        for line in 0..500 {
            log.write_all(LINE).unwrap();
            let bytes: u64 = folder.files().iter().map(|(_, bytes)| bytes).sum();
            assert!(bytes <= 100 + 30, "{bytes} bytes after line {line}");
        }
        let newest = [
            ("2026-11-28.164.", 30),
            ("2026-11-28.165.", 30),
            ("2026-11-28.166.", 20),
        ];
        assert!(
            folder.files().ends_with(&files(newest)),
            "the oldest go: {:?}",
            folder.files()
        );
    }

    #[test]
    fn a_restart_goes_on_where_the_last_run_stopped() {
        let folder = Folder::new();
        for _ in 0..4 {
            folder.open(KEEP).write_all(LINE).unwrap();
        }
        assert_eq!(folder.files(), files([("2026-11-28.001.", 10), ("2026-11-28.", 30)]));
    }

    #[test]
    fn a_line_larger_than_a_file_is_written_whole_and_alone() {
        let folder = Folder::new();
        let mut log = folder.open(KEEP);
        log.write_all(LINE).unwrap();
        log.write_all(&[b'x'; 50]).unwrap();
        log.write_all(LINE).unwrap();
        let expected = [("2026-11-28.001.", 50), ("2026-11-28.002.", 10), ("2026-11-28.", 10)];
        assert_eq!(folder.files(), files(expected));
    }

    #[test]
    fn a_clock_that_is_put_back_changes_no_file() {
        let folder = Folder::new();
        let mut log = folder.open(KEEP);
        log.write_all(LINE).unwrap();
        folder.pass(-DAY);
        log.write_all(LINE).unwrap();
        assert_eq!(folder.files(), files([("2026-11-28.", 20)]));
    }

    #[test]
    fn a_folder_that_is_gone_loses_nothing_that_the_open_file_can_take() {
        let folder = Folder::new();
        let mut log = folder.open(KEEP);
        fs::remove_dir_all(folder.folder.path()).unwrap();
        for _ in 0..5 {
            log.write_all(LINE).unwrap();
        }
        fs::create_dir(folder.folder.path()).unwrap();
        log.write_all(LINE).unwrap();
        assert_eq!(
            folder.files(),
            files([("2026-11-28.", 10)]),
            "and goes on when it is back"
        );
    }
}
