//! One account that turns from request to request of a batch: each has a receipt of its own, and takes its part of the one
//! hold.

use std::sync::Arc;

use domain::snapshot::Route;
use domain::{CallId, Surface};

use super::Settlement;

impl Settlement {
    /// Where a request of a batch is estimated, it is by its part of what all of them are.
    pub(crate) const fn share_body(&mut self, requests: usize) {
        if let Some(share) = self.body_bytes.checked_div(requests) {
            self.body_bytes = share;
        }
    }

    /// Turns to the next request of a batch: an account of its own that shares the hold of the whole.
    pub(crate) fn turn_to(&mut self, call: CallId, surface: Surface, route: Arc<Route>) {
        if !self.is_shared {
            self.is_shared = true;
            self.session = Some(self.call);
        }
        self.gateway.metrics.call_opened();
        (self.call, self.surface) = (call, surface);
        self.model.clone_from(&route.model);
        self.route = route;
    }

    /// Turns back from its requests to the batch itself.
    pub(crate) const fn turn_back(&mut self, surface: Surface) {
        if let Some(batch) = self.session.take() {
            self.call = batch;
        }
        (self.surface, self.is_shared) = (surface, false);
    }
}
