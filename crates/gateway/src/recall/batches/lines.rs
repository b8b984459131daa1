//! The lines of a file at an upstream, one after the other, without keeping the file.

use crate::dispatch::Source;
use crate::limits::{BATCH_FILE_MAX, BATCH_LINE_MAX};

/// Reads lines.
pub(super) struct Lines {
    source: Source,
    /// What was read and not given yet, from `start`.
    ahead: Vec<u8>,
    start: usize,
    bytes: u64,
    is_over: bool,
}

impl Lines {
    pub(super) const fn new(source: Source) -> Self {
        Self {
            source,
            ahead: Vec::new(),
            start: 0,
            bytes: 0,
            is_over: false,
        }
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, String> {
        let mut seen = self.start;
        loop {
            let found = memchr::memchr(b'\n', self.ahead.get(seen..).unwrap_or_default());
            let end = match found {
                Some(at) => seen + at,
                None if self.is_over => self.ahead.len(),
                None => {
                    self.ahead.drain(..self.start);
                    self.start = 0;
                    seen = self.ahead.len();
                    self.read().await?;
                    continue;
                }
            };
            let begin = self.start;
            if begin >= self.ahead.len() {
                return Ok(None);
            }
            self.start = end + 1;
            seen = self.start;
            if self
                .ahead
                .get(begin..end)
                .is_some_and(|line| !line.trim_ascii().is_empty())
            {
                return Ok(self.ahead.get(begin..end));
            }
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        let Some(next) = self.source.next().await else {
            self.is_over = true;
            return Ok(());
        };
        let data = next.map_err(|error| error.to_string())?;
        self.bytes += data.len() as u64;
        if self.bytes > BATCH_FILE_MAX {
            return Err(format!("the file is over {BATCH_FILE_MAX} bytes"));
        }
        if self.ahead.len() + data.len() > BATCH_LINE_MAX {
            return Err(format!("a line is over {BATCH_LINE_MAX} bytes"));
        }
        self.ahead.extend_from_slice(&data);
        Ok(())
    }
}
