//! The one failure type of the data plane's own refusals.
//!
//! Whatever goes wrong ends as a [`Fault`]: its kind decides status and machine-readable code, its message says what
//! is wrong and the mend. It is rendered in the caller's dialect in one place (`dialects::refusal`). What an
//! *upstream* did wrong on one attempt is a [`crate::Failure`]; only when the attempts are used up does it become a
//! fault.

use std::borrow::Cow;
use std::time::Duration;

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// 400: the request cannot be understood.
    Malformed,
    /// 401: no key, or one that is not known, expired or not usable from this address.
    Unauthenticated,
    /// 402: balance exhausted, or the call could cost more than what is left.
    BalanceExhausted,
    /// 402: policy `hard` and no price is known.
    Unpriced,
    /// 403: the key may not use the model or the path.
    Forbidden,
    /// 404: no such model.
    NoSuchModel,
    /// 404: no such path.
    NoSuchPath,
    /// 404: no such response, file or batch; or it is somebody else's, which is not told.
    NoSuchObject,
    /// 400: the response that is to be continued is not known. Clients send the whole conversation then.
    NoSuchPrevious,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 408: the client took too long to send its request.
    RequestTimeout,
    /// 413: the body is over the limit.
    TooLarge,
    /// 415: the body's encoding or type is not supported.
    UnsupportedMedia,
    /// 429: the key's own limit.
    RateLimited,
    /// 429: every candidate is limited by its provider.
    UpstreamLimited,
    /// 500: a defect of ours.
    Internal,
    /// 500: the upstream answered 500 each time it was tried.
    UpstreamFailed,
    /// 502: the upstream reset the connection or answered nonsense.
    BadGateway,
    /// 503: no candidate could be tried, or each refused our credential.
    Unavailable,
    /// 503: the journal cannot be written, so nothing may be given away.
    Unrecordable,
    /// 503: the gateway is at one of its own bounds, or shutting down.
    Saturated,
    /// 504: the upstream stayed silent.
    UpstreamTimeout,
    /// 529 in Anthropic's format, 503 elsewhere: the upstream is overloaded.
    Overloaded,
}

impl FaultKind {
    /// The HTTP status. `Overloaded` is 503 here; Anthropic's renderer makes it 529.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::NoSuchPrevious => 400,
            Self::Unauthenticated => 401,
            Self::BalanceExhausted | Self::Unpriced => 402,
            Self::Forbidden => 403,
            Self::NoSuchModel | Self::NoSuchPath | Self::NoSuchObject => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::RateLimited | Self::UpstreamLimited => 429,
            Self::Internal | Self::UpstreamFailed => 500,
            Self::BadGateway => 502,
            Self::Unavailable | Self::Unrecordable | Self::Saturated | Self::Overloaded => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// The machine-readable code in error bodies, logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_request",
            Self::Unauthenticated => "invalid_api_key",
            Self::BalanceExhausted => "insufficient_balance",
            Self::Unpriced => "unpriced_model",
            Self::Forbidden => "not_allowed",
            Self::NoSuchModel => "model_not_found",
            Self::NoSuchPath => "path_not_found",
            Self::NoSuchObject => "not_found",
            Self::NoSuchPrevious => "previous_response_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::TooLarge => "request_too_large",
            Self::UnsupportedMedia => "unsupported_media_type",
            Self::RateLimited => "rate_limit_exceeded",
            Self::UpstreamLimited => "upstream_rate_limited",
            Self::Internal => "internal_error",
            Self::UpstreamFailed | Self::BadGateway => "upstream_error",
            Self::Unavailable => "upstream_unavailable",
            Self::Unrecordable => "accounting_unavailable",
            Self::Saturated => "gateway_saturated",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Overloaded => "upstream_overloaded",
        }
    }
}

/// A refusal of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// What is wrong and the mend, for the caller. Never holds a secret or an upstream's own words about ours.
    pub message: Cow<'static, str>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// The method that the path takes, where that is what is wrong.
    pub allow: Option<&'static str>,
}

impl Fault {
    /// A fault with its message.
    pub fn new(kind: FaultKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            allow: None,
        }
    }

    /// A path that takes another method.
    pub fn method(method: &str, allowed: &'static str) -> Self {
        let fault = Self::new(
            FaultKind::MethodNotAllowed,
            format!("this path takes {allowed}, not {method}"),
        );
        Self {
            allow: Some(allowed),
            ..fault
        }
    }

    /// The same, with the time after which to try again.
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}
