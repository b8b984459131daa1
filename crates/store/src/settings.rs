//! Settings that are changed at run time, by name. What they mean is their readers' business.

use crate::clock::now;
use crate::db::{Sql as _, values};
use crate::error::Result;
use crate::meta;
use crate::store::Store;

/// Settings that are changed at run time.
#[derive(Debug)]
pub struct Settings<'a>(pub(crate) &'a Store);

impl Settings<'_> {
    /// The JSON text of a setting.
    pub async fn get(&self, name: &str) -> Result<Option<String>> {
        let rows = self
            .0
            .db()
            .read()
            .await?
            .rows("SELECT value FROM settings WHERE name = $1", values![name])
            .await?;
        Ok(rows.first().and_then(|row| row.try_get_by_index(0).ok()))
    }

    /// Sets it; `None` removes it.
    pub async fn set(&self, name: &str, value: Option<&str>) -> Result<()> {
        let tx = self.0.db().write().await?;
        if let Some(value) = value {
            let upsert = "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) \
                          DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
            tx.exec(upsert, values![name, value, now().0]).await?;
        } else {
            tx.exec("DELETE FROM settings WHERE name = $1", values![name]).await?;
        }
        meta::bump_revision(&tx).await?;
        tx.commit().await
    }
}
