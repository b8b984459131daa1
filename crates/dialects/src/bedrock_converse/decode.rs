//! Placeholder of the skeleton: replaced by the dialect's decoders.

use crate::answer::Nonsense;
use crate::hub::{Answer, BadRequest, Event, Request};

pub(crate) fn request(_body: &[u8]) -> Result<Request, BadRequest> {
    Err(BadRequest::new(
        "body",
        "requests of this format are not translated yet",
    ))
}

pub(crate) fn answer(_body: &[u8]) -> Result<Answer, Nonsense> {
    Err(Nonsense::Lacks("a decoder"))
}

#[derive(Debug, Default)]
pub(crate) struct StreamDecoder;

impl StreamDecoder {
    pub(crate) fn event(&mut self, _data: &[u8], _out: &mut Vec<Event>) -> Result<(), Nonsense> {
        Err(Nonsense::Lacks("a decoder"))
    }

    pub(crate) fn finish(&mut self, _out: &mut Vec<Event>) {}
}
