//! The tap on a stream: what comes out came in, whole events only, and the same however it was cut.

use bytes::Bytes;
use dialects::{Report, StreamEnd, StreamTap, TapOptions};
use domain::Dialect;

use crate::case::{Case, Draw};
use crate::json;
use crate::usage;

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What came of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    released: Vec<u8>,
    end: StreamEnd,
    report: Report,
    has_content: bool,
}

/// The claims.
pub fn check(data: &[u8]) {
    dialects::fuzz::stream(data);
    let case = Case::read(data);
    let options = TapOptions {
        surface: case.surface,
        hide_usage_chunk: case.options & 1 != 0,
        json_array: case.options & 2 != 0,
    };
    let ended = tapped(options, case.body, true, whole);
    let broken_off = tapped(options, case.body, false, whole);
    cuts_do_not_matter(options, data, case.body, &ended, &broken_off);
    only_what_came(options, case.body, &ended, additions(options));
    only_what_came(options, case.body, &broken_off, &[b""]);
    only_whole_events(options, case.body, &ended);
    if options.hide_usage_chunk {
        only_usage_is_hidden(options, case.body, &ended);
    }
    usage::check(&ended.report, case.body.len());
}

fn cuts_do_not_matter(options: TapOptions, data: &[u8], body: &[u8], ended: &Outcome, broken_off: &Outcome) {
    let mut draw = Draw::from(data);
    let bytewise = |_: usize| 1;
    assert_eq!(ended, &tapped(options, body, true, bytewise), "byte by byte");
    let longest = draw.below(body.len() / 2 + 1) + 1;
    for (clean, expected) in [(true, ended), (false, broken_off)] {
        for longest in [8, longest] {
            let mut draw = draw.clone();
            // Pieces of no bytes, too: a body may have empty frames.
            let got = tapped(options, body, clean, |_| draw.below(longest + 1));
            assert_eq!(expected, &got, "in pieces of up to {longest} bytes");
        }
    }
    if !body.is_empty() {
        let at = draw.below(body.len());
        let got = tapped(
            options,
            body,
            true,
            |from| if from < at { at - from } else { body.len() },
        );
        assert_eq!(ended, &got, "in two pieces, cut at {at}");
    }
}

/// Runs a tap; `size` is asked for the length of the piece that begins at an offset.
fn tapped(options: TapOptions, body: &[u8], clean: bool, mut size: impl FnMut(usize) -> usize) -> Outcome {
    let mut tap = StreamTap::new(options);
    let mut out = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let end = at.saturating_add(size(at)).min(body.len());
        tap.push(Bytes::copy_from_slice(&body[at..end]), &mut out);
        at = end;
    }
    let end = tap.finish(clean);
    Outcome {
        released: out.concat(),
        end,
        report: tap.report(),
        has_content: tap.has_content(),
    }
}

fn whole(_: usize) -> usize {
    usize::MAX
}

