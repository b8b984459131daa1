//! What is known of a file of requests that Google keeps and does not give out again.
//!
//! Under policy `hard` all that a batch may cost is held, and `OpenAI`'s files are read for that at the upstream. Google's can
//! be uploaded and named, never read. But they are uploaded through here: a file that comes in one piece is looked through on
//! its way, and what its requests are like is remembered, each kind with its number, without a word of what they say. It is
//! forgotten by a restart and known to this process alone, which the refusal says; a file that bounds what embeddings of it may
//! cost by its size alone needs none of that.
//!
//! A name may be given again to another file, so a census counts only for the file that the upstream describes in the same
//! words as then.

use std::collections::VecDeque;
use std::sync::Arc;

use dialects::{RequestFacts, batch};
use domain::snapshot::{Credential, Key, Route, Upstream};
use domain::{Capability, Dialect, Fault, Money, Operation, Policy, Surface, UpstreamId};
use hashbrown::HashMap;
use http::{Method, StatusCode};
use parking_lot::Mutex;

use super::get;
use crate::admit::hold_bound;
use crate::dispatch::{Overflow, Source, collect};
use crate::gateway::Inner;
use crate::limits::{BATCH_REQUESTS_MAX, CENSUS_KINDS_MAX, CENSUSES_MAX, MADE_MAX};

/// The shortest line that names or holds something other than text, in bytes (`{"request":{"content":{"parts":{"file_data":
/// {"file_uri":"a"}}}}}` has 63).
const MEDIA_LINE_MIN: u64 = 60;

/// Bytes that are priced together: less than any model's context.
const PIECE: u64 = 128;

/// Censuses of the newest files, by upstream and name.
#[derive(Default)]
pub(crate) struct Censuses(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_name: HashMap<(UpstreamId, String), Arc<Census>>,
    order: VecDeque<(UpstreamId, String)>,
}

/// What the requests of a file are like.
#[derive(Debug)]
pub(super) struct Census {
    card: batch::Card,
    kinds: HashMap<Shape, (RequestFacts, u64)>,
}

/// What of a request says how much it may cost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shape {
    /// Rounded up.
    bytes: usize,
    output_bound: Option<u64>,
    choices: u64,
    by_reference: bool,
    inline_media: u32,
    tools: bool,
    searches: u64,
}

impl Censuses {
    pub(super) fn find(&self, upstream: UpstreamId, id: &str, card: &batch::Card) -> Option<Arc<Census>> {
        let kept = self.0.lock();
        let census = kept.by_name.get(&(upstream, id.to_owned()))?;
        (census.card == *card).then(|| Arc::clone(census))
    }

    fn put(&self, upstream: UpstreamId, census: Census) {
        let name = (upstream, census.card.name.clone());
        let mut kept = self.0.lock();
        if kept.by_name.insert(name.clone(), Arc::new(census)).is_none() {
            kept.order.push_back(name);
        }
        if kept.order.len() > CENSUSES_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_name.remove(&oldest);
        }
    }
}

impl Census {
    /// Looks through a file; `None`: it is none of requests, or has too many kinds of them.
    fn take(card: batch::Card, file: &[u8]) -> Option<Self> {
        let mut kinds: HashMap<Shape, (RequestFacts, u64)> = HashMap::new();
        let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for (count, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            let request = batch::request(line).ok().filter(|_| count < BATCH_REQUESTS_MAX)?;
            let surface = Surface::new(Operation::Chat, Dialect::Gemini);
            let facts = dialects::scan(surface, request.get().as_bytes()).ok()?;
            let shape = Shape::of(&facts, request.get().len());
            if kinds.len() >= CENSUS_KINDS_MAX && !kinds.contains_key(&shape) {
                return None;
            }
            kinds.entry(shape).or_insert((facts, 0)).1 += 1;
        }
        Some(Self { card, kinds })
    }

    /// What all requests may cost.
    pub(super) fn bound(&self, route: &Route, surface: Surface) -> Result<Money, Fault> {
        let mut all = Money::ZERO;
        for (shape, (facts, count)) in &self.kinds {
            all += times(hold_bound(route, facts, surface, shape.bytes)?.amount, *count);
        }
        Ok(all)
    }
}

impl Shape {
    fn of(facts: &RequestFacts, bytes: usize) -> Self {
        Self {
            bytes: rounded_up(bytes),
            output_bound: facts.output_bound,
            choices: facts.choices,
            by_reference: facts.by_reference,
            inline_media: facts.inline_media,
            tools: facts.tools,
            searches: facts.searches,
        }
    }
}

/// To three binary digits, so that lengths have few kinds and none is an eighth too long.
const fn rounded_up(bytes: usize) -> usize {
    let digits = usize::BITS - bytes.leading_zeros();
    let step = 1 << digits.saturating_sub(4);
    bytes.next_multiple_of(step)
}

fn times(amount: Money, count: u64) -> Money {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    Money::from_nanos(amount.nanos().saturating_mul(count))
}

