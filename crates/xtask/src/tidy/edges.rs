//! Which crate may know which: the picture of `docs/ARCHITECTURE.md` as a table.
//!
//! The arrows are the architecture. A new one is rarely wanted and always discussed, so it takes an edit here, where a
//! reviewer sees it. Tests are held to the same arrows: a unit that can only be tested with its neighbour is not a unit.

use super::Problem;
use crate::manifest::Kind;
use crate::repo::Repo;

/// What a crate may use of ours.
struct Edges {
    package: &'static str,
    /// `[dependencies]` and `[build-dependencies]`
    uses: &'static [&'static str],
    /// `[dev-dependencies]`, in addition
    tests_use: &'static [&'static str],
}

const EDGES: &[Edges] = &[
    Edges {
        package: "domain",
        uses: &[],
        tests_use: &[],
    },
    // Siblings: they do not know each other, nor anything that does IO.
    Edges {
        package: "dialects",
        uses: &["domain"],
        tests_use: &[],
    },
    Edges {
        package: "routing",
        uses: &["domain"],
        tests_use: &[],
    },
    Edges {
        package: "metering",
        uses: &["domain"],
        tests_use: &[],
    },
    Edges {
        package: "store",
        uses: &["domain", "metering"],
        tests_use: &["testkit"],
    },
    // The shells: they do not know each other.
    Edges {
        package: "gateway",
        uses: &["domain", "dialects", "routing", "metering", "store"],
        tests_use: &["testkit"],
    },
    Edges {
        package: "admin",
        uses: &["domain", "dialects", "routing", "metering", "store"],
        tests_use: &["testkit"],
    },
    Edges {
        package: "tollgate",
        uses: &["domain", "dialects", "routing", "metering", "store", "gateway", "admin"],
        tests_use: &["testkit"],
    },
    // Development. A fake upstream that used our own decoders would agree with their mistakes.
    Edges {
        package: "testkit",
        uses: &[],
        tests_use: &[],
    },
    Edges {
        package: "xtask",
        uses: &[],
        tests_use: &[],
    },
    Edges {
        // Drives the binary; its simulation puts two siblings together, which neither may do itself.
        package: "blackbox",
        uses: &["testkit"],
        tests_use: &["domain", "routing", "metering"],
    },
    // The load driver sees the binary only; instruction counts call the functions that they count.
    Edges {
        package: "tollgate-bench",
        uses: &[],
        tests_use: &["domain", "dialects", "routing", "metering", "store", "gateway"],
    },
    Edges {
        package: "tollgate-fuzz",
        uses: &[
            "domain", "dialects", "routing", "metering", "store", "gateway", "tollgate",
        ],
        tests_use: &[],
    },
];

/// Problems: an arrow that the table does not have, or a crate that it does not know.
pub(super) fn check(repo: &Repo) -> Vec<Problem> {
    let ours = |name: &str| EDGES.iter().any(|edges| edges.package == name);
    let mut problems = Vec::new();
    for package in &repo.packages {
        let Some(edges) = EDGES.iter().find(|edges| edges.package == package.name) else {
            let message = format!(
                "crate `{}` has no row in xtask/src/tidy/edges.rs: say there (and in docs/ARCHITECTURE.md) what it may use",
                package.name
            );
            problems.push(Problem::of(&package.manifest, message));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| ours(&dependency.package))
        {
            let name = dependency.package.as_str();
            let in_tests = dependency.kind == Kind::Dev && edges.tests_use.contains(&name);
            if !edges.uses.contains(&name) && !in_tests {
                let message = format!(
                    "`{}` must not depend on `{name}`: move what both need downwards, or pass it in as data",
                    package.name
                );
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

    fn problems(name: &str, rest: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n{rest}");
        told(&check(&Repo::of(&[("x/Cargo.toml", &manifest)])))
    }

    #[test]
    fn the_arrows_of_the_design_are_allowed() {
        assert!(problems("domain", "[dependencies]\nserde = \"1\"").is_empty());
        assert!(problems("store", "[dependencies]\ndomain = {}\nmetering = {}").is_empty());
        assert!(
            problems(
                "gateway",
                "[dependencies]\nstore = {}\n[dev-dependencies]\ntestkit = {}"
            )
            .is_empty()
        );
    }

    #[test]
    fn siblings_do_not_know_each_other() {
        let found = problems("routing", "[dependencies]\nmetering = {}");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("x/Cargo.toml: `routing` must not depend on `metering`"),
            "{found:?}"
        );
        assert_eq!(problems("routing", "[dev-dependencies]\nmetering = {}").len(), 1);
        assert_eq!(problems("gateway", "[dependencies]\nadmin = {}").len(), 1);
        assert_eq!(problems("store", "[dependencies]\nrouting = {}").len(), 1);
    }

    #[test]
    fn testkit_is_for_tests_only() {
        assert_eq!(problems("gateway", "[dependencies]\ntestkit = {}").len(), 1);
        assert_eq!(problems("testkit", "[dependencies]\ndomain = {}").len(), 1);
    }

    #[test]
    fn a_renamed_arrow_is_still_an_arrow() {
        assert_eq!(
            problems("domain", "[dependencies]\ninnocent = { package = \"store\" }").len(),
            1
        );
    }

    #[test]
    fn an_unknown_crate_is_told() {
        assert!(problems("utils", "")[0].contains("no row"));
    }
}
