//! Calls of tools and what answers them.
//!
//! Formats tell by different marks which result is of which call: by an id, by a name and the order, or by both. Histories
//! that clients send have ids that are empty, and ids that stand on two calls. So the pairs are found once, here, and then
//! every call has an id of its own which its result names.
//!
//! Formats differ also in where results may stand. Responses lets anything stand between a call and its result; the others
//! refuse a conversation in which the results do not follow the turn that called.

use std::collections::{HashMap, HashSet};

use super::{Content, Extra, Message, Part, Request, Role, ToolCall, ToolResult};

/// What is known of a call.
#[derive(Debug)]
struct Called {
    /// The id in the client's words; often empty.
    given: String,
    id: String,
    name: String,
    custom: bool,
    /// The turn of the model in which it stands.
    turn: usize,
}

/// The calls so far.
#[derive(Debug, Default)]
struct Calls {
    all: Vec<Called>,
    /// Places in `all`, ascending.
    unanswered: Vec<usize>,
    /// The last call of each id that was given.
    latest: HashMap<String, usize>,
    used: HashSet<String>,
    made: usize,
    turn: usize,
}

impl Calls {
    /// Gives a call an id that no other has.
    fn call(&mut self, call: &mut ToolCall) {
        let given = call.id.take().unwrap_or_default();
        let id = self.unique(&given);
        let place = self.all.len();
        if !given.is_empty() {
            self.latest.insert(given.clone(), place);
        }
        self.unanswered.push(place);
        self.all.push(Called {
            given,
            id: id.clone(),
            name: call.name.clone(),
            custom: call.custom,
            turn: self.turn,
        });
        call.id = Some(id);
    }

    fn unique(&mut self, given: &str) -> String {
        let mut id = given.to_owned();
        let mut count = 1_usize;
        while id.is_empty() || self.used.contains(&id) {
            id = if given.is_empty() {
                self.made += 1;
                format!("call_{}", self.made)
            } else {
                count += 1;
                format!("{given}_{count}")
            };
        }
        self.used.insert(id.clone());
        id
    }

    /// Tells a result which call it answers, and of which tool.
    fn result(&mut self, result: &mut ToolResult) {
        let Some(place) = self.answered(result) else {
            return;
        };
        self.unanswered.retain(|waiting| *waiting != place);
        let Some(call) = self.all.get(place) else { return };
        result.call.clone_from(&call.id);
        result.custom |= call.custom;
        if result.name.is_empty() {
            result.name.clone_from(&call.name);
        }
    }

    fn answered(&self, result: &ToolResult) -> Option<usize> {
        if !result.call.is_empty() {
            let same = |call: &Called| call.given == result.call;
            // An id that was answered before is answered once more.
            return self.waiting(same).or_else(|| self.latest.get(&result.call).copied());
        }
        let is_it = |call: &Called| result.name.is_empty() || call.name == result.name;
        self.waiting(|call| call.given.is_empty() && is_it(call))
            .or_else(|| self.waiting(is_it))
    }

    /// The first call of the latest turn that is like this and has no answer yet.
    fn waiting(&self, is_it: impl Fn(&Called) -> bool) -> Option<usize> {
        let mut found: Option<(usize, usize)> = None;
        for place in self.unanswered.iter().rev().copied() {
            let Some(call) = self.all.get(place) else { continue };
            if found.is_some_and(|(_, turn)| call.turn < turn) {
                break;
            }
            if is_it(call) {
                found = Some((place, call.turn));
            }
        }
        found.map(|(place, _)| place)
    }
}

impl Request {
    /// Fills in what a format leaves to the reader: which tool a result is of (formats that answer by id only), and which
    /// call it answers (formats that answer by name only, and ids that are empty or not unique: in order). Every decoder
    /// ends with it.
    pub(crate) fn link_tools(&mut self) {
        let mut calls = Calls::default();
        let mut before = Role::User;
        for message in &mut self.messages {
            if message.role == Role::Assistant && before != Role::Assistant {
                calls.turn += 1;
            }
            before = message.role;
            for part in &mut message.parts {
                match &mut part.content {
                    Content::ToolCall(call) => calls.call(call),
                    Content::ToolResult(result) => calls.result(result),
                    _ => {}
                }
            }
        }
    }
}

/// How a format reads neighbouring messages of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// Each stands for itself, and is followed by its results.
    Apart,
    /// They are one turn, which is followed by all results.
    Joined,
}

