//! Some libraries live in one crate only, so that their types and their habits stay there.
//!
//! The database library is the example: entities that leak into handlers make every migration a change of the API. The
//! crates above see our own types; what is behind them can be replaced in one place.

use super::Problem;
use crate::repo::Repo;

/// (library, the crates that may use it, why)
const CAGES: &[(&str, &[&str], &str)] = &[
    (
        "sea-orm",
        &["store"],
        "SQL stays behind the functions of `store` (docs/adr/0007)",
    ),
    (
        "sea-orm-migration",
        &["store"],
        "SQL stays behind the functions of `store` (docs/adr/0007)",
    ),
    (
        "sqlx",
        &["store"],
        "SQL stays behind the functions of `store` (docs/adr/0007)",
    ),
    (
        "serde-saphyr",
        &["tollgate"],
        "YAML is the configuration file's; everything else speaks JSON",
    ),
    (
        "clap",
        &["tollgate", "tollgate-bench"],
        "only programs have a command line",
    ),
    (
        "anyhow",
        &["tollgate", "xtask", "tollgate-bench", "blackbox"],
        "libraries have error types that can be matched",
    ),
];

/// Problems: such a library anywhere else, in tests too.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in repo.packages.iter().filter(|package| !package.own_workspace) {
        for (library, homes, why) in CAGES {
            let has = package
                .dependencies
                .iter()
                .any(|dependency| dependency.package == *library);
            if has && !homes.contains(&package.name.as_str()) {
                let message = format!("`{library}` may be used by {} only: {why}", homes.join(", "));
                problems.push(Problem::of(&package.manifest, message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    fn problems(name: &str, dependency: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n[dependencies]\n{dependency}");
        told(&check(&Repo::of(&[("x/Cargo.toml", &manifest)])))
    }

    #[test]
    fn a_library_at_home_is_fine() {
        assert_eq!(problems("store", "sea-orm = {}"), [""; 0]);
        assert_eq!(problems("gateway", "tokio = {}"), [""; 0]);
    }

    #[test]
    fn a_library_out_of_its_cage_is_told() {
        assert!(problems("admin", "sea-orm = {}")[0].contains("may be used by store only"));
        assert_eq!(problems("gateway", "errors = { package = \"anyhow\" }").len(), 1);
    }
}
