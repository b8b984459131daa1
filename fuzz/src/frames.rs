//! Bedrock's binary streams: framed here, because no fuzzer hits upon a checksum, and damaged on purpose; raw bytes besides.

/// The claims.
pub fn check(data: &[u8]) {
    dialects::fuzz::framed(data);
    // The framer on anything at all: dialect 4 is Bedrock's (see `case`), the operation a chat.
    let raw = [&[4, 0], data].concat();
    dialects::fuzz::stream(&raw);
}
