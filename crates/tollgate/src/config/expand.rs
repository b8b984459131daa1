//! `${NAME}` and `${NAME:-default}` inside values.
//!
//! Done on the parsed tree, value by value: a variable's content can neither change the document's structure nor move
//! the lines that errors are reported on. `$${` stands for a literal `${`.

use super::environment::Environment;
use super::mistake::{Mistake, Mistakes};
use super::tree::{Node, Scalar, Value};

/// Expands the variables of every value. What cannot be expanded stays as written and becomes a mistake.
pub fn expand(node: &mut Node, environment: &Environment, mistakes: &mut Mistakes) {
    walk(node, &mut String::new(), environment, mistakes);
}

fn walk(node: &mut Node, path: &mut String, environment: &Environment, mistakes: &mut Mistakes) {
    match &mut node.value {
        Value::Scalar(scalar) => {
            if let Err(message) = expand_scalar(scalar, environment) {
                mistakes.push(Mistake::of(node.at.clone(), path.as_str(), message));
            }
        }
        Value::List(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                let length = path.len();
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
                walk(element, path, environment, mistakes);
                path.truncate(length);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&entry.key);
                walk(&mut entry.value, path, environment, mistakes);
                path.truncate(length);
            }
        }
    }
}

fn expand_scalar(scalar: &mut Scalar, environment: &Environment) -> Result<(), String> {
    if !scalar.text.contains("${") {
        return Ok(());
    }
    let expanded = expand_text(&scalar.text, environment)?;
    scalar.written = Some(std::mem::replace(&mut scalar.text, expanded));
    Ok(())
}

fn expand_text(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let (inside, after) = after
            .split_once('}')
            .ok_or("`${` is not closed; add `}`, or write `$${` for the text `${`")?;
        let (name, default) = inside
            .split_once(":-")
            .map_or((inside, None), |(name, default)| (name, Some(default)));
        if !is_name(name) {
            return Err("`${…}` does not hold the name of a variable; write ${NAME} or ${NAME:-default}".to_owned());
        }
        let value = environment.get(name);
        expanded.push_str(match (value, default) {
            (Some(value), None) => value,
            (Some(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => default,
            (None, None) => {
                return Err(format!(
                    "the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
                ));
            }
        });
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        expand_text(text, &Environment::of([("A", "alpha"), ("EMPTY", "")]))
    }

    #[test]
    fn variables_and_defaults() {
        for (text, expected) in [
            ("x-${A}-${A}", "x-alpha-alpha"),
            ("${B:-beta}", "beta"),
            ("${EMPTY:-full}", "full"),
            ("${EMPTY}", ""),
            ("${B:-}", ""),
            ("$${A}", "${A}"),
            ("$A $", "$A $"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_named() {
        assert_eq!(
            expanded("${B}").unwrap_err(),
            "the environment variable B is not set; set it, or write ${B:-default}"
        );
        assert!(expanded("${A").unwrap_err().contains("not closed"));
        assert!(expanded("${}").unwrap_err().contains("name of a variable"));
        assert!(expanded("${A B}").unwrap_err().contains("name of a variable"));
    }
}
