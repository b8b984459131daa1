//! What must hold for any bytes at all.
//!
//! Each module has one `check`, which takes the fuzzer's bytes and panics where a claim is broken. They are a library so
//! that `cargo test` runs them over the seeds, and so that a claim can itself be tested. The oracles are `serde_json`, a few
//! naive readers written from the formats' descriptions, and the same code run another way; never the code under test.
#![forbid(unsafe_code)]

pub mod answer;
pub mod case;
#[cfg(feature = "config")]
pub mod config;
pub mod frames;
#[cfg(feature = "journal")]
pub mod journal;
pub mod json;
pub mod request;
pub mod stream;
pub mod translate;
mod usage;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// The seeds of a target, so that a claim that does not even hold for them is found by `cargo test`.
    fn seeds(target: &str, check: fn(&[u8])) {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
        assert!(!files.is_empty());
        for file in files {
            check(&std::fs::read(file.path()).unwrap());
        }
    }

    #[test]
    fn seeds_of_streams_hold() {
        seeds("stream", super::stream::check);
    }

    #[test]
    fn seeds_of_requests_hold() {
        seeds("request", super::request::check);
    }

    #[test]
    fn seeds_of_answers_hold() {
        seeds("answer", super::answer::check);
    }

    #[test]
    fn seeds_of_translations_hold() {
        seeds("translate", super::translate::check);
    }

    #[test]
    fn seeds_of_frames_hold() {
        seeds("frames", super::frames::check);
    }

    #[test]
    #[cfg(feature = "config")]
    fn seeds_of_configurations_hold() {
        seeds("config", super::config::check);
    }

    #[test]
    #[cfg(feature = "journal")]
    fn seeds_of_journals_hold() {
        seeds("journal", super::journal::check);
    }
}
