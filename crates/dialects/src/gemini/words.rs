//! Gemini's words for why an answer ended.

use domain::FailureClass;

use crate::answer::ReportedFailure;
use crate::hub::{Stop, StopReason};

/// Reasons of the provider's filters.
const FILTERS: [&str; 9] = [
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
];

/// Further reasons that are neither an end nor a bound nor a filter.
const OTHERS: [&str; 12] = [
    "OTHER",
    "ESCALATION",
    "LANGUAGE",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "CONTINUATION",
    "PUP_LIMITED_DISABLED",
];

/// Those of them that say that there is no answer: other formats have an error for it (`wire-facts.md` §5.5), and a word for
/// a good end would make an empty failure look complete.
const FAILURES: [&str; 9] = [
    "OTHER",
    "LANGUAGE",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "IMAGE_OTHER",
    "NO_IMAGE",
];

/// Whether an answer that ends so is none.
pub(crate) fn is_failure(word: &str, has_call: bool) -> bool {
    FAILURES.contains(&word) && read(word, has_call).reason == StopReason::Other
}

/// The failure that such a word stands for.
pub(crate) fn failure(word: &str) -> ReportedFailure {
    let words = format!("the model ended its answer with {word}");
    ReportedFailure::told(FailureClass::Nonsense, None, words)
}

/// Reads a `finishReason`. A tool call ends with `STOP` too, so that must be known besides.
pub(crate) fn read(word: &str, has_call: bool) -> Stop {
    let reason = match word {
        // The second: a call of a tool that was not declared. It is told, and the client can say so to the model.
        "STOP" | "UNEXPECTED_TOOL_CALL" if has_call => StopReason::Tool,
        "STOP" => StopReason::End,
        "MAX_TOKENS" => StopReason::Length,
        _ if FILTERS.contains(&word) => StopReason::Filter,
        _ => StopReason::Other,
    };
    Stop {
        reason,
        sequence: None,
        raw: word.to_owned(),
    }
}

/// Reads a `blockReason`: whatever it says, nothing was answered because of it.
pub(crate) fn blocked(word: &str) -> Stop {
    Stop {
        reason: StopReason::Filter,
        sequence: None,
        raw: word.to_owned(),
    }
}

/// The `finishReason` of a stop.
pub(crate) fn write(stop: &Stop) -> &str {
    match stop.reason {
        StopReason::End | StopReason::Sequence | StopReason::Tool | StopReason::Pause => "STOP",
        StopReason::Length | StopReason::Context => "MAX_TOKENS",
        StopReason::Filter => FILTERS.iter().find(|word| **word == stop.raw).unwrap_or(&"SAFETY"),
        StopReason::Other => OTHERS.iter().find(|word| **word == stop.raw).unwrap_or(&"OTHER"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for word in ["STOP", "MAX_TOKENS"].iter().chain(&FILTERS).chain(&OTHERS) {
            assert_eq!(write(&read(word, false)), *word);
        }
        assert_eq!(read("STOP", true).reason, StopReason::Tool);
        assert_eq!(read("UNEXPECTED_TOOL_CALL", true).reason, StopReason::Tool);
        assert_eq!(read("UNEXPECTED_TOOL_CALL", false).reason, StopReason::Other);
        assert_eq!(read("SOMETHING_NEW", false).reason, StopReason::Other);
        assert_eq!(write(&read("SOMETHING_NEW", false)), "OTHER");
        assert_eq!(write(&Stop::new(StopReason::Filter)), "SAFETY");
        assert_eq!(blocked("OTHER").reason, StopReason::Filter);
    }
}
