//! Which binary is tested.

use std::path::PathBuf;

/// `TOLLGATE_BIN`, else the binary that Cargo put beside this test's executable.
pub fn binary_beside_test() -> PathBuf {
    if let Some(path) = std::env::var_os("TOLLGATE_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("this executable has a path");
    let folders = test.ancestors().skip(1).take(3);
    let candidates: Vec<PathBuf> = folders
        .flat_map(|folder| {
            [
                folder.join("tollgate"),
                folder.join("debug/tollgate"),
                folder.join("release/tollgate"),
            ]
        })
        .collect();
    let found = candidates.iter().find(|path| path.is_file()).cloned();
    found.unwrap_or_else(|| {
        panic!(
            "no tollgate beside {}: run `cargo build -p tollgate`, or set TOLLGATE_BIN",
            test.display()
        )
    })
}
