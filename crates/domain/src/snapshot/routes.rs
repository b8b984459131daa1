//! Where a name leads: the targets of a declared model, and those of a name that only upstreams know.

use std::sync::Arc;

use super::{ModelRow, Route, RouteBounds, RouteStamp, Target, Upstream};
use crate::declaration::{Defaults, ModelDecl, RefusalCause, TargetDecl};
use crate::names::same_name;
use crate::{Capabilities, Price, SystemPrompt, SystemPromptDecl, UpstreamId, catalog, system_prompt};

/// What a route takes from the process where nothing nearer says.
#[derive(Debug)]
pub(super) struct Process<'a> {
    pub(super) defaults: &'a Defaults,
    pub(super) system_prompt: &'a SystemPromptDecl,
}

/// The route of a name that only upstreams know.
pub(super) fn implicit_route(name: &str, targets: &[(Arc<Upstream>, &str)], process: &Process<'_>) -> Route {
    let targets: Vec<Target> = targets
        .iter()
        .map(|(upstream, model)| target(upstream, (*model).into(), None))
        .collect();
    Route {
        model: name.to_owned(),
        strategy: process.defaults.strategy,
        bounds: RouteBounds::of(&targets),
        stamp: RouteStamp::default(),
        targets,
        price: None,
        system_prompt: SystemPrompt::in_force(process.system_prompt, None),
        fallbacks: Vec::new(),
        fallback_on: Vec::new(),
        recovery: false,
        hedge: None,
        group: None,
    }
}

/// The route of a declared model asked for as `asked`, and what is wrong with its targets.
pub(super) fn declared_route(
    row: &ModelRow,
    asked: &str,
    upstreams: &[Arc<Upstream>],
    process: &Process<'_>,
) -> (Option<Route>, Vec<String>) {
    let mut problems = Vec::new();
    let own_prompt = row.decl.system_prompt.as_ref();
    if let Some(excess) = own_prompt.and_then(|prompt| system_prompt::excess(&prompt.text)) {
        problems.push(format!("its system prompt is cut: it has {excess} characters too many"));
    }
    let price = declared_price(&row.decl);
    let mut targets = Vec::new();
    for decl in &row.decl.targets {
        match declared_target(&row.decl, decl, asked, upstreams) {
            Ok(mut target) => {
                target.price = price.clone().or(target.price);
                targets.push(target);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if targets.is_empty() {
        problems.push("no target is usable; name an upstream that exists".to_owned());
        return (None, problems);
    }
    let strategy = row.decl.strategy.unwrap_or(process.defaults.strategy);
    (
        Some(Route {
            model: asked.to_owned(),
            strategy,
            bounds: RouteBounds::of(&targets),
            stamp: RouteStamp::default(),
            targets,
            price,
            system_prompt: SystemPrompt::in_force(process.system_prompt, own_prompt),
            fallbacks: Vec::new(),
            fallback_on: row
                .decl
                .fallback_on
                .clone()
                .unwrap_or_else(|| RefusalCause::DEFAULT.to_vec()),
            recovery: row.decl.recovery,
            hedge: row.decl.hedge,
            group: None,
        }),
        problems,
    )
}

fn declared_price(decl: &ModelDecl) -> Option<Arc<Price>> {
    if decl.free {
        return Some(Arc::new(Price::default()));
    }
    decl.price.as_ref().map(|price| Arc::new(price.price()))
}

fn declared_target(
    model: &ModelDecl,
    decl: &TargetDecl,
    asked: &str,
    upstreams: &[Arc<Upstream>],
) -> Result<Target, String> {
    let name = decl.upstream.as_deref().ok_or("a target names no upstream")?;
    let upstream = upstreams
        .iter()
        .find(|upstream| same_name(&upstream.name, name))
        .ok_or_else(|| format!("target: there is no upstream `{name}`"))?;
    let mut target = target(upstream, decl.model.as_deref().unwrap_or(asked).into(), decl.weight);
    target.priority = decl.priority.unwrap_or(target.priority);
    target.context = model.context.unwrap_or(target.context);
    target.max_output = model.max_output.unwrap_or(target.max_output);
    for declared in [&model.capabilities, &decl.capabilities] {
        target.thinks = declared.thinking.or(target.thinks);
        target.capabilities = declared.over(target.capabilities);
    }
    Ok(target)
}

fn target(upstream: &Arc<Upstream>, model: Arc<str>, weight: Option<u32>) -> Target {
    let facts = catalog::models().find(upstream.provider.catalog_name(), &model);
    let free = upstream.provider.free.then(|| Arc::new(Price::default()));
    Target {
        upstream: Arc::clone(upstream),
        weight: weight.unwrap_or(upstream.weight),
        priority: upstream.priority,
        tier: 0,
        identity: identity(upstream.id, &model),
        price: free.or_else(|| facts.and_then(|facts| facts.price.clone()).map(Arc::new)),
        context: facts.map_or(0, |facts| facts.context),
        max_output: facts.map_or(0, |facts| facts.max_output),
        thinks: facts.map(|facts| facts.thinks),
        capabilities: facts.map_or_else(Capabilities::default, |facts| facts.capabilities),
        model,
    }
}

/// FNV-1a over the model's name, begun with the upstream: any hash would do that never changes.
fn identity(upstream: UpstreamId, model: &str) -> u64 {
    let begin = 0xcbf2_9ce4_8422_2325 ^ upstream.0.cast_unsigned();
    model.bytes().fold(begin, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}
