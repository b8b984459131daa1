//! What a task asks for, in the units that it may be billed by.
//!
//! A chat is measured in tokens that the provider reports. Pictures, sounds and rankings are billed by tokens at one
//! provider and by the piece at the next, and some report nothing at all: then what the request asks for is what is known.

use crate::Usage;

/// What a task asks for. Only the buckets of [`Usage`] that are counted by the piece are filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// What will probably be used.
    pub asked: Usage,
    /// What can be used at most.
    pub most: Usage,
    /// Bytes of the request that become tokens of text: files are not among them.
    pub text_bytes: u64,
    /// Pictures that are sent, or referred to.
    pub pictures: u64,
    /// The quality of the pictures that are asked for, where the request says it.
    pub quality: Option<String>,
    /// Their size (`1024x1536`), where the request says it.
    pub size: Option<String>,
}
