//! Which Rust files the compiler really sees, found by following `mod` declarations from every target.
//!
//! A file that nobody declares compiles nowhere, is tested nowhere, and still looks alive to a reader. Following the
//! declarations (instead of listing folders) finds those, and tells at the same time which modules exist for tests only.
//! Files are parsed with `syn`, because a line scanner is fooled by strings and by modules inside modules.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};

use crate::manifest::Package;
use crate::tidy::Problem;
use crate::tree::{self, Tree};

/// Every reachable Rust file, parsed.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: BTreeMap<String, SourceFile>,
    /// Files that could not be parsed.
    pub problems: Vec<Problem>,
}

/// One reachable Rust file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Compiled for tests, benchmarks and examples only.
    pub test: bool,
    /// Lines that stand under `#[cfg(test)]`.
    pub test_lines: usize,
}

impl Sources {
    /// Follows the modules of all packages.
    pub(crate) fn walk(tree: &Tree, packages: &[Package]) -> Self {
        let mut sources = Self::default();
        for target in packages.iter().flat_map(Package::targets) {
            let children = tree::folder(&target.path).to_owned();
            sources.visit(
                tree,
                Place {
                    path: target.path.clone(),
                    children,
                    inline: false,
                    test: target.test,
                },
            );
        }
        sources
    }

    /// Does the compiler see this file?
    pub(crate) fn reaches(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// All reachable files, by path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SourceFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    fn visit(&mut self, tree: &Tree, place: Place) {
        let known = self.files.get(&place.path);
        if known.is_some_and(|known| !known.test || place.test) {
            return;
        }
        let Some(text) = tree.text(&place.path) else { return };
        let items = match syn::parse_file(text) {
            Ok(syntax) => syntax.items,
            Err(error) => {
                let line = error.span().start().line;
                self.problems
                    .push(Problem::at(&place.path, line, format!("is not Rust: {error}")));
                Vec::new()
            }
        };
        let next = declared(tree, &place, &items);
        let test_lines = items
            .iter()
            .filter(|item| is_test(attributes(item)))
            .map(span_lines)
            .sum();
        self.files.insert(
            place.path,
            SourceFile {
                test: place.test,
                test_lines,
            },
        );
        for place in next {
            self.visit(tree, place);
        }
    }
}

/// A file (or an inline module in it), and the folder where the modules that it declares are looked for.
#[derive(Debug)]
struct Place {
    path: String,
    children: String,
    inline: bool,
    test: bool,
}

fn declared(tree: &Tree, place: &Place, items: &[Item]) -> Vec<Place> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Mod(module) => declared_by(tree, place, module, &mut found),
            Item::Macro(call) if call.mac.path.is_ident("include") => {
                let literal = call.mac.parse_body::<syn::LitStr>().ok().map(|literal| literal.value());
                let path = literal.and_then(|literal| tree::join(tree::folder(&place.path), &literal));
                found.extend(path.map(|path| Place {
                    path,
                    children: place.children.clone(),
                    inline: false,
                    test: place.test,
                }));
            }
            _ => {}
        }
    }
    found
}

fn declared_by(tree: &Tree, place: &Place, module: &ItemMod, found: &mut Vec<Place>) {
    let name = module.ident.to_string();
    let name = name.trim_start_matches("r#");
    let test = place.test || is_test(&module.attrs);
    let children = format!("{}/{name}", place.children);
    let children = children.trim_start_matches('/').to_owned();
    if let Some((_, items)) = &module.content {
        found.extend(declared(
            tree,
            &Place {
                path: place.path.clone(),
                children,
                inline: true,
                test,
            },
            items,
        ));
        return;
    }
    let candidates = match path_attribute(&module.attrs) {
        // As in rustc: relative to the folder of the file; inside an inline module, to that module's folder.
        Some(path) => {
            let base = if place.inline {
                place.children.as_str()
            } else {
                tree::folder(&place.path)
            };
            tree::join(base, &path).into_iter().collect()
        }
        None => vec![format!("{children}.rs"), format!("{children}/mod.rs")],
    };
    let Some(path) = candidates.into_iter().find(|path| tree.text(path).is_some()) else {
        return;
    };
    found.push(Place {
        path,
        children,
        inline: false,
        test,
    });
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(path), ..
            }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

