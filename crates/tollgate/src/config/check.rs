//! Checks of meaning: what types cannot say about one resource, and what resources say about each other.
//!
//! Everything that would be set aside or fail later is found here, with its place, while a person is looking.

mod accounts;
mod addresses;
mod fallbacks;
mod groups;
mod models;
mod people;
mod process;
mod profiles;
mod upstreams;

use std::collections::HashMap;

use super::Listed;
use super::mistake::{Mistake, Mistakes};
use super::read::join;
use super::tree::{Node, Place};

pub use accounts::accounts;
pub use addresses::{target_addresses, upstream_addresses};
pub use fallbacks::{circle, declaring, fallbacks};
pub use groups::groups;
pub use models::models;
pub use people::{expiry, keys, users};
pub use process::{NO_LEVEL, is_level, process};
pub use profiles::{profiles, unknown as unknown_profile};
pub use upstreams::{base_url, credentials, providers, upstreams};

/// Names are shown in tables, headers and URLs.
const NAME_MAX: usize = 128;

/// Adds a mistake about `key` of a resource, placed at its value if it has one.
fn complain<T>(listed: &Listed<'_, T>, key: &str, message: impl Into<String>, mistakes: &mut Mistakes) {
    mistakes.push(Mistake::of(listed.node.place_of(key), join(&listed.path, key), message));
}

/// Names that were given before, in lower case, and where.
#[derive(Default)]
struct Names(HashMap<String, Place>);

impl Names {
    /// Notes a name; a mistake if it was given before, in whatever case.
    fn add(&mut self, name: &str, at: &Place, path: &str, mistakes: &mut Mistakes) {
        let Some(before) = self.0.insert(name.to_lowercase(), at.clone()) else {
            return;
        };
        let line = match before {
            Place::File { line, .. } => format!(" on line {line}"),
            _ => String::new(),
        };
        let message = format!("the name `{name}` is taken{line}; names differ by more than case");
        mistakes.push(Mistake::of(at.clone(), path, message));
    }
}

/// What is wrong with a name; `None` where it is right.
pub fn name_problem(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        return Some("is empty; give it a name");
    }
    if name.chars().count() > NAME_MAX {
        return Some("is longer than 128 characters; shorten it");
    }
    if name.trim() != name || name.chars().any(char::is_control) {
        return Some("has spaces around it or control characters; remove them");
    }
    None
}

/// Checks the `name` of a resource and that it is not taken.
fn check_name<T>(listed: &Listed<'_, T>, name: &str, names: &mut Names, mistakes: &mut Mistakes) {
    if let Some(problem) = name_problem(name) {
        complain(listed, "name", problem, mistakes);
    } else {
        names.add(
            name,
            &listed.node.place_of("name"),
            &join(&listed.path, "name"),
            mistakes,
        );
    }
}

/// The names of a list of resources, also of those that could not be read whole.
pub fn names_in<'a>(tree: &'a Node, section: &str) -> Vec<&'a str> {
    let elements = tree.get(section).map_or(&[][..], Node::elements);
    elements
        .iter()
        .filter_map(|element| element.get("name")?.text())
        .collect()
}
