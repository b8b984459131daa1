//! A client's stream: the machine that tells answers, with the events on the way and their numbers.

use super::answer::{Teller, Wire};
use crate::hub::{Event, Losses};
use crate::translate::{Footing, Reply};

/// Writes the events of a stream.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    teller: Box<Teller>,
    /// Events that were told.
    sequence: u64,
    is_kept: bool,
    /// The whole answer, for whoever keeps it.
    kept: Option<String>,
}

impl StreamEncoder {
    /// Of an answer to this request.
    pub(crate) fn new(reply: Reply) -> Self {
        Self {
            is_kept: reply.is_kept,
            kept: None,
            teller: Box::new(Teller::new(reply)),
            sequence: 0,
        }
    }

    /// Tells one event. `false`: more would have to be kept than may be.
    pub(crate) fn event(&mut self, event: Event, out: &mut Vec<u8>, losses: &mut Losses) -> bool {
        let mut wire = Wire::to(out, self.sequence);
        let fits = self.teller.event(event, &mut wire, losses);
        self.sequence = wire.sequence();
        fits
    }

    /// Tells the end of a whole stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, losses: &mut Losses) {
        let mut wire = Wire::to(out, self.sequence);
        let response = self.teller.finish(&mut wire, losses);
        self.sequence = wire.sequence();
        self.kept = self.is_kept.then(|| response.to_string());
    }

    /// Whether it can go on behind events of a provider that stand so.
    pub(crate) fn can_follow(&self, footing: &Footing) -> bool {
        !footing.is_lost && self.teller.stands_as(footing)
    }

    /// Goes on behind them.
    pub(crate) fn follow(&mut self, footing: &Footing, number: u64) {
        if footing.open.is_none() {
            self.teller.end_silently();
        }
        self.sequence = number;
    }

    /// The number of the event that could be told next.
    pub(crate) const fn next_number(&self) -> u64 {
        self.sequence
    }

    /// The whole answer, where it is to be kept.
    pub(crate) const fn take_kept(&mut self) -> Option<String> {
        self.kept.take()
    }
}
