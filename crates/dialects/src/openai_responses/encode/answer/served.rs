//! What another family's provider did by itself, as items.
//!
//! Here one item tells what was asked for and what came of it; elsewhere they are two, and other steps may stand between
//! (code that searches). So the item takes its place when it is asked for, and is whole when its result comes.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::super::served;
use super::{Teller, Wire};
use crate::hub::{Act, Deed, Losses, MADE};

/// A step that has not come to its end.
#[derive(Debug)]
pub(super) struct Pending {
    /// Which item it is.
    at: usize,
    /// What was done.
    kind: &'static str,
    /// The step's name; empty where it has none.
    id: String,
}

/// What events about such an item say.
#[derive(Serialize)]
struct About<'a> {
    item_id: &'a str,
    output_index: usize,
}

impl Teller {
    /// A step.
    pub(super) fn deed(&mut self, deed: Deed, wire: &mut Wire<'_>, losses: &mut Losses) {
        self.end_item(wire, losses, "completed");
        let own = if deed.id.is_empty() {
            format!("{}_{}", self.reply.id, self.output.len())
        } else {
            deed.id.clone()
        };
        let id = format!("{}{MADE}{own}", served::prefix(&deed));
        if let Some(item) = served::item(&deed, &id) {
            self.kept += deed.weight();
            let at = self.output.len();
            let item = Value::Object(item);
            self.added(&item, wire);
            self.output.push(item);
            self.pending.push(Pending {
                at,
                kind: deed.name(),
                id: deed.id,
            });
            under_way(&deed.act, &id, at, wire);
            return;
        }
        // What has no name comes in the order in which it was asked for.
        let is_of = |asked: &Pending| asked.kind == deed.name() && asked.id == deed.id;
        let Some(place) = self.pending.iter().position(is_of) else {
            losses.note(deed.name(), "what came of it was told where nothing was asked for");
            return;
        };
        let Pending { at, .. } = self.pending.remove(place);
        self.kept += deed.weight();
        if let Some(Value::Object(item)) = self.output.get_mut(at) {
            served::complete(item, deed.act, losses);
        }
        self.deed_done(at, wire);
    }

    /// Of what is left no result was told: the provider paused, or the answer was cut.
    pub(super) fn end_deeds(&mut self, wire: &mut Wire<'_>) {
        for Pending { at, .. } in std::mem::take(&mut self.pending) {
            if let Some(item) = self.output.get_mut(at) {
                item["status"] = "incomplete".into();
            }
            self.deed_done(at, wire);
        }
    }

    fn deed_done(&self, at: usize, wire: &mut Wire<'_>) {
        let Some(item) = self.output.get(at) else { return };
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let end = match (text("type"), text("status")) {
            ("web_search_call", "completed") => Some("response.web_search_call.completed"),
            ("code_interpreter_call", "completed" | "failed") => Some("response.code_interpreter_call.completed"),
            ("mcp_call", "completed") => Some("response.mcp_call.completed"),
            ("mcp_call", _) => Some("response.mcp_call.failed"),
            // There is no event for it; the item says it.
            _ => None,
        };
        if let Some(end) = end {
            let item_id = text("id");
            wire.event(end, || About {
                item_id,
                output_index: at,
            });
        }
        wire.event("response.output_item.done", || super::Placed { output_index: at, item });
    }
}

/// Tells that it is under way.
fn under_way(act: &Act, id: &str, at: usize, wire: &mut Wire<'_>) {
    let about = || About {
        item_id: id,
        output_index: at,
    };
    match act {
        Act::Run { code, .. } => {
            wire.event("response.code_interpreter_call.in_progress", about);
            let more = |name: &str| json!({"item_id": id, "output_index": at, name: code});
            wire.event("response.code_interpreter_call_code.delta", || more("delta"));
            wire.event("response.code_interpreter_call_code.done", || more("code"));
            wire.event("response.code_interpreter_call.interpreting", about);
        }
        Act::Remote { arguments, .. } => {
            wire.event("response.mcp_call.in_progress", about);
            let more = |name: &str| json!({"item_id": id, "output_index": at, name: arguments});
            wire.event("response.mcp_call_arguments.delta", || more("delta"));
            wire.event("response.mcp_call_arguments.done", || more("arguments"));
        }
        _ => {
            wire.event("response.web_search_call.in_progress", about);
            wire.event("response.web_search_call.searching", about);
        }
    }
}
