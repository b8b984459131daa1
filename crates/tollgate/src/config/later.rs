//! Keys that the contract has and this version does not.
//!
//! A feature that is written down and silently not there would be worse than one that is missing: its key is refused,
//! with just that reason. A value that means "without it" is accepted, so that a complete file can be written today.

use super::mistake::{Mistake, Mistakes};
use super::read::join;
use super::tree::{Node, Value};

/// A key and the feature behind it. `[]` stands for every element.
const KEYS: [(&str, &str); 7] = [
    ("shared", "replicas that share limits and caches do"),
    ("search", "the search tool does"),
    ("security.admin_password", "the admin login does"),
    ("security.jwt", "the login of users does"),
    ("security.registration", "the login of users does"),
    ("security.oidc", "the login of users does"),
    ("defaults.quotas", "quotas do"),
];

/// Values to come of keys that exist.
const VALUES: [(&str, &[&str], &str); 1] = [("logs.bodies", &["on", "all", "errors", "true"], "off")];

/// Takes the keys of features to come out of the tree, and says so where they ask for something.
pub fn refuse(tree: &mut Node, mistakes: &mut Mistakes) {
    walk(tree, "", "", mistakes);
}

fn walk(node: &mut Node, path: &str, pattern: &str, mistakes: &mut Mistakes) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                walk(element, &format!("{path}[{index}]"), &format!("{pattern}[]"), mistakes);
            }
        }
        Value::Map(entries) => entries.retain_mut(|entry| {
            let (path, pattern) = (join(path, &entry.key), join(pattern, &entry.key));
            if let Some((_, what)) = KEYS.iter().find(|(key, _)| *key == pattern) {
                if !is_without(&entry.value) {
                    let message = format!("{what} not exist yet; remove the key");
                    mistakes.push(Mistake::of(entry.key_at.clone(), path, message));
                }
                return false;
            }
            if let Some(message) = value_to_come(&pattern, &entry.value) {
                mistakes.push(Mistake::of(entry.value.at.clone(), path, message));
                return false;
            }
            walk(&mut entry.value, &path, &pattern, mistakes);
            true
        }),
    }
}

fn value_to_come(pattern: &str, value: &Node) -> Option<String> {
    let (_, values, instead) = VALUES.iter().find(|(key, ..)| *key == pattern)?;
    let text = value.text()?;
    values
        .contains(&text)
        .then(|| format!("`{text}` does not exist yet; use {instead}"))
}

/// Whether the value says that the feature is not wanted.
fn is_without(value: &Node) -> bool {
    let disabled = value.get("enabled").and_then(Node::text) == Some("false");
    value.is_nothing() || disabled || matches!(value.text(), Some("off" | "false" | "closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    #[test]
    fn each_key_says_just_that() {
        let mut tree = yaml::parse(
            "shared: [team-a]\nsearch: {enabled: false, url: x}\nupstreams:\n  - name: u\nlogs: {bodies: errors}\n",
        )
        .unwrap();
        let mut mistakes = Mistakes::default();
        refuse(&mut tree, &mut mistakes);
        assert_eq!(
            mistakes.to_string(),
            "1:1: `shared`: replicas that share limits and caches do not exist yet; remove the key\n\
             5:16: `logs.bodies`: `errors` does not exist yet; use off"
        );
        assert!(tree.get("shared").is_none() && tree.get("search").is_none());
    }

    #[test]
    fn a_feature_that_is_off_is_no_mistake() {
        let text =
            "search:\ngroups: {}\nsecurity: {registration: closed}\nupstreams: [{name: u}]\nlogs: {bodies: off}\n";
        let mut tree = yaml::parse(text).unwrap();
        let mut mistakes = Mistakes::default();
        refuse(&mut tree, &mut mistakes);
        assert_eq!(mistakes, Mistakes::default());
    }
}
