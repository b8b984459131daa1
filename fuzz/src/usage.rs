//! What holds for every report, whatever was read.

use dialects::{Report, UsageReport};
use domain::Usage;

/// Counts beyond this are not the same in every reader of JSON.
const COUNT_MAX: u64 = 1 << 53;

/// The report of an answer (or stream) of so many bytes.
pub(crate) fn check(report: &Report, length: usize) {
    match &report.usage {
        UsageReport::None => {}
        UsageReport::Possible(usage) => check_usage(usage),
        UsageReport::Impossible { raw, why, .. } => {
            // A replacement character is three bytes for one.
            assert!(raw.len() <= 3 * 8 * 1024, "{} bytes of usage were kept", raw.len());
            assert!(!raw.is_empty() && !why.is_empty(), "{report:?}");
        }
    }
    assert!(report.side_usage.len() <= 64, "{} side usages", report.side_usage.len());
    for side in &report.side_usage {
        check_usage(&side.usage);
    }
    assert!(
        report.content_bytes <= length as u64,
        "{} bytes of content in {length}",
        report.content_bytes
    );
}

fn check_usage(usage: &Usage) {
    let sum = u128::from(usage.input)
        + u128::from(usage.cache_read)
        + u128::from(usage.cache_write_5m)
        + u128::from(usage.cache_write_1h)
        + u128::from(usage.output);
    assert!(sum <= u128::from(COUNT_MAX), "{usage:?}");
    assert!(usage.web_searches <= COUNT_MAX, "{usage:?}");
    assert!(usage.reasoning <= usage.output, "{usage:?}");
    assert!(
        usage.input_audio + usage.input_image <= usage.input && usage.output_audio + usage.output_image <= usage.output,
        "{usage:?}"
    );
    assert!(
        usage.cache_read_audio + usage.cache_read_image <= usage.cache_read,
        "{usage:?}"
    );
    assert!(
        usage.audio_ms.max(usage.reranks).max(usage.images) <= COUNT_MAX,
        "{usage:?}"
    );
    assert!(usage.cache_read_audio + usage.cache_read_image <= usage.cache_read, "{usage:?}");
    assert!(usage.audio_ms.max(usage.reranks).max(usage.images) <= COUNT_MAX, "{usage:?}");
}
