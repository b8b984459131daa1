//! Cache markers, of which Anthropic takes four in a request.

use serde_json::{Map, Value};

use crate::hub::Losses;

/// Markers that Anthropic takes (<https://platform.claude.com/docs/en/build-with-claude/prompt-caching>).
const MARKS_MAX: usize = 4;

/// Leaves as many markers as are taken: the first, which covers what never changes, and the last ones, which cover the most.
pub(super) fn thin_out(lists: &mut [&mut Vec<Value>], has_own: bool, losses: &mut Losses) {
    let most = MARKS_MAX - usize::from(has_own);
    let mut count = 0_usize;
    for list in &mut *lists {
        each(list, &mut |_| count += 1);
    }
    let surplus = 1..(count + 1).saturating_sub(most);
    let mut place = 0;
    for list in lists {
        each(list, &mut |block| {
            if surplus.contains(&place) {
                block.shift_remove("cache_control");
                losses.note(
                    "cache marker",
                    "Anthropic takes four in a request; those in the middle were left out",
                );
            }
            place += 1;
        });
    }
}

/// Visits what is marked, in the order of the prompt.
fn each(list: &mut [Value], visit: &mut dyn FnMut(&mut Map<String, Value>)) {
    for block in list.iter_mut().filter_map(Value::as_object_mut) {
        // Messages and results of tools hold blocks.
        if let Some(Value::Array(inner)) = block.get_mut("content") {
            each(inner, visit);
        }
        if block.contains_key("cache_control") {
            visit(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn left(marks: usize, has_own: bool) -> (Vec<usize>, usize) {
        let block = |at: usize| json!({"at": at, "cache_control": {}});
        let mut tools = vec![block(0)];
        let mut messages = vec![json!({"content": (1..marks).map(block).collect::<Vec<_>>()})];
        let mut losses = Losses::default();
        thin_out(&mut [&mut tools, &mut messages], has_own, &mut losses);
        let mut left = Vec::new();
        for list in [&mut tools, &mut messages] {
            each(list, &mut |block| left.push(block["at"].as_u64().unwrap() as usize));
        }
        (left, losses.into_vec().len())
    }

    #[test]
    fn the_first_and_the_last_are_left() {
        assert_eq!(left(4, false), (vec![0, 1, 2, 3], 0));
        assert_eq!(left(7, false), (vec![0, 4, 5, 6], 1));
        assert_eq!(left(4, true), (vec![0, 2, 3], 1));
        assert_eq!(left(1, true), (vec![0], 0));
    }
}
