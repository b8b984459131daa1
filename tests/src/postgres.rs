//! A database of a test's own on the `PostgreSQL` that `scripts/postgres` starts.

use std::process::Command;

use crate::wait;

/// A database. Dropped with this.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// A new one; `None` where the tests run without `PostgreSQL`, which only a person may let them do.
    pub fn create(name: &str) -> Option<Self> {
        let server = std::env::var("TOLLGATE_TEST_POSTGRES")
            .ok()
            .filter(|server| !server.is_empty());
        let Some(server) = server else {
            assert!(
                !wait::in_ci(),
                "TOLLGATE_TEST_POSTGRES is not set: use scripts/postgres"
            );
            wait::leave_out(&format!("{name} on PostgreSQL: run this under scripts/postgres"));
            return None;
        };
        let name = format!("tollgate_{name}_{}", std::process::id());
        psql(&server, &format!("CREATE DATABASE {name}"));
        Some(Self { server, name })
    }

    /// Its address.
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("the address names a database");
        format!("{server}/{}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            psql(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

fn psql(server: &str, sql: &str) {
    let output = Command::new("psql")
        .args([server, "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .output();
    let output = output.expect("psql is there: it comes with `PostgreSQL`");
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
