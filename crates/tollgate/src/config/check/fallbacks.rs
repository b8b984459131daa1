//! Checks of the models that answer in another one's place.

use domain::NamePattern;
use domain::declaration::ModelDecl;
use domain::snapshot::FALLBACKS_MAX;

use super::super::Listed;
use super::super::mistake::{Mistake, Mistakes};
use super::super::tree::Node;
use super::complain;

/// Checks the `fallbacks` of models; `others` are those that exist besides.
pub fn fallbacks(listed: &[Listed<'_, ModelDecl>], others: &[&ModelDecl], mistakes: &mut Mistakes) {
    let all: Vec<&ModelDecl> = listed
        .iter()
        .map(|model| &model.decl)
        .chain(others.iter().copied())
        .collect();
    for model in listed {
        let decl = &model.decl;
        if decl.fallback_on.is_some() && decl.fallbacks.is_empty() {
            complain(
                model,
                "fallback_on",
                "goes with `fallbacks`; add them, or remove it",
                mistakes,
            );
        }
        if decl.fallbacks.len() > FALLBACKS_MAX {
            let message = format!("has more than {FALLBACKS_MAX} models; remove the last ones");
            complain(model, "fallbacks", message, mistakes);
        }
        let nodes = model.node.get("fallbacks").map_or(&[][..], Node::elements);
        for (index, (name, node)) in decl.fallbacks.iter().zip(nodes).enumerate() {
            let again = decl.fallbacks.iter().take(index).any(|before| same(before, name));
            if let Some(problem) = problem(decl, name, again, &all) {
                mistakes.push(Mistake::of(
                    node.at.clone(),
                    format!("{}.fallbacks[{index}]", model.path),
                    problem,
                ));
            }
        }
    }
}

fn problem(model: &ModelDecl, name: &str, again: bool, all: &[&ModelDecl]) -> Option<String> {
    if name.trim().is_empty() {
        return Some("is empty; name a model".to_owned());
    }
    if NamePattern::new(name).is_glob() {
        return Some("is a glob; name one model".to_owned());
    }
    if again {
        return Some(format!("`{name}` is in the list already; remove it"));
    }
    circle(model, name, all)
}

/// Why a fallback of a model, `name`, leads back to the model itself; nothing where it does not.
///
/// A model is asked once in a chain, so what comes back is a name, not a pattern: `gpt-*` with `claude-x` behind itself and
/// `claude-*` with `gpt-y` is no circle of anybody, its chains end after two or three. One of them is wrong only where a model of
/// one name comes back to itself, be it through families; then each fallback on the way is told.
pub fn circle(model: &ModelDecl, name: &str, all: &[&ModelDecl]) -> Option<String> {
    let chain = Chain::from(name, all);
    let way = if is_glob(model) {
        let mut met = (0..chain.0.len()).filter_map(|at| Some((at, chain.0.get(at)?.decl?)));
        met.find_map(|(at, decl)| {
            let around = (!is_glob(decl)).then(|| Chain::from(&decl.name, all))?;
            let further = around.way(around.find(model)?);
            Some(chain.way(at).into_iter().chain(further.into_iter().skip(1)).collect())
        })
    } else {
        chain.find(model).map(|at| chain.way(at))
    };
    way.map(|way: Vec<&str>| {
        format!(
            "leads back to the model itself ({} → {}); remove it here or there",
            model.name,
            way.join(" → ")
        )
    })
}

/// Everything that a name leads to, nearest first. Each name is looked at once, however many ways there are.
struct Chain<'a>(Vec<Step<'a>>);

struct Step<'a> {
    name: &'a str,
    decl: Option<&'a ModelDecl>,
    before: Option<usize>,
}

impl<'a> Chain<'a> {
    fn from(name: &'a str, all: &[&'a ModelDecl]) -> Self {
        let step = |name, before| Step {
            name,
            decl: declaring(name, all),
            before,
        };
        let mut steps = vec![step(name, None)];
        let mut at = 0;
        while let Some(decl) = steps.get(at).map(|step| step.decl) {
            for further in decl.into_iter().flat_map(|decl| &decl.fallbacks) {
                if steps.iter().any(|known| same(known.name, further)) {
                    continue;
                }
                let found = step(further, Some(at));
                if !steps.iter().any(|known| known.is_model_of(&found)) {
                    steps.push(found);
                }
            }
            at += 1;
        }
        Self(steps)
    }

    fn find(&self, model: &ModelDecl) -> Option<usize> {
        let is_it = |step: &Step<'_>| step.decl.is_some_and(|decl| decl.name == model.name);
        self.0.iter().position(is_it)
    }

    fn way(&self, to: usize) -> Vec<&'a str> {
        let before = |step: &&Step<'a>| step.before.and_then(|before| self.0.get(before));
        let mut way: Vec<&str> = std::iter::successors(self.0.get(to), before)
            .map(|step| step.name)
            .collect();
        way.reverse();
        way
    }
}

