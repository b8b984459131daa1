//! Ids of calls that Anthropic takes.
//!
//! It refuses a request with an id that has anything but letters, digits, `_` and `-`. Within one request the same id always
//! becomes the same one, and different ids stay different, so that results still find their calls. Nobody sees them but the
//! provider, so nothing is lost.

use std::collections::{HashMap, HashSet};

use crate::anthropic_messages::encode::blocks::safe_id;

/// What became of ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    known: HashMap<String, String>,
    used: HashSet<String>,
}

impl Ids {
    /// The id of a call.
    pub(super) fn get(&mut self, given: &str) -> String {
        if let Some(known) = self.known.get(given) {
            return known.clone();
        }
        let mut wanted = safe_id(given);
        if wanted.is_empty() {
            wanted.push('_');
        }
        let mut id = wanted.clone();
        let mut count = 1_u32;
        while !self.used.insert(id.clone()) {
            count += 1;
            id = format!("{wanted}_{count}");
        }
        self.known.insert(given.to_owned(), id.clone());
        id
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::anthropic_messages::encode::blocks::is_safe;

    proptest! {
        #[test]
        fn ids_stay_apart_and_become_fine(given in proptest::collection::vec(".{0,140}|[a.:/]{0,3}", 0..20)) {
            let mut ids = Ids::default();
            let mut seen: HashMap<String, String> = HashMap::new();
            for word in &given {
                let id = ids.get(word);
                prop_assert!(!id.is_empty() && id.chars().all(is_safe));
                prop_assert_eq!(ids.get(word), id.clone());
                if let Some(earlier) = seen.insert(id, word.clone()) {
                    prop_assert_eq!(&earlier, word);
                }
            }
        }
    }

    #[test]
    fn what_is_fine_stays() {
        let mut ids = Ids::default();
        assert_eq!(ids.get("toolu_01A-b"), "toolu_01A-b");
        assert_eq!(ids.get("functions.get:0"), "functions_get_0");
        assert_eq!(ids.get("functions_get_0"), "functions_get_0_2");
        assert_eq!(ids.get("functions.get:0"), "functions_get_0");
    }
}
