//! The repository as the checks see it: files, packages, and the Rust that is reachable. Read once, judged many times.

use std::path::Path;

use toml::{Table, Value};

use crate::manifest::Package;
use crate::source::Sources;
use crate::tidy::Problem;
use crate::tree::Tree;

/// Everything that a check may look at.
#[derive(Debug)]
pub(crate) struct Repo {
    pub tree: Tree,
    pub packages: Vec<Package>,
    pub sources: Sources,
    /// Manifests that could not be read.
    pub problems: Vec<Problem>,
}

impl Repo {
    /// Reads the repository below `root`.
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        Ok(Self::new(Tree::load(root)?))
    }

    /// A made-up repository for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self::new(Tree::of(files))
    }

    fn new(tree: Tree) -> Self {
        let renames = workspace_dependencies(&tree);
        let mut packages = Vec::new();
        let mut problems = Vec::new();
        for (path, _) in tree
            .texts()
            .filter(|(path, _)| *path == "Cargo.toml" || path.ends_with("/Cargo.toml"))
        {
            match Package::parse(&tree, path, &renames) {
                Ok(package) => packages.extend(package),
                Err(error) => problems.push(Problem::of(path, error.message().to_owned())),
            }
        }
        let sources = Sources::walk(&tree, &packages);
        Self {
            tree,
            packages,
            sources,
            problems,
        }
    }

    /// The package that owns a file: the one with the longest folder that contains it.
    pub(crate) fn package_of(&self, path: &str) -> Option<&Package> {
        let contains = |package: &&Package| {
            path.strip_prefix(&package.folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        self.packages
            .iter()
            .filter(contains)
            .max_by_key(|package| package.folder.len())
    }
}

/// `[workspace.dependencies]` of the root; a root that cannot be read is told as a problem elsewhere.
fn workspace_dependencies(tree: &Tree) -> Table {
    let root: Table = tree
        .text("Cargo.toml")
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    root.get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table)
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_nearest_package() {
        let repo = Repo::of(&[
            ("a/Cargo.toml", "[package]\nname = \"a\""),
            ("a/fuzz/Cargo.toml", "[package]\nname = \"a-fuzz\""),
            ("ab/Cargo.toml", "[package]\nname = \"ab\""),
        ]);
        let owner = |path| repo.package_of(path).map(|package| package.name.as_str());
        assert_eq!(owner("a/src/lib.rs"), Some("a"));
        assert_eq!(owner("a/fuzz/x.rs"), Some("a-fuzz"));
        assert_eq!(owner("ab/src/lib.rs"), Some("ab"));
        assert_eq!(owner("loose.rs"), None);
    }

    #[test]
    fn a_broken_manifest_is_a_problem_and_not_a_panic() {
        let repo = Repo::of(&[
            ("Cargo.toml", "[workspace"),
            ("a/Cargo.toml", "[package]\nname = \"a\""),
        ]);
        assert_eq!(repo.problems.len(), 1);
        assert_eq!(repo.packages.len(), 1);
    }
}