/// Makes one turn of neighbouring ones that call. Where each stands for itself the first one's results would have to stand
/// between them, and the model would be told that it had seen them before it called again. A turn that says something
/// besides keeps its place: in one message the words would stand before all calls.
fn join_calls(messages: &mut Vec<Message>) {
    let mut joined: Vec<Message> = Vec::with_capacity(messages.len());
    for message in std::mem::take(messages) {
        match joined.last_mut() {
            Some(last) if calls(last) && only_calls(&message) && last.name == message.name => {
                let mut extra = message.extra;
                move_extra(&mut extra, &mut last.extra);
                last.parts.extend(message.parts);
            }
            _ => joined.push(message),
        }
    }
    *messages = joined;
}

fn calls(message: &Message) -> bool {
    let is_call = |part: &Part| matches!(part.content, Content::ToolCall(_));
    message.role == Role::Assistant && message.parts.iter().any(is_call)
}

/// Whether it calls and says nothing besides; thinking is not said.
fn only_calls(message: &Message) -> bool {
    let is_silent = |part: &Part| matches!(part.content, Content::ToolCall(_) | Content::Thinking(_));
    calls(message) && message.parts.iter().all(is_silent)
}

/// Puts results right behind the turn that called, and what stood between behind them. Messages that are in order stay as
/// they are, their borders included.
pub(crate) fn results_behind_calls(messages: &mut Vec<Message>, neighbours: Neighbours) {
    if neighbours == Neighbours::Apart {
        join_calls(messages);
    }
    let anchors = anchors(messages, neighbours);
    if anchors.is_empty() || in_order(messages, &anchors) {
        return;
    }
    let mut results: HashMap<usize, Message> = HashMap::new();
    for message in messages.iter_mut().filter(|message| message.role == Role::User) {
        let parts = std::mem::take(&mut message.parts);
        let mut into = None;
        for part in parts {
            match anchor(&part, &anchors) {
                Some(place) => {
                    let behind = results
                        .entry(place)
                        .or_insert_with(|| Message::new(Role::User, Vec::new()));
                    behind.parts.push(part);
                    into = Some(place);
                }
                None => message.parts.push(part),
            }
        }
        // A message that has moved as a whole takes along what is said of it.
        if message.parts.is_empty()
            && let Some(behind) = into.and_then(|place| results.get_mut(&place))
        {
            move_extra(&mut message.extra, &mut behind.extra);
        }
    }
    let all = std::mem::take(messages);
    for (place, message) in all.into_iter().enumerate() {
        let has_moved = message.role == Role::User && message.parts.is_empty();
        if !has_moved {
            messages.push(message);
        }
        messages.extend(results.remove(&place));
    }
}

fn move_extra(from: &mut Extra, to: &mut Extra) {
    let from = std::mem::take(from);
    to.origin = to.origin.or(from.origin);
    to.members.extend(from.members);
}

/// Behind which message the result of each call belongs.
fn anchors(messages: &[Message], neighbours: Neighbours) -> HashMap<String, usize> {
    let mut anchors = HashMap::new();
    let mut end_of_run = messages.len();
    for (place, message) in messages.iter().enumerate().rev() {
        let goes_on = neighbours == Neighbours::Joined
            && messages.get(place + 1).is_some_and(|next| next.role == Role::Assistant);
        if message.role != Role::Assistant {
            continue;
        }
        if !goes_on {
            end_of_run = place;
        }
        for part in &message.parts {
            if let Content::ToolCall(ToolCall { id: Some(id), .. }) = &part.content {
                anchors.insert(id.clone(), end_of_run);
            }
        }
    }
    anchors
}

fn anchor(part: &Part, anchors: &HashMap<String, usize>) -> Option<usize> {
    match &part.content {
        Content::ToolResult(result) => anchors.get(&result.call).copied(),
        _ => None,
    }
}

/// Whether every result already follows its turn, with nothing but results between.
fn in_order(messages: &[Message], anchors: &HashMap<String, usize>) -> bool {
    // The turn that is being answered, while nothing else was said since.
    let mut answering = None;
    for (place, message) in messages.iter().enumerate() {
        if message.role != Role::User {
            answering = Some(place);
            continue;
        }
        let mut says_more = false;
        for part in &message.parts {
            match anchor(part, anchors) {
                Some(turn) if Some(turn) != answering => return false,
                Some(_) => {}
                None => says_more = true,
            }
        }
        if says_more || message.parts.is_empty() {
            answering = None;
        }
    }
    true
}

#[cfg(test)]
mod tests;
