//! Addresses that no call will ever be sent to.
//!
//! What a name resolves to is looked at when it is connected to, and again each time. An address that is written down is
//! known now, while a person is looking.

use domain::declaration::{ModelDecl, UpstreamDecl};
use gateway::AddressRules;

use super::{Listed, Mistakes, complain};
use crate::config::mistake::Mistake;
use crate::config::read::join;
use crate::config::tree::Node;

/// Checks the addresses of upstreams.
pub fn upstream_addresses(listed: &[Listed<'_, UpstreamDecl>], rules: &AddressRules, mistakes: &mut Mistakes) {
    for upstream in listed {
        if let Some(problem) = upstream.decl.base_url.as_deref().and_then(|url| rules.problem_of(url)) {
            complain(upstream, "base_url", problem, mistakes);
        }
    }
}

/// Checks those of targets that are upstreams of their own.
pub fn target_addresses(listed: &[Listed<'_, ModelDecl>], rules: &AddressRules, mistakes: &mut Mistakes) {
    for model in listed {
        let nodes = model.node.get("targets").map_or(&[][..], Node::elements);
        for (at, (decl, node)) in model.decl.targets.iter().zip(nodes).enumerate() {
            if let Some(problem) = decl.base_url.as_deref().and_then(|url| rules.problem_of(url)) {
                let path = join(&model.path, &format!("targets[{at}].base_url"));
                mistakes.push(Mistake::of(node.place_of("base_url"), path, problem));
            }
        }
    }
}
