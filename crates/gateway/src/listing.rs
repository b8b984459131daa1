//! `GET /v1/models`: what the key may use, in the client's format.

use std::net::IpAddr;

use dialects::ListedModel;
use domain::snapshot::Route;
use domain::{Dialect, Fault, FaultKind};
use http::Response;
use http::request::Parts;

use crate::authenticate::authenticate;
use crate::body::Body;
use crate::gateway::Inner;
use crate::refuse::json;

/// `created` of models whose age is not known: the day on which the first list of this kind was published. Clients
/// only sort by it.
const CREATED: i64 = 1_686_935_002;

/// The whole list.
pub(crate) fn list(gateway: &Inner, dialect: Dialect, head: &Parts, peer: IpAddr) -> Result<Response<Body>, Fault> {
    let caller = authenticate(gateway, head, peer)?;
    let names = caller.snapshot.model_names(&caller.key);
    let models: Vec<ListedModel<'_>> = names
        .iter()
        .filter_map(|name| Some(listed(name, caller.snapshot.listed(name)?)))
        .collect();
    Ok(json(200, dialects::model_list(dialect, &models)))
}

/// One model.
pub(crate) fn card(
    gateway: &Inner,
    dialect: Dialect,
    name: &str,
    head: &Parts,
    peer: IpAddr,
) -> Result<Response<Body>, Fault> {
    let caller = authenticate(gateway, head, peer)?;
    let name = name.strip_prefix("models/").unwrap_or(name);
    let route = caller
        .snapshot
        .route(name)
        .filter(|route| caller.key.may_use(&route.model));
    let route = route.ok_or_else(|| Fault::new(FaultKind::NoSuchModel, format!("there is no model `{name}`")))?;
    Ok(json(200, dialects::model_card(dialect, &listed(&route.model, &route))))
}

fn listed<'a>(name: &'a str, route: &'a Route) -> ListedModel<'a> {
    let first = route.targets.first();
    ListedModel {
        id: name,
        owner: first.map_or("", |target| &target.upstream.provider.name),
        context: first.map_or(0, |target| target.context),
        max_output: first.map_or(0, |target| target.max_output),
        created: CREATED,
    }
}
