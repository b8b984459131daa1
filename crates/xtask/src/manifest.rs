//! What a `Cargo.toml` says, reduced to what the checks ask: name, dependencies, targets.
//!
//! `cargo metadata` would know more, but it needs a resolvable workspace and the network now and then; the checks shall
//! also work on a made-up tree in a test, and on a tree that does not build at this moment.

use toml::{Table, Value};

use crate::tree::{self, Tree};

/// One package of the repository.
#[derive(Debug)]
pub(crate) struct Package {
    pub name: String,
    /// Folder of its `Cargo.toml`.
    pub folder: String,
    /// Path of its `Cargo.toml`.
    pub manifest: String,
    pub dependencies: Vec<Dependency>,
    /// Does it have a `[workspace]` of its own (as fuzzing crates do), so that it inherits nothing from ours?
    pub own_workspace: bool,
    /// `[lints] workspace = true`
    pub inherits_lints: bool,
    targets: Vec<Target>,
}

/// One dependency of a package.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// As the code calls it.
    pub alias: String,
    /// As the registry, or the other crate, calls it.
    pub package: String,
    pub kind: Kind,
    /// `{ workspace = true }`
    pub inherited: bool,
}

/// Which table a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

/// The root file of something that cargo builds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub path: String,
    /// Built for tests, benchmarks and examples only.
    pub test: bool,
}

impl Package {
    /// Reads one manifest; none when it describes no package. `renames` resolves inherited dependencies.
    pub(crate) fn parse(tree: &Tree, manifest: &str, renames: &Table) -> Result<Option<Self>, toml::de::Error> {
        let Some(text) = tree.text(manifest) else {
            return Ok(None);
        };
        let table: Table = text.parse()?;
        let Some(name) = table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(Value::as_str)
        else {
            return Ok(None);
        };
        let folder = tree::folder(manifest).to_owned();
        Ok(Some(Self {
            name: name.to_owned(),
            targets: targets(tree, &folder, &table),
            folder,
            manifest: manifest.to_owned(),
            dependencies: dependencies(&table, renames),
            own_workspace: table.contains_key("workspace"),
            inherits_lints: table.get("lints").and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true)),
        }))
    }

    /// The root files of everything that cargo builds from this package.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }
}

fn dependencies(table: &Table, renames: &Table) -> Vec<Dependency> {
    let platforms = table
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    std::iter::once(table)
        .chain(platforms.filter_map(Value::as_table))
        .flat_map(|table| {
            [
                ("dependencies", Kind::Normal),
                ("dev-dependencies", Kind::Dev),
                ("build-dependencies", Kind::Build),
            ]
            .into_iter()
            .filter_map(|(key, kind)| Some((table.get(key)?.as_table()?, kind)))
        })
        .flat_map(|(section, kind)| {
            section
                .iter()
                .map(move |(alias, value)| dependency(alias, value, kind, renames))
        })
        .collect()
}

fn dependency(alias: &str, value: &Value, kind: Kind, renames: &Table) -> Dependency {
    let inherited = value.get("workspace") == Some(&Value::Boolean(true));
    let described = if inherited { renames.get(alias) } else { Some(value) };
    let package = described
        .and_then(|value| value.get("package"))
        .and_then(Value::as_str)
        .unwrap_or(alias);
    Dependency {
        alias: alias.to_owned(),
        package: package.to_owned(),
        kind,
        inherited,
    }
}

/// What cargo finds by itself, and what the manifest names.
fn targets(tree: &Tree, folder: &str, table: &Table) -> Vec<Target> {
    let own = |path: &str| tree::join(folder, path).filter(|path| tree.text(path).is_some());
    let mut found: Vec<Target> = Vec::new();
    let mut add = |path: Option<String>, test: bool| found.extend(path.map(|path| Target { path, test }));
    for path in ["src/lib.rs", "src/main.rs", "build.rs"] {
        add(own(path), false);
    }
    for (name, test) in [
        ("src/bin", false),
        ("tests", true),
        ("benches", true),
        ("examples", true),
    ] {
        let Some(inside) = tree::join(folder, name) else {
            continue;
        };
        for path in tree.below(&inside).filter(|path| is_target(&path[inside.len() + 1..])) {
            add(Some(path.to_owned()), test);
        }
    }
    for (section, test) in [
        ("lib", false),
        ("bin", false),
        ("test", true),
        ("bench", true),
        ("example", true),
    ] {
        for path in named_paths(table.get(section)) {
            add(own(path), test);
        }
    }
    add(
        table
            .get("package")
            .and_then(|package| package.get("build"))
            .and_then(Value::as_str)
            .and_then(own),
        false,
    );
    found.sort();
    found.dedup();
    found
}

/// Inside `tests/` and its like: `name.rs`, or `name/main.rs`.
fn is_target(inside: &str) -> bool {
    match inside.split_once('/') {
        None => inside.strip_suffix(".rs").is_some(),
        Some((_, rest)) => rest == "main.rs",
    }
}

fn named_paths(section: Option<&Value>) -> Vec<&str> {
    let entries = match section {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    entries.iter().filter_map(|entry| entry.get("path")?.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_in_every_table_under_their_real_name() {
        let tree = Tree::of(&[(
            "crates/a/Cargo.toml",
            r#"
            [package]
            name = "a"
            [dependencies]
            http = { workspace = true }
            rt = { workspace = true }
            [dev-dependencies]
            other = { package = "real", version = "1" }
            [target.'cfg(unix)'.dependencies]
            rustix = "1"
            "#,
        )]);
        let renames: Table = r#"rt = { package = "tokio", version = "1" }"#.parse().unwrap();
        let package = Package::parse(&tree, "crates/a/Cargo.toml", &renames).unwrap().unwrap();
        let mut found: Vec<_> = package
            .dependencies
            .iter()
            .map(|d| (d.package.as_str(), d.kind, d.inherited))
            .collect();
        found.sort_by_key(|(name, ..)| *name);
        assert_eq!(
            found,
            [
                ("http", Kind::Normal, true),
                ("real", Kind::Dev, false),
                ("rustix", Kind::Normal, false),
                ("tokio", Kind::Normal, true)
            ]
        );
    }

    #[test]
    fn targets_are_those_that_cargo_finds_and_those_that_are_named() {
        let tree = Tree::of(&[
            (
                "t/Cargo.toml",
                "[package]\nname = \"t\"\n[lib]\npath = \"src/lib.rs\"\n[[bench]]\npath = \"odd/b.rs\"\n",
            ),
            ("t/src/lib.rs", ""),
            ("t/src/helper.rs", ""),
            ("t/src/bin/tool.rs", ""),
            ("t/tests/front.rs", ""),
            ("t/tests/front/part.rs", ""),
            ("t/tests/big/main.rs", ""),
            ("t/odd/b.rs", ""),
        ]);
        let package = Package::parse(&tree, "t/Cargo.toml", &Table::new()).unwrap().unwrap();
        let found: Vec<_> = package
            .targets()
            .iter()
            .map(|target| (target.path.as_str(), target.test))
            .collect();
        assert_eq!(
            found,
            [
                ("t/odd/b.rs", true),
                ("t/src/bin/tool.rs", false),
                ("t/src/lib.rs", false),
                ("t/tests/big/main.rs", true),
                ("t/tests/front.rs", true)
            ]
        );
    }
}
