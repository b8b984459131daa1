//! Checks of profiles: a name that is listed nowhere is a typing error, and would leave a key without any credential.

use domain::declaration::UpstreamDecl;

use super::super::Listed;
use super::super::file::KeyEntry;
use super::super::mistake::{Mistake, Mistakes};
use super::super::suggest::nearest;
use super::super::tree::{Node, Place};
use super::{Names, name_problem};

/// Checks `profiles`, and that credentials and keys name none that is not listed there.
pub fn profiles(
    tree: &Node,
    profiles: &[String],
    upstreams: &[Listed<'_, UpstreamDecl>],
    keys: &[Listed<'_, KeyEntry>],
    mistakes: &mut Mistakes,
) {
    let mut names = Names::default();
    let nodes = tree.get("profiles").map_or(&[][..], Node::elements);
    for (index, (name, node)) in profiles.iter().zip(nodes).enumerate() {
        let path = format!("profiles[{index}]");
        match name_problem(name) {
            Some(problem) => mistakes.push(Mistake::of(node.at.clone(), path, problem)),
            None => names.add(name, &node.at, &path, mistakes),
        }
    }
    let mut used = |profile: Option<&str>, at: Place, path: String| {
        if let Some(problem) = profile.and_then(|profile| unknown(profile, profiles)) {
            mistakes.push(Mistake::of(at, path, problem));
        }
    };
    for upstream in upstreams {
        let nodes = upstream.node.get("credentials").map_or(&[][..], Node::elements);
        for (index, (credential, node)) in upstream.decl.credentials.iter().zip(nodes).enumerate() {
            let path = format!("{}.credentials[{index}].profile", upstream.path);
            used(credential.profile.as_deref(), node.place_of("profile"), path);
        }
    }
    for key in keys {
        let path = format!("{}.profile", key.path);
        used(key.decl.profile.as_deref(), key.node.place_of("profile"), path);
    }
}

/// What is wrong with a profile that is none of the `known`.
pub fn unknown(profile: &str, known: &[String]) -> Option<String> {
    if known.iter().any(|known| known.eq_ignore_ascii_case(profile)) {
        return None;
    }
    let meant = nearest(profile, known.iter().map(String::as_str));
    Some(match meant {
        Some(meant) => format!("there is no profile `{profile}`; did you mean `{meant}`?"),
        None => format!("there is no profile `{profile}`; add it to `profiles: [{profile}]`"),
    })
}
