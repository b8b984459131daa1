//! Ids of calls and names of tools that Anthropic takes.
//!
//! It refuses a request with an id or a name that has anything but letters, digits, `_` and `-`. Within one request the
//! same word always becomes the same word, and different words stay different, so that results still find their calls.

use std::collections::{HashMap, HashSet};

use crate::anthropic_messages::encode::blocks::safe_id;
use crate::hub::Losses;

/// Characters of a tool's name.
const TOOL_NAME_MAX: usize = 128;

/// What became of ids and names.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: Renamed,
    tools: Renamed,
}

#[derive(Debug, Default)]
struct Renamed {
    known: HashMap<String, String>,
    used: HashSet<String>,
}

impl Renamed {
    fn get(&mut self, given: &str, most: usize) -> String {
        if let Some(known) = self.known.get(given) {
            return known.clone();
        }
        let mut wanted = safe_id(given);
        // Only ASCII is left, so characters are bytes.
        wanted.truncate(most);
        if wanted.is_empty() {
            wanted.push('_');
        }
        let mut name = wanted.clone();
        let mut count = 1_u32;
        while !self.used.insert(name.clone()) {
            count += 1;
            let suffix = format!("_{count}");
            name.clone_from(&wanted);
            name.truncate(most.saturating_sub(suffix.len()));
            name.push_str(&suffix);
        }
        self.known.insert(given.to_owned(), name.clone());
        name
    }
}

impl Names {
    /// The id of a call. Nobody sees it but the provider, so nothing is lost.
    pub(super) fn id(&mut self, given: &str) -> String {
        self.ids.get(given, usize::MAX)
    }

    /// The name of a tool.
    pub(super) fn tool(&mut self, given: &str, losses: &mut Losses) -> String {
        let name = self.tools.get(given, TOOL_NAME_MAX);
        losses.note_if(
            name != given,
            "tool name",
            "Anthropic takes at most 128 letters, digits, `_` and `-`; the model calls the tool by a changed name",
        );
        name
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::anthropic_messages::encode::blocks::is_safe;

    fn is_fine(name: &str) -> bool {
        !name.is_empty() && name.len() <= TOOL_NAME_MAX && name.chars().all(is_safe)
    }

    proptest! {
        #[test]
        fn words_stay_apart_and_become_fine(words in proptest::collection::vec(".{0,140}|[a.:/]{0,3}", 0..20)) {
            let mut names = Names::default();
            let mut losses = Losses::default();
            let mut seen: HashMap<String, String> = HashMap::new();
            for word in &words {
                let name = names.tool(word, &mut losses);
                prop_assert!(is_fine(&name));
                prop_assert_eq!(names.tool(word, &mut losses), name.clone());
                if let Some(earlier) = seen.insert(name, word.clone()) {
                    prop_assert_eq!(&earlier, word);
                }
            }
        }
    }

    #[test]
    fn what_is_fine_stays() {
        let mut names = Names::default();
        assert_eq!(names.id("toolu_01A-b"), "toolu_01A-b");
        assert_eq!(names.id("functions.get:0"), "functions_get_0");
        assert_eq!(names.id("functions_get_0"), "functions_get_0_2");
        assert_eq!(names.id("functions.get:0"), "functions_get_0");
    }
}
