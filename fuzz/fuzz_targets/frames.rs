//! Starts libFuzzer on the claims of `tollgate_fuzz::frames`; they live in the library so that tests can run them too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_fuzz::frames::check(data));
