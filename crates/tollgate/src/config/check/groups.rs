//! Checks of `groups`, and of the upstreams that name one.

use domain::Groups;
use domain::declaration::UpstreamDecl;

use super::super::Listed;
use super::super::mistake::{Mistake, Mistakes};
use super::super::read::join;
use super::super::suggest::nearest;
use super::super::tree::Node;
use super::{Names, complain, name_problem};

/// Checks `groups` and what `upstreams` say about them.
pub fn groups(tree: &Node, groups: &Groups, upstreams: &[Listed<'_, UpstreamDecl>], mistakes: &mut Mistakes) {
    let (mut names, mut patterns) = (Names::default(), Names::default());
    for entry in tree.get("groups").map_or(&[][..], Node::entries) {
        let path = join("groups", &entry.key);
        if let Some(problem) = name_problem(&entry.key) {
            mistakes.push(Mistake::of(entry.key_at.clone(), path.as_str(), problem));
        } else {
            names.add(&entry.key, &entry.key_at, &path, mistakes);
        }
        if entry.value.elements().is_empty() {
            let message = "names no model; list names or globs, such as [\"gpt-*\"], or remove the group";
            mistakes.push(Mistake::of(entry.value.at.clone(), path.as_str(), message));
        }
        for (index, element) in entry.value.elements().iter().enumerate() {
            let path = format!("{path}[{index}]");
            match element.text().map(str::trim) {
                Some("") => {
                    let message = "is empty; write a name or a glob, or remove it";
                    mistakes.push(Mistake::of(element.at.clone(), path, message));
                }
                Some(pattern) => patterns.add(pattern, &element.at, &path, mistakes),
                None => {}
            }
        }
    }
    let known: Vec<&str> = groups.0.keys().map(String::as_str).collect();
    for upstream in upstreams {
        check_spelling(upstream, &known, mistakes);
    }
}

/// A group of an upstream may be a label only; but one that is spelled nearly as a group that routes is surely that one.
fn check_spelling(upstream: &Listed<'_, UpstreamDecl>, known: &[&str], mistakes: &mut Mistakes) {
    let Some(group) = &upstream.decl.group else { return };
    if known.iter().any(|known| known.eq_ignore_ascii_case(group)) {
        return;
    }
    if let Some(meant) = nearest(group, known.iter().copied()) {
        let message = format!("there is no group `{group}` in `groups`; did you mean `{meant}`?");
        complain(upstream, "group", message, mistakes);
    }
}