/// `#[cfg(test)]`, also inside `all(…)`, but not `not(test)`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words = words(list.tokens.clone());
            words.iter().any(|word| word == "test") && words.iter().all(|word| word != "not")
        }
        _ => false,
    })
}

fn words(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(word) => vec![word.to_string()],
            TokenTree::Group(group) => words(group.stream()),
            _ => Vec::new(),
        })
        .collect()
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        _ => &[],
    }
}

fn span_lines(item: &Item) -> usize {
    let span = syn::spanned::Spanned::span(item);
    span.end().line + 1 - span.start().line
}

#[cfg(test)]
mod tests {
    use crate::repo::Repo;

    const MANIFEST: (&str, &str) = ("a/Cargo.toml", "[package]\nname = \"a\"\n");

    fn reached(files: &[(&str, &str)]) -> Vec<(String, bool)> {
        let files: Vec<_> = std::iter::once(MANIFEST).chain(files.iter().copied()).collect();
        Repo::of(&files)
            .sources
            .iter()
            .map(|(path, file)| (path.to_owned(), file.test))
            .collect()
    }

    #[test]
    fn modules_are_followed_through_files_inline_modules_and_path_attributes() {
        let found = reached(&[
            (
                "a/src/lib.rs",
                "mod plain; mod outer { mod inner; #[path = \"odd.rs\"] mod placed; }\n#[path = \"odd/name.rs\"] mod renamed;",
            ),
            ("a/src/plain.rs", "mod child;"),
            ("a/src/plain/child.rs", ""),
            ("a/src/outer/inner.rs", ""),
            ("a/src/outer/odd.rs", ""),
            ("a/src/odd/name.rs", ""),
            ("a/src/nobody.rs", ""),
        ]);
        let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "a/src/lib.rs",
                "a/src/odd/name.rs",
                "a/src/outer/inner.rs",
                "a/src/outer/odd.rs",
                "a/src/plain.rs",
                "a/src/plain/child.rs"
            ]
        );
    }

    #[test]
    fn a_module_is_test_only_when_every_way_to_it_is() {
        let found = reached(&[
            (
                "a/src/lib.rs",
                "#[cfg(test)] mod fake; #[cfg(not(test))] mod real;\n#[cfg(test)] #[path = \"shared.rs\"] mod first; mod shared;",
            ),
            ("a/src/fake.rs", ""),
            ("a/src/real.rs", ""),
            ("a/src/shared.rs", ""),
            (
                "a/tests/front.rs",
                "#[path = \"../src/shared.rs\"] mod shared; mod common;",
            ),
            ("a/tests/common/mod.rs", ""),
        ]);
        let test: Vec<_> = found
            .iter()
            .filter(|(_, test)| *test)
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(test, ["a/src/fake.rs", "a/tests/common/mod.rs", "a/tests/front.rs"]);
    }

    #[test]
    fn the_word_mod_in_a_string_or_a_comment_declares_nothing() {
        let found = reached(&[
            ("a/src/lib.rs", "// mod x;\nconst T: &str = \"\nmod x;\n\";"),
            ("a/src/x.rs", ""),
        ]);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_is_not_rust_is_told_with_its_line() {
        let repo = Repo::of(&[MANIFEST, ("a/src/lib.rs", "fn ok() {}\nfn {")]);
        assert_eq!(repo.sources.problems.len(), 1);
        assert!(repo.sources.problems[0].to_string().starts_with("a/src/lib.rs:2: "));
    }

    #[test]
    fn lines_of_test_items_are_counted() {
        let repo = Repo::of(&[
            MANIFEST,
            (
                "a/src/lib.rs",
                "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n",
            ),
        ]);
        let (_, file) = repo.sources.iter().next().unwrap();
        assert_eq!(file.test_lines, 4);
    }
}
