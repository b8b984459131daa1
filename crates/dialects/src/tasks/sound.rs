//! The tap on an answer of sound: bytes that pass through as they are.
//!
//! There is nothing in them to look at, and nothing may be put between them: no sign of life, no error in words. Its last
//! byte is held back like the last event of a stream, so that the receipt can be written before the client has the whole.

use bytes::{Bytes, BytesMut};

use crate::answer::Report;
use crate::stream::{StreamEnd, StreamFault, TapState};

/// Passes sound through.
#[derive(Debug, Default)]
pub struct SoundTap {
    held: Bytes,
    has_content: bool,
    is_whole: bool,
}

impl SoundTap {
    /// Takes a chunk and appends to `out` what may go to the client now: all but the last byte so far.
    pub fn push(&mut self, mut chunk: Bytes, out: &mut Vec<Bytes>) -> TapState {
        if chunk.is_empty() {
            return TapState::Open;
        }
        self.has_content = true;
        let last = chunk.split_off(chunk.len() - 1);
        let before = std::mem::replace(&mut self.held, last);
        if before.is_empty() && !chunk.is_empty() {
            out.push(chunk);
        } else if !before.is_empty() {
            let mut joined = BytesMut::with_capacity(before.len() + chunk.len());
            joined.extend_from_slice(&before);
            joined.extend_from_slice(&chunk);
            out.push(joined.freeze());
        }
        TapState::Open
    }

    /// The upstream's body ended: cleanly, or it broke off.
    pub fn finish(&mut self, clean_end: bool) -> StreamEnd {
        if clean_end && self.has_content {
            self.is_whole = true;
            let last = std::mem::take(&mut self.held);
            StreamEnd::Complete { last }
        } else {
            StreamEnd::Incomplete {
                why: StreamFault::Truncated,
            }
        }
    }

    /// Whether anything came.
    pub const fn has_content(&self) -> bool {
        self.has_content
    }

    /// What is known of it: nothing but whether it is whole.
    pub fn report(&self) -> Report {
        Report {
            complete: self.is_whole,
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_passes_in_order_and_the_last_one_last(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20),
        ) {
            let (mut tap, mut out) = (SoundTap::default(), Vec::new());
            for chunk in &chunks {
                tap.push(Bytes::copy_from_slice(chunk), &mut out);
            }
            let whole = chunks.concat();
            prop_assert_eq!(out.concat(), &whole[..whole.len().saturating_sub(1)]);
            prop_assert_eq!(tap.has_content(), !whole.is_empty());
            match tap.finish(true) {
                StreamEnd::Complete { last } => prop_assert_eq!(&last[..], &whole[whole.len() - 1..]),
                StreamEnd::Incomplete { .. } => prop_assert!(whole.is_empty()),
            }
        }
    }

    #[test]
    fn what_broke_off_is_not_whole() {
        let mut tap = SoundTap::default();
        tap.push(Bytes::from_static(b"abc"), &mut Vec::new());
        assert!(matches!(tap.finish(false), StreamEnd::Incomplete { .. }));
        assert!(!tap.report().complete);
    }
}
