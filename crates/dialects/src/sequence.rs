//! Parts one after the other.
//!
//! Chat streams may interleave parallel tool calls; Anthropic's grammar has one open block at a time. The sequencer lets
//! the part that was opened first through as it comes and keeps what belongs to others until it is whole. Nothing is
//! reordered within a part, and a stream whose parts do not overlap passes through unchanged, without being held.

use std::collections::VecDeque;

use crate::hub::Event;
use crate::limits::WAITING_MAX;

/// A part's address: choice and place.
type Address = (u32, u32);

/// Puts overlapping parts in order.
#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    live: Option<Address>,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// What is kept of a part that is not its turn.
#[derive(Debug)]
struct Waiting {
    address: Address,
    events: Vec<Event>,
    is_whole: bool,
}

impl Sequencer {
    /// Takes an event and appends to `out` what may be told now. `false`: more is kept back than may be.
    pub(crate) fn push(&mut self, event: Event, out: &mut Vec<Event>) -> bool {
        let address = match &event {
            Event::Open { choice, place, .. } | Event::Delta { choice, place, .. } | Event::Close { choice, place } => {
                (*choice, *place)
            }
            // The end of a choice is the end of its parts; the rest belongs to no part.
            Event::Stop { choice, .. } => {
                self.close_all(*choice, out);
                out.push(event);
                return true;
            }
            _ => {
                out.push(event);
                return true;
            }
        };
        if self.live.is_none() && self.waiting.is_empty() && matches!(event, Event::Open { .. }) {
            self.live = Some(address);
        }
        if self.live == Some(address) {
            let is_close = matches!(event, Event::Close { .. });
            out.push(event);
            if is_close {
                self.live = None;
                self.advance(out);
            }
            return true;
        }
        self.keep(address, event);
        self.bytes <= WAITING_MAX
    }

    /// At the end of the stream: tells all that is left, each part closed.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        if let Some((choice, place)) = self.live.take() {
            out.push(Event::Close { choice, place });
        }
        for waiting in &mut self.waiting {
            waiting.is_whole = true;
        }
        self.advance(out);
    }

    fn keep(&mut self, address: Address, event: Event) {
        self.bytes += event.weight();
        let known = self.waiting.iter_mut().find(|waiting| waiting.address == address);
        match (known, &event) {
            (Some(waiting), Event::Close { .. }) => waiting.is_whole = true,
            (Some(waiting), _) => waiting.events.push(event),
            (None, Event::Open { .. }) => {
                self.waiting.push_back(Waiting {
                    address,
                    events: vec![event],
                    is_whole: false,
                });
            }
            // About a part that is closed or was never opened.
            (None, _) => {}
        }
    }

    /// The live part is over: what waits is told up to and including the first part that is not whole.
    fn advance(&mut self, out: &mut Vec<Event>) {
        while self.live.is_none()
            && let Some(next) = self.waiting.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(next.events.iter().map(Event::weight).sum());
            out.extend(next.events);
            let (choice, place) = next.address;
            if next.is_whole {
                out.push(Event::Close { choice, place });
            } else {
                self.live = Some(next.address);
            }
        }
    }

    fn close_all(&mut self, choice: u32, out: &mut Vec<Event>) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.address.0 == choice) {
            waiting.is_whole = true;
        }
        if let Some((live, place)) = self.live
            && live == choice
        {
            out.push(Event::Close { choice, place });
            self.live = None;
            self.advance(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Delta, Part, Stop, StopReason};

    fn open(place: u32) -> Event {
        Event::Open {
            choice: 0,
            place,
            part: Box::new(Part::text("")),
        }
    }

    fn more(place: u32, text: &str) -> Event {
        Event::Delta {
            choice: 0,
            place,
            delta: Delta::Text(text.to_owned()),
        }
    }

    fn close(place: u32) -> Event {
        Event::Close { choice: 0, place }
    }

    fn told(events: Vec<Event>) -> Vec<Event> {
        let (mut sequencer, mut out) = (Sequencer::default(), Vec::new());
        for event in events {
            assert!(sequencer.push(event, &mut out));
        }
        sequencer.finish(&mut out);
        out
    }

    #[test]
    fn parts_in_order_pass_through() {
        let events = vec![open(0), more(0, "a"), close(0), open(1), more(1, "b"), close(1)];
        assert_eq!(told(events.clone()), events);
    }

    #[test]
    fn overlapping_parts_are_told_one_after_the_other() {
        let events = vec![
            open(0),
            open(1),
            more(1, "b"),
            more(0, "a"),
            more(1, "B"),
            close(1),
            close(0),
        ];
        let expected = vec![
            open(0),
            more(0, "a"),
            close(0),
            open(1),
            more(1, "b"),
            more(1, "B"),
            close(1),
        ];
        assert_eq!(told(events), expected);
    }

    #[test]
    fn the_end_of_a_choice_closes_its_parts() {
        let stop = Event::Stop {
            choice: 0,
            stop: Stop::new(StopReason::Tool),
        };
        let events = vec![open(0), open(1), more(1, "b"), stop.clone()];
        assert_eq!(
            told(events),
            vec![open(0), close(0), open(1), more(1, "b"), close(1), stop]
        );
    }

    #[test]
    fn what_is_kept_back_is_bounded() {
        let (mut sequencer, mut out) = (Sequencer::default(), Vec::new());
        sequencer.push(open(0), &mut out);
        sequencer.push(open(1), &mut out);
        let big = "x".repeat(WAITING_MAX);
        assert!(!sequencer.push(more(1, &big), &mut out));
    }
}
