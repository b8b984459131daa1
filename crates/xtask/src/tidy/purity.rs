//! The pure crates depend on nothing that could do IO.
//!
//! Their `clippy.toml` bans clocks and files of the standard library; this keeps out the crates that bring their own.

use super::Problem;
use crate::repo::Repo;

/// The crates that do no IO and own no clock.
pub(super) const PURE: &[&str] = &["domain", "dialects", "routing", "metering"];

/// Runtimes, networks, databases, files: a crate that is one of these, or whose name starts with one and a dash.
const IO: &[&str] = &[
    "async-std",
    "axum",
    "fs4",
    "h2",
    "hyper",
    "mio",
    "notify",
    "redis",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "sea-orm",
    "smol",
    "socket2",
    "sqlx",
    "tempfile",
    "tokio",
    "tower",
    "tracing",
];

/// Problems: a pure crate with one of these, in tests too.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in repo
        .packages
        .iter()
        .filter(|package| PURE.contains(&package.name.as_str()))
    {
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| does_io(&dependency.package))
        {
            let message = format!(
                "`{}` is pure and must not depend on `{}`: do that in a shell (store, gateway, admin, tollgate) and pass the result in",
                package.name, dependency.package
            );
            problems.push(Problem::of(&package.manifest, message));
        }
    }
    problems
}

fn does_io(name: &str) -> bool {
    IO.iter().any(|io| {
        name.strip_prefix(io)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    fn problems(name: &str, dependency: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n[dev-dependencies]\n{dependency}\n");
        told(&check(&Repo::of(&[("x/Cargo.toml", &manifest)])))
    }

    #[test]
    fn io_stays_out_of_pure_crates_under_any_name() {
        assert_eq!(problems("domain", "tokio = \"1\"").len(), 1);
        assert_eq!(problems("dialects", "tokio-util = \"0.7\"").len(), 1);
        assert_eq!(
            problems("metering", "db = { package = \"sea-orm\", version = \"2\" }").len(),
            1
        );
    }

    #[test]
    fn other_crates_and_other_names_are_left_alone() {
        assert!(problems("gateway", "tokio = \"1\"").is_empty());
        assert!(problems("routing", "h2o = \"1\"").is_empty());
    }
}
