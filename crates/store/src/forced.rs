//! What operators decided on breakers.
//!
//! State of an upstream, not part of its declaration: one that belongs to the configuration file can be closed off too, and
//! stays so when the file is applied again, after a restart, and in every replica. It is kept with the settings, by the
//! upstream's identity, so that a new upstream of an old name is not closed off by surprise.

use std::collections::HashMap;

use domain::{Forced, UpstreamId};
use sea_orm::FromQueryResult;

use crate::clock::now;
use crate::db::{Sql, values};
use crate::error::Result;
use crate::meta;
use crate::upstreams::{Upstreams, require};

/// How the names of these settings begin; the upstream's id follows.
const PREFIX: &str = "breaker/";

impl Upstreams<'_> {
    /// Forces an upstream's breaker open or closed, whoever declared it; `None` leaves it to the breaker again.
    pub async fn force(&self, name: &str, forced: Option<Forced>) -> Result<()> {
        let tx = self.0.db().write().await?;
        let setting = format!("{PREFIX}{}", require(&tx, name).await?.id.0);
        if let Some(forced) = forced {
            let upsert = "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) \
                          DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
            let value = format!("\"{}\"", forced.name());
            tx.exec(upsert, values![setting, value, now().0]).await?;
        } else {
            tx.exec("DELETE FROM settings WHERE name = $1", values![setting])
                .await?;
        }
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }
}

/// What was decided, by upstream.
pub(crate) async fn all(sql: &impl Sql) -> Result<HashMap<UpstreamId, Forced>> {
    #[derive(FromQueryResult)]
    struct Row {
        name: String,
        value: String,
    }
    let select = format!("SELECT name, value FROM settings WHERE name LIKE '{PREFIX}%'");
    let rows = sql.all::<Row>(&select, values![]).await?;
    let read = |row: Row| {
        let id = row.name.strip_prefix(PREFIX)?.parse().ok()?;
        Some((UpstreamId(id), Forced::from_name(row.value.trim_matches('"'))?))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
