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
    let mut way = vec![name];
    leads_to(model, name, all, &mut way).then(|| {
        format!(
            "leads back to the model itself ({} → {}); remove it here or there",
            model.name,
            way.join(" → ")
        )
    })
}

/// Whether the chain of fallbacks that begins with `name` comes to `model`. `way` is then how. A family whose names have one
/// of their own as their fallback (`gpt-*`: `gpt-5-mini`) is no circle: that one has nobody behind itself.
fn leads_to<'a>(model: &ModelDecl, name: &'a str, all: &[&'a ModelDecl], way: &mut Vec<&'a str>) -> bool {
    let Some(next) = declaring(name, all) else {
        return false;
    };
    if next.name == model.name {
        return way.len() > 1 || !is_glob(model);
    }
    for further in &next.fallbacks {
        if way.iter().any(|seen| same(seen, further)) {
            continue;
        }
        way.push(further);
        if leads_to(model, further, all, way) {
            return true;
        }
        way.pop();
    }
    false
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
