//! From the fuzzer's bytes to a case: the first three choose, the rest is the input.
//!
//! The layout is that of `dialects::fuzz`, so that one corpus serves both. Whatever else must vary (where a stream is cut)
//! is drawn from a hash of the bytes: a corpus file stays a whole case, and no byte of it is spent on it.

use domain::{Dialect, Operation, Surface};

/// What the first bytes chose, and the rest.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Dialect and operation.
    pub surface: Surface,
    /// Options, as each target reads them.
    pub options: u8,
    /// The input.
    pub body: &'a [u8],
}

impl<'a> Case<'a> {
    /// Reads the layout.
    pub fn read(data: &'a [u8]) -> Self {
        let pick = |at: usize| data.get(at).copied().unwrap_or(0);
        let dialect = Dialect::ALL[usize::from(pick(0)) % Dialect::ALL.len()];
        let operation = Operation::ALL[usize::from(pick(1)).wrapping_sub(usize::from(b'0')) % Operation::ALL.len()];
        Self {
            surface: Surface::new(operation, dialect),
            options: pick(2),
            body: data.get(3..).unwrap_or_default(),
        }
    }
}

/// Numbers that are the same for the same bytes.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Begins at a hash (FNV-1a) of `data`.
    pub fn from(data: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// A number from 0 to `below`, that excluded (splitmix64).
    pub fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap_or(0)
    }
}
