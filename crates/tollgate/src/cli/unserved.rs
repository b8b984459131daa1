//! Fallbacks that nobody serves, and circles that the file alone does not have.
//!
//! A fallback is any name that a client could use: a model of the file, one that was made by command or API, or a name that
//! only an upstream knows. So a mistyped one is no mistake of the file by itself, and is found only where everything that is
//! declared is looked at together. The running server logs it and goes on without; here it is told with its place.

use domain::declaration::{ModelDecl, UpstreamDecl};
use domain::snapshot::{Origin, Resources, UpstreamRow};
use domain::{Snapshot, UpstreamId};

use crate::config::check::{circle, declaring};
use crate::config::suggest::nearest;
use crate::config::{Config, DeclaredName, Mistake, upstream_of};

/// What is declared elsewhere than in the file.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    pub(super) upstreams: Vec<UpstreamDecl>,
    pub(super) models: Vec<ModelDecl>,
}

/// The fallbacks of the file that neither it nor what is declared elsewhere serves.
pub(super) fn fallbacks(config: &Config, elsewhere: &Elsewhere) -> Vec<Mistake> {
    if config.fallbacks.is_empty() {
        return Vec::new();
    }
    let models: Vec<&ModelDecl> = config.declared.models.iter().chain(&elsewhere.models).collect();
    let snapshot = Snapshot::build(Resources {
        defaults: config.defaults,
        groups: config.groups.clone(),
        providers: config.providers.clone(),
        upstreams: upstreams(config, elsewhere),
        ..Resources::default()
    });
    let is_served = |name: &str| declaring(name, &models).is_some() || snapshot.route(name).is_some();
    let unserved = config.fallbacks.iter().filter(|fallback| !is_served(&fallback.name));
    unserved.map(|fallback| mistake(fallback, &models)).collect()
}

/// The fallbacks of the file that lead back to their model through one that is declared elsewhere: the same that `model edit`
/// refuses there.
pub(super) fn circles(config: &Config, elsewhere: &Elsewhere) -> Vec<Mistake> {
    if elsewhere.models.is_empty() {
        return Vec::new();
    }
    let declared = &config.declared.models;
    let models: Vec<&ModelDecl> = declared.iter().chain(&elsewhere.models).collect();
    // Both are in the order of the file.
    let of_models = declared
        .iter()
        .flat_map(|model| model.fallbacks.iter().map(move |_| model));
    let told = of_models.zip(&config.fallbacks).filter_map(|(model, fallback)| {
        Some(Mistake {
            message: circle(model, &fallback.name, &models)?,
            ..fallback.mistake.clone()
        })
    });
    told.collect()
}

fn upstreams(config: &Config, elsewhere: &Elsewhere) -> Vec<UpstreamRow> {
    let of_file = config.declared.upstreams.as_ref().unwrap_or(&config.found);
    let mut all: Vec<UpstreamDecl> = of_file.iter().chain(&elsewhere.upstreams).cloned().collect();
    if all.is_empty() && config.declared.upstreams.is_none() {
        all.push(upstream_of("demo"));
    }
    let row = |(id, decl)| UpstreamRow {
        id: UpstreamId(id),
        origin: Origin::Operator,
        decl,
        credentials: Vec::new(),
        forced: None,
    };
    (1..).zip(all).map(row).collect()
}

fn mistake(fallback: &DeclaredName, models: &[&ModelDecl]) -> Mistake {
    let names = models.iter().map(|model| model.name.as_str());
    let meant = nearest(&fallback.name, names)
        .map(|meant| format!("; did you mean `{meant}`?"))
        .unwrap_or_default();
    let message = format!(
        "nobody serves `{}`: name a model, or what an upstream serves, or remove it{meant}",
        fallback.name
    );
    Mistake {
        message,
        ..fallback.mistake.clone()
    }
}
