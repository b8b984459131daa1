//! Starts libFuzzer on the claims of `tollgate_fuzz::config`; they live in the library so that tests can run them too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_fuzz::config::check(data));