/// What embeddings of a file of this length may cost: a token is a byte at least, and what is no text has as many tokens as
/// the model reads.
pub(super) fn bound_by_size(route: &Route, surface: Surface, bytes: u64) -> Result<Money, Fault> {
    let media = [
        Capability::Image,
        Capability::Audio,
        Capability::Document,
        Capability::Video,
    ];
    let is_text = |can: domain::Capabilities| media.into_iter().all(|media| can.of(media) != Some(true));
    let price_of = |facts: &RequestFacts, bytes| hold_bound(route, facts, surface, bytes).map(|bound| bound.amount);
    let texts = RequestFacts::default();
    if route.targets.iter().all(|target| is_text(target.capabilities)) {
        // All of it as one request would be cut at the model's context.
        let piece = price_of(&texts, PIECE as usize)?;
        return Ok(times(piece, bytes.div_ceil(PIECE)));
    }
    let mut named = texts;
    named.by_reference = true;
    let lines = (bytes / MEDIA_LINE_MIN + 1).min(BATCH_REQUESTS_MAX as u64);
    Ok(times(price_of(&named, 0)?, lines))
}

/// What the upstream says of a file.
pub(super) async fn card(
    gateway: &Arc<Inner>,
    place: (&Arc<Upstream>, &Arc<Credential>),
    id: &str,
) -> Option<batch::Card> {
    let is_plain = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    id.strip_prefix("files/").filter(|name| is_plain(name))?;
    let (StatusCode::OK, source) = get(gateway, place, &format!("/{id}")).await? else {
        return None;
    };
    let text = collect(source, MADE_MAX, Overflow::Fail).await.ok()?;
    batch::card(&text).filter(|card| card.name == id)
}

/// Notes what was uploaded, if that was a whole file and its batch would have to be paid in advance.
pub(crate) fn note(
    gateway: &Inner,
    (key, upstream): (&Key, UpstreamId),
    method: &Method,
    uploaded: &[u8],
    answer: &Source,
) {
    let Source::Upstream(_, Some(answer)) = answer else {
        return;
    };
    if *method == Method::GET || key.user.policy != Policy::Hard || uploaded.is_empty() {
        return;
    }
    let card = batch::card(answer).filter(|card| card.bytes == uploaded.len() as u64);
    if let Some(census) = card.and_then(|card| Census::take(card, uploaded)) {
        gateway.recall.censuses.put(upstream, census);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(bytes: usize) -> batch::Card {
        batch::Card {
            name: "files/a".to_owned(),
            bytes: bytes as u64,
            made: "now".to_owned(),
        }
    }

    fn line(text: &str, most: u64) -> String {
        let request = serde_json::json!({"contents": [{"parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": most}});
        serde_json::json!({"key": "k", "request": request}).to_string() + "\n"
    }

    #[test]
    fn requests_of_one_kind_are_counted_together() {
        let file = [line("aaaa", 5), line("bbbb", 5), line("bbbb", 9), "\n".to_owned()].concat();
        let census = Census::take(card(file.len()), file.as_bytes()).unwrap();
        let mut counts: Vec<(Option<u64>, u64)> = census
            .kinds
            .iter()
            .map(|(shape, (_, count))| (shape.output_bound, *count))
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [(Some(5), 2), (Some(9), 1)]);
    }

    #[test]
    fn what_is_no_file_of_requests_has_no_census() {
        for file in ["a picture", "{}", "{\"request\":{}}\nrest"] {
            assert!(Census::take(card(file.len()), file.as_bytes()).is_none(), "{file}");
        }
        let many: String = (0..=CENSUS_KINDS_MAX as u64).map(|most| line("a", most)).collect();
        assert!(Census::take(card(many.len()), many.as_bytes()).is_none());
    }

    #[test]
    fn a_file_of_the_same_name_may_be_another_one() {
        let (kept, file) = (Censuses::default(), line("a", 1));
        kept.put(UpstreamId(1), Census::take(card(file.len()), file.as_bytes()).unwrap());
        assert!(kept.find(UpstreamId(1), "files/a", &card(file.len())).is_some());
        assert!(kept.find(UpstreamId(2), "files/a", &card(file.len())).is_none());
        let later = batch::Card {
            made: "later".to_owned(),
            ..card(file.len())
        };
        assert!(kept.find(UpstreamId(1), "files/a", &later).is_none());
    }

    #[test]
    fn lengths_are_rounded_up_by_an_eighth_at_most() {
        for bytes in (0..5_000).chain([1_000_003, 8_388_607]) {
            let rounded = rounded_up(bytes);
            assert!(
                rounded >= bytes && rounded <= bytes + bytes / 8 + 1,
                "{bytes}: {rounded}"
            );
        }
        let kinds: std::collections::HashSet<usize> = (1..1_000_000).map(rounded_up).collect();
        assert!(kinds.len() < 150, "{}", kinds.len());
    }
}
