//! The JSON Schema of the configuration file, for editors.
//!
//! Generated from the types that read the file, printed by `tollgate check --schema`, kept at
//! `docs/tollgate.schema.json`, where a test holds it fresh.

use super::file::File;

/// The schema as indented JSON with a newline at its end.
pub fn text() -> String {
    let schema = schemars::schema_for!(File);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::SECTIONS;

    #[test]
    fn the_committed_schema_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tollgate.schema.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == text(),
            "run `cargo run -p tollgate -- check --schema > docs/tollgate.schema.json`"
        );
    }

    #[test]
    fn the_schema_has_every_section() {
        let schema: serde_json::Value = serde_json::from_str(&text()).unwrap();
        let mut known: Vec<&str> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut sections = SECTIONS.to_vec();
        known.sort_unstable();
        sections.sort_unstable();
        assert_eq!(known, sections);
    }
}
