//! Checks of models and their targets, which name upstreams.

use domain::declaration::{ModelDecl, TargetDecl};
use domain::price::PriceDecl;
use domain::{Money, NamePattern};

use super::super::Listed;
use super::super::mistake::{Mistake, Mistakes};
use super::super::suggest::hint;
use super::super::tree::Node;
use super::{Names, base_url, check_name, complain, name_problem};

/// Checks `models`, whose targets may be any of the `upstreams`.
pub fn models(listed: &[Listed<'_, ModelDecl>], upstreams: &[&str], mistakes: &mut Mistakes) {
    let mut names = Names::default();
    for model in listed {
        let decl = &model.decl;
        check_name(model, &decl.name, &mut names, mistakes);
        check_aliases(model, &mut names, mistakes);
        if decl.free && decl.price.is_some() {
            complain(model, "free", "contradicts `price`; keep one of them", mistakes);
        }
        if let Some(price) = &decl.price {
            check_price(model, price, mistakes);
        }
        check_hedge(model, mistakes);
        if decl.targets.is_empty() {
            complain(model, "targets", "is empty; name at least one upstream", mistakes);
        }
        let nodes = model.node.get("targets").map_or(&[][..], Node::elements);
        for (index, (decl, node)) in decl.targets.iter().zip(nodes).enumerate() {
            let path = format!("{}.targets[{index}]", model.path);
            check_target(&Listed { node, path, decl }, upstreams, mistakes);
        }
    }
}

fn check_aliases(model: &Listed<'_, ModelDecl>, names: &mut Names, mistakes: &mut Mistakes) {
    let nodes = model.node.get("aliases").map_or(&[][..], Node::elements);
    for (index, (alias, node)) in model.decl.aliases.iter().zip(nodes).enumerate() {
        let path = format!("{}.aliases[{index}]", model.path);
        if let Some(problem) = name_problem(alias) {
            mistakes.push(Mistake::of(node.at.clone(), path, problem));
        } else if NamePattern::new(alias.as_str()).is_glob() {
            let message = "is a glob; only a model's `name` may be one";
            mistakes.push(Mistake::of(node.at.clone(), path, message));
        } else {
            names.add(alias, &node.at, &path, mistakes);
        }
    }
}

/// Sending calls twice at once is no answer to slow ones.
fn check_hedge(model: &Listed<'_, ModelDecl>, mistakes: &mut Mistakes) {
    if model.decl.hedge.is_some_and(|hedge| hedge.after.0.is_zero()) {
        let node = model.node.get("hedge");
        let at = node.map(|node| node.place_of("after")).unwrap_or_default();
        let message = "must not be zero; give the time that most calls need";
        mistakes.push(Mistake::of(at, format!("{}.hedge.after", model.path), message));
    }
}

fn check_price(model: &Listed<'_, ModelDecl>, price: &PriceDecl, mistakes: &mut Mistakes) {
    let amounts = [
        ("input", Some(price.input)),
        ("output", price.output),
        ("cache_read", price.cache_read),
        ("cache_write_5m", price.cache_write_5m),
        ("cache_write_1h", price.cache_write_1h),
        ("input_audio", price.input_audio),
        ("output_audio", price.output_audio),
        ("web_searches", price.web_searches),
        ("input_image", price.input_image),
        ("output_image", price.output_image),
        ("cache_read_audio", price.cache_read_audio),
        ("cache_read_image", price.cache_read_image),
        ("images", price.images),
        ("image_kinds", price.image_kinds.values().min().copied()),
        ("audio_minutes", price.audio_minutes),
        ("characters", price.characters),
        ("reranks", price.reranks),
    ];
    for (key, _) in amounts
        .iter()
        .filter(|(_, amount)| amount.is_some_and(|amount| amount < Money::ZERO))
    {
        let at = model
            .node
            .get("price")
            .map(|node| node.place_of(key))
            .unwrap_or_default();
        mistakes.push(Mistake::of(
            at,
            format!("{}.price.{key}", model.path),
            "is below zero; prices are not paid out",
        ));
    }
}

fn check_target(target: &Listed<'_, &TargetDecl>, known: &[&str], mistakes: &mut Mistakes) {
    let decl = target.decl;
    if decl.weight == Some(0) {
        complain(
            target,
            "weight",
            "is 0, so that it would never be chosen; at least 1, or remove the target",
            mistakes,
        );
    }
    match (&decl.upstream, &decl.base_url) {
        (Some(_), Some(_)) => complain(
            target,
            "base_url",
            "goes without `upstream`; keep one of them",
            mistakes,
        ),
        (None, None) => {
            let message = "names no upstream; add `upstream`, or `base_url` and `key` for an inline one";
            mistakes.push(Mistake::of(target.node.at.clone(), target.path.as_str(), message));
        }
        (Some(name), None) => {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                complain(
                    target,
                    "upstream",
                    format!("there is no upstream `{name}`{}", hint(name, known)),
                    mistakes,
                );
            }
            for key in ["key", "dialect"]
                .into_iter()
                .filter(|key| target.node.get(key).is_some())
            {
                complain(
                    target,
                    key,
                    "goes with `base_url` only; the upstream has its own",
                    mistakes,
                );
            }
        }
        (None, Some(url)) => {
            if let Some(problem) = base_url(url) {
                complain(target, "base_url", problem, mistakes);
            }
            if decl.model.is_none() {
                let message = "is inline and names no `model`; add the model's name there";
                mistakes.push(Mistake::of(target.node.at.clone(), target.path.as_str(), message));
            }
        }
    }
}
