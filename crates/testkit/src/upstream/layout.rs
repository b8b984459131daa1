//! From a behaviour to the sequence of writes and pauses that it means. No IO: what is sent when is decided here and
//! can be read off in a test; `play` only does it.

use std::ops::Range;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::behaviour::{Behaviour, Chunking, Framing};
use super::fault::{Gate, HeadFault, How};
use super::rendered::Rendered;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Write the head; it leaves together with the first chunk unless something stands between them.
    Head(Bytes),
    /// Write the head byte by byte.
    Trickle(Bytes, Duration),
    /// Write a chunk: its framed bytes, and how many of them are body.
    Chunk {
        framed: Bytes,
        body: usize,
    },
    /// Write the end of the framing.
    Last(Bytes),
    Pause(Duration),
    Hold(Gate),
}

/// What happens after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is whole. The next request may come on the same connection, or not.
    Whole {
        keep_alive: bool,
    },
    /// The script cut it, framing correct.
    Short {
        keep_alive: bool,
    },
    Reset,
    Close,
    Stall,
}

/// What to do for one call.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
}

impl Plan {
    /// `keep_alive` is what the client wants; `no_body` is set for answers to HEAD.
    pub(crate) fn lay_out(behaviour: &Behaviour, rendered: &Rendered, keep_alive: bool, no_body: bool) -> Self {
        let mut steps = before_head(behaviour);
        if let Some(end) = instead_of_head(behaviour.head, &mut steps) {
            return Self { steps, end };
        }
        let framing = framing(behaviour.framing, rendered);
        let whole = Bytes::from(rendered.events.concat());
        let stop = behaviour.cut.map_or(whole.len(), |cut| cut.at.offset(rendered));
        let announced = if behaviour.cut.is_some_and(|cut| cut.how == How::End) {
            stop
        } else {
            whole.len()
        };
        let keep_alive = keep_alive && framing != Framing::UntilClose;
        let head = head(rendered, framing, announced, keep_alive);
        steps.push(match behaviour.head {
            HeadFault::Trickle(pause) => Step::Trickle(head, pause),
            _ => Step::Head(head),
        });
        if !no_body {
            body(&mut steps, behaviour, rendered, framing, &whole.slice(..stop));
        }
        // The head has promised keep-alive by now; hanging up breaks that promise.
        let end = end(behaviour, keep_alive && !behaviour.hang_up);
        if matches!(end, End::Whole { .. } | End::Short { .. }) && framing == Framing::Chunked && !no_body {
            steps.push(Step::Last(Bytes::from_static(b"0\r\n\r\n")));
        }
        Self { steps, end }
    }
}

fn before_head(behaviour: &Behaviour) -> Vec<Step> {
    let mut steps = Vec::new();
    if !behaviour.before_head.is_zero() {
        steps.push(Step::Pause(behaviour.before_head));
    }
    steps.extend(behaviour.hold_head.clone().map(Step::Hold));
    steps
}

fn instead_of_head(fault: HeadFault, steps: &mut Vec<Step>) -> Option<End> {
    match fault {
        HeadFault::None | HeadFault::Trickle(_) => None,
        HeadFault::Reset => Some(End::Reset),
        HeadFault::Close => Some(End::Close),
        HeadFault::Stall => Some(End::Stall),
        HeadFault::Garbage => {
            steps.push(Step::Head(Bytes::from_static(
                b"\x15\x03\x01\x00\x02this is no HTTP\r\n\r\n",
            )));
            Some(End::Close)
        }
    }
}

fn framing(wanted: Framing, rendered: &Rendered) -> Framing {
    match wanted {
        Framing::Usual if rendered.streamed => Framing::Chunked,
        Framing::Usual => Framing::Length,
        other => other,
    }
}

