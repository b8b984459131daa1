//! Files that a program writes are committed, and are what that program would write today.
//!
//! Committed, so that a reader and an editor have them without building; checked, so that they never lie. To add one, add
//! a line to `GENERATED`; `cargo run -p xtask -- generate` writes them all.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use super::Problem;
use crate::tree::Tree;

/// A file, and the arguments of `cargo` whose output it is.
#[derive(Debug, Clone, Copy)]
struct Generated {
    file: &'static str,
    cargo: &'static str,
}

/// Every generated file.
const GENERATED: &[Generated] = &[];

/// Problems: files that are missing or not what their generator writes today.
pub(super) fn check(tree: &Tree, root: &Path) -> Vec<Problem> {
    against(tree, GENERATED, |generated| output(generated, root))
}

/// Writes every generated file below `root`.
pub(crate) fn write(root: &Path) -> anyhow::Result<ExitCode> {
    for generated in GENERATED {
        std::fs::write(root.join(generated.file), output(generated, root)?).context(generated.file)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn against(tree: &Tree, list: &[Generated], run: impl Fn(&Generated) -> anyhow::Result<String>) -> Vec<Problem> {
    let judge = |generated: &Generated| match run(generated) {
        Ok(fresh) if tree.text(generated.file) == Some(&fresh) => None,
        Ok(_) => Some("is not what its generator writes today: run `cargo run -p xtask -- generate`".to_owned()),
        Err(error) => Some(format!("cannot be generated: {error:#}")),
    };
    list.iter()
        .filter_map(|generated| judge(generated).map(|message| Problem::of(generated.file, message)))
        .collect()
}

fn output(generated: &Generated, root: &Path) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(generated.cargo.split(' '))
        .current_dir(root)
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo {}: {}",
        generated.cargo,
        complaint.trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::told;

    const LIST: &[Generated] = &[Generated {
        file: "docs/x.json",
        cargo: "run",
    }];

    fn problems(files: &[(&str, &str)], fresh: anyhow::Result<String>) -> Vec<String> {
        let fresh = std::cell::RefCell::new(Some(fresh));
        told(&against(&Tree::of(files), LIST, |_| fresh.take().unwrap()))
    }

    #[test]
    fn a_fresh_file_is_fine() {
        assert_eq!(problems(&[("docs/x.json", "{}\n")], Ok("{}\n".to_owned())), [""; 0]);
    }

    #[test]
    fn a_stale_or_missing_file_is_told() {
        assert!(problems(&[("docs/x.json", "{}")], Ok("{}\n".to_owned()))[0].contains("generate"));
        assert!(problems(&[], Ok(String::new()))[0].starts_with("docs/x.json: is not what"));
    }

    #[test]
    fn a_generator_that_fails_is_told_with_its_reason() {
        assert!(problems(&[], Err(anyhow::anyhow!("no such flag")))[0].contains("no such flag"));
    }

    #[test]
    fn the_generator_is_cargo_and_its_failure_is_not_taken_for_output() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let version = output(
            &Generated {
                file: "x",
                cargo: "--version",
            },
            root,
        )
        .unwrap();
        assert!(version.starts_with("cargo "), "{version}");
        assert!(
            output(
                &Generated {
                    file: "x",
                    cargo: "no-such-command"
                },
                root
            )
            .is_err()
        );
    }
}
