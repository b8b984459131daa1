//! Clients that call without pause and remember everything that was not as it should be.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use testkit::client::{Request, Response};

use crate::wait;

/// Running clients; dropping it without [`stop`](Self::stop) leaves them to end with their next call.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answers: AtomicUsize,
    seen: Mutex<Seen>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Call ids of whole answers.
    pub answered: HashSet<String>,
    /// Whole answers of another status.
    pub refused: Vec<Response>,
    /// Everything else: cut, reset, or a stream that ended in an error.
    pub broken: Vec<Response>,
}

impl Seen {
    /// Panics unless every call was answered.
    pub fn assert_no_failure(&self) {
        let first = self.refused.first().or(self.broken.first());
        let shown = first.map(|response| (response.status(), response.end, response.text()));
        let (refused, broken) = (self.refused.len(), self.broken.len());
        assert!(
            first.is_none(),
            "{refused} calls were refused and {broken} broke; the first: {shown:?}"
        );
    }
}

impl Load {
    /// `clients` threads that send `requests` in turn, each on a connection of its own.
    pub fn start(url: &str, clients: usize, requests: &[Request]) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..clients)
            .map(|client| {
                let (shared, url, requests) = (Arc::clone(&shared), url.to_owned(), requests.to_vec());
                std::thread::spawn(move || shared.run(&url, &requests, client))
            })
            .collect();
        Self { shared, clients }
    }

    /// Whole answers so far.
    pub fn answers(&self) -> usize {
        self.shared.answers.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    pub fn wait_for(&self, more: usize) {
        let goal = self.answers() + more;
        wait::until(&format!("{goal} answers"), || {
            self.answers() >= goal || self.trouble() > 0
        });
    }

    /// Calls so far that got no whole answer.
    pub fn trouble(&self) -> usize {
        let seen = self.shared.seen();
        seen.refused.len() + seen.broken.len()
    }

    /// Lets the calls under way end; what was seen.
    pub fn stop(self) -> Seen {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client ended badly; see above");
        }
        std::mem::take(&mut *self.shared.seen())
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, url: &str, requests: &[Request], client: usize) {
        for request in requests.iter().cycle().skip(client) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.note(request.send(url));
        }
    }

    fn note(&self, response: Response) {
        let id = response.header("x-request-id").map(str::to_owned);
        let mut seen = self.seen();
        match id {
            Some(id) if is_answer(&response) => {
                assert!(seen.answered.insert(id), "two answers with one call id");
                self.answers.fetch_add(1, Ordering::Relaxed);
            }
            _ if response.is_complete() && response.status() != 200 => seen.refused.push(response),
            _ => seen.broken.push(response),
        }
    }
}

/// Whether this is a whole answer in OpenAI's chat format.
fn is_answer(response: &Response) -> bool {
    let stream = response
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    let ended = !stream || response.text().trim_end().ends_with("data: [DONE]");
    response.is_complete() && response.status() == 200 && ended
}
