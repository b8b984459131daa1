//! Placeholder of the skeleton: replaced by the dialect's encoders.

use serde_json::Value;

use crate::hub::{Answer, BadRequest, Event, Losses, Request};
use crate::translate::{Reply, Target};

pub(crate) fn request(_request: Request, _target: &Target<'_>, _losses: &mut Losses) -> Result<Value, BadRequest> {
    Err(BadRequest::new(
        "body",
        "requests are not translated into this format yet",
    ))
}

pub(crate) fn answer(_answer: Answer, _reply: &Reply, _losses: &mut Losses) -> Value {
    Value::Null
}

#[derive(Debug)]
pub(crate) struct StreamEncoder {
    _reply: Reply,
}

impl StreamEncoder {
    pub(crate) fn new(reply: Reply) -> Self {
        Self { _reply: reply }
    }

    pub(crate) fn event(&mut self, _event: Event, _out: &mut Vec<u8>, _losses: &mut Losses) -> bool {
        false
    }

    pub(crate) fn finish(&mut self, _out: &mut Vec<u8>, _losses: &mut Losses) {}
}