fn head(rendered: &Rendered, framing: Framing, announced: usize, keep_alive: bool) -> Bytes {
    let mut head = BytesMut::new();
    head.put_slice(format!("HTTP/1.1 {} {}\r\n", rendered.status, reason(rendered.status)).as_bytes());
    for (name, value) in &rendered.headers {
        head.put_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    match framing {
        Framing::Length | Framing::Usual => head.put_slice(format!("content-length: {announced}\r\n").as_bytes()),
        Framing::Chunked => head.put_slice(b"transfer-encoding: chunked\r\n"),
        Framing::UntilClose => {}
    }
    if !keep_alive {
        head.put_slice(b"connection: close\r\n");
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Scripted",
    }
}

fn body(steps: &mut Vec<Step>, behaviour: &Behaviour, rendered: &Rendered, framing: Framing, body: &Bytes) {
    if !behaviour.before_body.is_zero() {
        steps.push(Step::Pause(behaviour.before_body));
    }
    let mut holds: Vec<(usize, &Gate)> = behaviour
        .holds
        .iter()
        .map(|hold| (hold.at.offset(rendered), &hold.gate))
        .collect();
    holds.sort_by_key(|(offset, _)| *offset);
    let boundaries: Vec<usize> = holds.iter().map(|(offset, _)| *offset).collect();
    let mut holds = holds.into_iter().peekable();
    let mut first = true;
    for range in split_at(ranges(&behaviour.chunking, rendered, body.len()), &boundaries) {
        while let Some((_, gate)) = holds.next_if(|(offset, _)| *offset <= range.start) {
            steps.push(Step::Hold(gate.clone()));
        }
        if !first && !behaviour.between_chunks.is_zero() {
            steps.push(Step::Pause(behaviour.between_chunks));
        }
        first = false;
        steps.push(chunk(body.slice(range), framing));
    }
    steps.extend(
        holds
            .filter(|(offset, _)| *offset <= body.len())
            .map(|(_, gate)| Step::Hold(gate.clone())),
    );
}

fn chunk(bytes: Bytes, framing: Framing) -> Step {
    let body = bytes.len();
    if framing != Framing::Chunked {
        return Step::Chunk { framed: bytes, body };
    }
    let mut framed = BytesMut::with_capacity(body + 16);
    framed.put_slice(format!("{body:x}\r\n").as_bytes());
    framed.put_slice(&bytes);
    framed.put_slice(b"\r\n");
    Step::Chunk {
        framed: framed.freeze(),
        body,
    }
}

/// The chunks of a body of `length` bytes; none is empty.
fn ranges(chunking: &Chunking, rendered: &Rendered, length: usize) -> Vec<Range<usize>> {
    let sizes: Vec<usize> = match chunking {
        Chunking::Events => rendered.events.iter().map(Bytes::len).collect(),
        Chunking::Whole => vec![length],
        Chunking::Size(size) => vec![*size],
        Chunking::Sizes(sizes) => sizes.clone(),
    };
    let sizes: Vec<usize> = sizes.into_iter().filter(|size| *size > 0).collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    let mut next = sizes.iter().cycle();
    while at < length {
        let size = next.next().copied().unwrap_or(length);
        ranges.push(at..length.min(at + size));
        at += size;
    }
    ranges
}

/// The same chunks with boundaries at these offsets (sorted) as well.
fn split_at(ranges: Vec<Range<usize>>, boundaries: &[usize]) -> Vec<Range<usize>> {
    let mut split = Vec::with_capacity(ranges.len() + boundaries.len());
    for range in ranges {
        let mut start = range.start;
        for boundary in boundaries.iter().copied().filter(|at| range.contains(at)) {
            if boundary > start {
                split.push(start..boundary);
                start = boundary;
            }
        }
        split.push(start..range.end);
    }
    split
}

fn end(behaviour: &Behaviour, keep_alive: bool) -> End {
    match behaviour.cut.map(|cut| cut.how) {
        None => End::Whole { keep_alive },
        Some(How::End) => End::Short { keep_alive },
        Some(How::Reset) => End::Reset,
        Some(How::Close) => End::Close,
        Some(How::Stall) => End::Stall,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::At;
    use super::*;

    fn rendered() -> Rendered {
        Rendered {
            events: ["aaa\n\n", "bb\n\n"].map(Bytes::from).to_vec(),
            streamed: true,
            finish: 1,
            terminator: 1,
            ..Rendered::whole(200, "text/event-stream", "")
        }
    }

    fn chunks(plan: &Plan) -> Vec<String> {
        let body = |step: &Step| match step {
            Step::Chunk { framed, .. } => Some(String::from_utf8(framed.to_vec()).unwrap()),
            _ => None,
        };
        plan.steps.iter().filter_map(body).collect()
    }

    fn plan(behaviour: Behaviour) -> Plan {
        Plan::lay_out(&behaviour.framed(Framing::UntilClose), &rendered(), true, false)
    }

    #[test]
    fn bodies_are_cut_at_any_boundary_and_none_is_lost() {
        assert_eq!(chunks(&plan(Behaviour::default())), ["aaa\n\n", "bb\n\n"]);
        assert_eq!(
            chunks(&plan(Behaviour::default().chunked(Chunking::Size(4)))),
            ["aaa\n", "\nbb\n", "\n"]
        );
        let sizes = Chunking::Sizes(vec![1, 0, 3]);
        assert_eq!(
            chunks(&plan(Behaviour::default().chunked(sizes))),
            ["a", "aa\n", "\n", "bb\n", "\n"]
        );
        assert_eq!(
            chunks(&plan(Behaviour::default().chunked(Chunking::Size(0)))),
            ["aaa\n\nbb\n\n"]
        );
    }

    #[test]
    fn holds_stand_exactly_where_they_were_put() {
        let gate = Gate::closed();
        let plan = plan(
            Behaviour::default()
                .chunked(Chunking::Whole)
                .hold(At::Events(1), &gate)
                .hold(At::Bytes(2), &gate),
        );
        assert_eq!(chunks(&plan), ["aa", "a\n\n", "bb\n\n"]);
        let holds: Vec<bool> = plan.steps.iter().map(|step| matches!(step, Step::Hold(_))).collect();
        assert_eq!(holds, [false, false, true, false, true, false]);
    }

    #[test]
    fn a_cut_body_promises_the_whole_unless_it_is_to_look_whole() {
        let lengths = [How::Close, How::End].map(|how| {
            let behaviour = Behaviour::default().cut(At::Bytes(6), how).framed(Framing::Length);
            let plan = Plan::lay_out(&behaviour, &rendered(), true, false);
            let Step::Head(head) = &plan.steps[0] else {
                panic!("the head comes first")
            };
            let head = String::from_utf8(head.to_vec()).unwrap();
            (
                head.contains("content-length: 9\r\n"),
                head.contains("content-length: 6\r\n"),
                chunks(&plan).concat().len(),
            )
        });
        assert_eq!(lengths, [(true, false, 6), (false, true, 6)]);
    }
}
