//! Starts libFuzzer on the claims of `tollgate_fuzz::translate`; they live in the library so that tests can run them too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_fuzz::translate::check(data));
