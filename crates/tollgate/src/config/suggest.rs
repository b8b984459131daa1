//! "Did you mean …": the nearest known word to one that is not known.

/// The known word nearest to `word`, if one is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|known| {
            (
                strsim::osa_distance(&word, &known.to_ascii_lowercase().replace('-', "_")),
                known,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `; did you mean …?`, or else `; known are …`.
pub fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["upstreams", "listen", "base_url"];
        assert_eq!(nearest("upsteams", known), Some("upstreams"));
        assert_eq!(nearest("base-url", known), Some("base_url"));
        assert_eq!(nearest("Listen", known), Some("listen"));
        assert_eq!(nearest("frobnicate", known), None);
    }
}