impl Step<'_> {
    /// Whether a call would take both names for one model: that of an alias is one, a family has many.
    fn is_model_of(&self, other: &Self) -> bool {
        let pair = self.decl.zip(other.decl);
        pair.is_some_and(|(one, other)| !is_glob(one) && one.name == other.name)
    }
}

/// The model that a call of this name would find: one of that name, else the longest glob, as in the snapshot.
pub fn declaring<'a>(name: &str, all: &[&'a ModelDecl]) -> Option<&'a ModelDecl> {
    let listed = all
        .iter()
        .find(|decl| !is_glob(decl) && decl.names().any(|own| same(own, name)));
    let globs = || {
        let matching = all
            .iter()
            .filter(|decl| is_glob(decl) && NamePattern::new(decl.name.as_str()).matches(name));
        matching.min_by_key(|decl| std::cmp::Reverse(decl.name.len()))
    };
    listed.or_else(globs).copied()
}

fn is_glob(model: &ModelDecl) -> bool {
    NamePattern::new(model.name.as_str()).is_glob()
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Which fallbacks of these models are circles, as `model: way`.
    fn circles(models: &[(&str, &[&str], &[&str])]) -> Vec<String> {
        let decl = |(name, aliases, fallbacks): &(&str, &[&str], &[&str])| -> ModelDecl {
            let text =
                json!({"name": name, "targets": [{"upstream": "u"}], "aliases": aliases, "fallbacks": fallbacks});
            serde_json::from_value(text).unwrap()
        };
        let models: Vec<ModelDecl> = models.iter().map(decl).collect();
        let all: Vec<&ModelDecl> = models.iter().collect();
        let of = |model: &ModelDecl| -> Vec<String> {
            let told = model.fallbacks.iter().filter_map(|name| circle(model, name, &all));
            told.map(|told| told[told.find('(').unwrap() + 1..told.find(')').unwrap()].to_owned())
                .collect()
        };
        models.iter().flat_map(of).collect()
    }

    #[test]
    fn a_circle_is_a_name_that_comes_again() {
        assert_eq!(circles(&[("a", &[], &["A"])]), ["a → A"]);
        assert_eq!(
            circles(&[("a", &["x"], &["b"]), ("b", &[], &["x"])]),
            ["a → b → x", "b → x → b"]
        );
        assert_eq!(
            circles(&[("a", &[], &["gpt-9"]), ("gpt-*", &[], &["a"])]),
            ["a → gpt-9 → a", "gpt-* → a → gpt-9"]
        );
        // Only b and c go round; a is before them.
        assert_eq!(
            circles(&[("a", &[], &["b"]), ("b", &[], &["c"]), ("c", &[], &["b"])]),
            ["b → c → b", "c → b → c"]
        );
    }

    #[test]
    fn families_may_stand_behind_each_other() {
        let none: [String; 0] = [];
        assert_eq!(circles(&[("gpt-*", &[], &["gpt-5-mini"])]), none);
        assert_eq!(
            circles(&[
                ("gpt-*", &[], &["claude-3-5-haiku-latest"]),
                ("claude-*", &[], &["gpt-4o-mini"])
            ]),
            none
        );
        assert_eq!(circles(&[("gpt-*", &[], &["gpt-4o"]), ("gpt-4o", &[], &["u/x"])]), none);
        // The one before the families is met by none of them.
        assert_eq!(
            circles(&[
                ("a", &[], &["gpt-1"]),
                ("gpt-*", &[], &["o-1"]),
                ("o-*", &[], &["gpt-2"])
            ]),
            none
        );
    }

    /// Ways through twelve rows of four are more than anybody could wait for.
    #[test]
    fn many_ways_are_looked_at_once() {
        let name = |row: usize, column: usize| format!("m{row}-{column}");
        let names: Vec<Vec<String>> = (0..12)
            .map(|row| (0..4).map(|column| name(row, column)).collect())
            .collect();
        let next: Vec<Vec<&str>> = names
            .iter()
            .map(|row| row.iter().map(String::as_str).collect())
            .collect();
        let mut models: Vec<(&str, &[&str], &[&str])> = Vec::new();
        for row in 0..11 {
            models.extend(next[row].iter().map(|name| (*name, &[][..], &next[row + 1][..])));
        }
        assert!(circles(&models).is_empty());
    }
}