/// What a tap may add to a whole answer that ended without its terminator.
fn additions(options: TapOptions) -> &'static [&'static [u8]] {
    match options.surface.dialect {
        Dialect::OpenaiChat => &[b"", b"data: [DONE]\n\n", b"\ndata: [DONE]\n\n", b"\n\ndata: [DONE]\n\n"],
        Dialect::AnthropicMessages => &[
            b"",
            b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            b"\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            b"\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
        Dialect::Gemini if options.json_array => &[b"", b"]"],
        _ => &[b""],
    }
}

fn only_what_came(options: TapOptions, body: &[u8], outcome: &Outcome, additions: &[&[u8]]) {
    let released = &outcome.released;
    assert!(is_within(released, body), "something was released that never came");
    if !options.hide_usage_chunk {
        assert!(body.starts_with(released), "something is missing in what was released");
    }
    let is_complete = matches!(outcome.end, StreamEnd::Complete { .. });
    assert_eq!(outcome.report.complete, is_complete);
    let StreamEnd::Complete { last } = &outcome.end else {
        return;
    };
    let all = [released, &last[..]].concat();
    let explained = additions
        .iter()
        .any(|added| last.ends_with(added) && is_within(&all[..all.len() - added.len()], body));
    assert!(explained, "an end that neither came nor may be added: {last:?}");
}

/// Whether `part` is left of `all` when some bytes are taken away.
fn is_within(part: &[u8], all: &[u8]) -> bool {
    let mut rest = all.iter();
    part.iter().all(|byte| rest.any(|other| other == byte))
}

fn only_whole_events(options: TapOptions, body: &[u8], outcome: &Outcome) {
    if options.json_array && options.surface.dialect == Dialect::Gemini {
        if let (StreamEnd::Complete { last }, None) = (&outcome.end, &outcome.report.failure) {
            let all = [&outcome.released, &last[..]].concat();
            assert!(json::is_json(&all), "a whole array that is no JSON: {all:?}");
        }
        return;
    }
    // Only the first bytes of what came are a mark; another behind a hidden event is a field's name that nobody knows.
    let mark: &[u8] = if body.starts_with(MARK) { MARK } else { b"" };
    let released = outcome.released.strip_prefix(mark).unwrap_or(&outcome.released);
    let (events, rest) = events(released);
    assert!(rest.is_empty(), "half an event was released: {rest:?}");
    for event in events {
        let data = data(event);
        let data = data.trim_ascii();
        assert!(
            data.is_empty() || json::is_object(data),
            "an event that is no JSON object was released: {data:?}"
        );
    }
}

/// What is hidden is whole events, each with usage and without choices; nothing else differs.
fn only_usage_is_hidden(options: TapOptions, body: &[u8], hidden: &Outcome) {
    let options = TapOptions {
        hide_usage_chunk: false,
        ..options
    };
    let shown = tapped(options, body, true, whole);
    assert_eq!(shown.report, hidden.report);
    assert_eq!(shown.has_content, hidden.has_content);
    let (all, kept) = match (&shown.end, &hidden.end) {
        (StreamEnd::Complete { last: all }, StreamEnd::Complete { last: kept }) => (&all[..], &kept[..]),
        (all, kept) => {
            assert_eq!(all, kept);
            (&b""[..], &b""[..])
        }
    };
    let (all, kept) = ([&shown.released, all].concat(), [&hidden.released, kept].concat());
    // Whether a `\n` after a `\r\r` belongs to it is the framer's to say.
    if body.contains(&b'\r') || options.json_array {
        return;
    }
    let (mut kept, _) = events(&kept);
    kept.reverse();
    for event in events(&all).0 {
        if kept.last() == Some(&event) {
            kept.pop();
        } else {
            assert!(is_usage_only(event), "more than usage was hidden: {event:?}");
        }
    }
    assert!(kept.is_empty(), "hiding made an event: {kept:?}");
}

fn is_usage_only(event: &[u8]) -> bool {
    let event = event.strip_prefix(MARK).unwrap_or(event);
    let data = data(event);
    let Some(value) = json::unambiguous(data.trim_ascii()) else {
        return json::is_object(data.trim_ascii());
    };
    let has_usage = value.get("usage").is_some_and(serde_json::Value::is_object)
        || value.pointer("/x_groq/usage").is_some_and(serde_json::Value::is_object);
    let choices = value.get("choices").and_then(serde_json::Value::as_array);
    has_usage && choices.is_none_or(Vec::is_empty)
}

/// Events as the specification has them: lines up to a blank one. Also what follows the last.
fn events(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut events, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(length) = line(&bytes[at..]) {
        let is_blank = matches!(bytes[at], b'\n' | b'\r');
        at += length;
        if is_blank {
            events.push(&bytes[begin..at]);
            begin = at;
        }
    }
    (events, &bytes[begin..])
}

/// The length of the first line with its end, if it ends.
fn line(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    Some(if bytes[end..].starts_with(b"\r\n") {
        end + 2
    } else {
        end + 1
    })
}

/// The data of an event.
fn data(event: &[u8]) -> Vec<u8> {
    let mut values: Vec<&[u8]> = Vec::new();
    let mut rest = event;
    while !rest.is_empty() {
        let length = line(rest).unwrap_or(rest.len());
        let (text, after) = rest.split_at(length);
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text == b"data" {
            values.push(b"");
        } else if let Some(value) = text.strip_prefix(b"data:") {
            values.push(value.strip_prefix(b" ").unwrap_or(value));
        }
        rest = after;
    }
    values.join(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_told() {
        assert!(is_within(b"ac", b"abc") && is_within(b"", b""));
        assert!(!is_within(b"ca", b"abc") && !is_within(b"abcc", b"abc"));
    }

    #[test]
    fn events_are_cut_at_blank_lines() {
        let (found, rest) = events(b"data: 1\r\n\r\nx\r\rdata\n");
        assert_eq!(found, [&b"data: 1\r\n\r\n"[..], b"x\r\r"]);
        assert_eq!(rest, b"data\n");
        assert_eq!(data(b"data: {\r\ndata:  1}\r\n\r\n"), b"{\n 1}");
    }

    #[test]
    fn only_usage_passes_for_usage() {
        assert!(is_usage_only(b"data: {\"choices\":[],\"usage\":{}}\n\n"));
        assert!(!is_usage_only(b"data: {\"choices\":[{}],\"usage\":{}}\n\n"));
        assert!(!is_usage_only(b"data: {\"choices\":[]}\n\n"));
    }
}
