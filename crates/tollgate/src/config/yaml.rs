//! From YAML text to a [`Node`] tree.
//!
//! Read from the parser's events rather than through serde, because serde forgets where a value stood and has turned
//! `0.1` into a binary fraction before any type of ours sees it. The events are those of the parser inside
//! serde-saphyr.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::mistake::{Mistake, Mistakes};
use super::tree::{Entry, Node, Place, Scalar, Value};

/// Nodes in one document, aliases counted as often as they are used. A configuration of a thousand upstreams has some
/// twenty thousand; a document of a kilobyte that unfolds into billions stops here.
const NODES_MAX: usize = 200_000;

/// Levels of nesting. The contract has six; the bound keeps the readers of the tree, which recurse, off the stack's
/// end.
const DEPTH_MAX: usize = 64;

/// Reads one document.
///
/// # Errors
/// Text that is not YAML, a key given twice, a second document, or more than the bounds above.
pub fn parse(text: &str) -> Result<Node, Mistakes> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Mistake::at(place(*error.marker()), error.info()))?;
        builder.take(event, span)?;
    }
    // No word in it is not the same as `{}`.
    Ok(builder.root.unwrap_or_else(|| Node::of_text(Place::Nowhere, "")))
}

/// A collection that is still open.
enum Open {
    List {
        at: Place,
        anchor: usize,
        elements: Vec<Node>,
    },
    Map {
        at: Place,
        anchor: usize,
        entries: Vec<Entry>,
        key: Option<(String, Place)>,
        merged: Vec<Node>,
    },
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        let at = place(span.start);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Mistake::at(
                at,
                "a second document begins here; keep one document in the file",
            )),
            Event::Scalar(text, style, anchor, tag) => {
                if tag.as_ref().is_some_and(|tag| !tag.is_yaml_core_schema()) {
                    return Err(Mistake::at(at, "tags of your own are not supported; remove the `!…`"));
                }
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let scalar = Scalar {
                    text: text.into_owned(),
                    written: None,
                    plain,
                };
                self.put(
                    Node {
                        at,
                        value: Value::Scalar(scalar),
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Open::List {
                at,
                anchor,
                elements: Vec::new(),
            }),
            Event::MappingStart(_, anchor, _) => self.begin(Open::Map {
                at,
                anchor,
                entries: Vec::new(),
                key: None,
                merged: Vec::new(),
            }),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| Mistake::at(at, "the alias refers to what it is part of"))?;
                self.nodes += weight(&node);
                self.put(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), Mistake> {
        if self.open.len() >= DEPTH_MAX {
            let (Open::List { at, .. } | Open::Map { at, .. }) = open;
            return Err(Mistake::at(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Mistake> {
        let (node, anchor) = match self.open.pop() {
            Some(Open::List { at, anchor, elements }) => (
                Node {
                    at,
                    value: Value::List(elements),
                },
                anchor,
            ),
            Some(Open::Map {
                at,
                anchor,
                mut entries,
                merged,
                ..
            }) => {
                merge(&mut entries, &merged)?;
                (
                    Node {
                        at,
                        value: Value::Map(entries),
                    },
                    anchor,
                )
            }
            None => return Ok(()),
        };
        self.put(node, anchor)
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Mistake::at(
                node.at,
                format!("more than {NODES_MAX} values in one file"),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { elements, .. }) => elements.push(node),
            Some(Open::Map {
                entries, key, merged, ..
            }) => match key.take() {
                None => *key = Some(key_of(node)?),
                Some((name, _)) if name == "<<" => merged.push(node),
                Some((name, key_at)) => {
                    if entries.iter().any(|entry| entry.key == name) {
                        return Err(Mistake::at(
                            key_at,
                            format!("the key `{name}` is given twice; remove one"),
                        ));
                    }
                    entries.push(Entry {
                        key: name,
                        key_at,
                        value: node,
                    });
                }
            },
        }
        Ok(())
    }
}

fn key_of(node: Node) -> Result<(String, Place), Mistake> {
    match node.value {
        Value::Scalar(scalar) => Ok((scalar.text, node.at)),
        _ => Err(Mistake::at(node.at, "a key must be a single word")),
    }
}

/// The merge key `<<`: entries of another mapping, where this one does not say otherwise.
fn merge(entries: &mut Vec<Entry>, merged: &[Node]) -> Result<(), Mistake> {
    for node in merged {
        match &node.value {
            Value::Map(more) => {
                for entry in more {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry.clone());
                    }
                }
            }
            Value::List(nodes) => merge(entries, nodes)?,
            Value::Scalar(_) => return Err(Mistake::at(node.at.clone(), "`<<` takes a mapping")),
        }
    }
    Ok(())
}

fn weight(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(elements) => elements.iter().map(weight).sum(),
        Value::Map(entries) => entries.iter().map(|entry| weight(&entry.value)).sum(),
    }
}

fn place(marker: Marker) -> Place {
    Place::File {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn everything_knows_its_place() {
        let tree = parse("a: 1\nb:\n  - {c: \"x\", d: [y]}\n").unwrap();
        let c = tree.get("b").unwrap().elements()[0].get("c").unwrap();
        assert_eq!(c.at, Place::File { line: 3, column: 9 });
        assert_eq!(tree.entry("b").unwrap().key_at, Place::File { line: 2, column: 1 });
    }

    #[test]
    fn decimals_stay_text() {
        let tree = parse("a: 0.10").unwrap();
        assert_eq!(tree.get("a").unwrap().text(), Some("0.10"));
    }

    #[test]
    fn aliases_and_merge_keys_unfold() {
        let tree = parse("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n").unwrap();
        let y = tree.get("y").unwrap();
        assert_eq!(
            (y.get("a").unwrap().text(), y.get("b").unwrap().text()),
            (Some("1"), Some("3"))
        );
    }

    #[test]
    fn what_is_not_a_document_is_refused() {
        assert_eq!(mistake("a: 1\na: 2\n"), "2:1: the key `a` is given twice; remove one");
        assert_eq!(
            mistake("a: 1\n---\nb: 2\n"),
            "2:1: a second document begins here; keep one document in the file"
        );
        assert_eq!(mistake("a: [1\n"), "1:4: unclosed bracket '['");
        assert!(mistake(&("- ".repeat(100) + "x")).contains("nested deeper"));
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let mut bomb = "a: &a0 [x]\n".to_owned();
        for level in 1..30 {
            let below = level - 1;
            let line = format!("b{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}]\n");
            bomb.push_str(&line);
        }
        assert!(mistake(&bomb).contains("more than"), "{}", mistake(&bomb));
    }
}
