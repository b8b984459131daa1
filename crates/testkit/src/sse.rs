//! A reader for server-sent events, as plain as the standard allows.
//!
//! It is the tests' own: what the gateway's decoder makes of a stream is compared with what this one makes of it.

use serde_json::Value;

/// One event: its name, if it has one, and its data lines joined by newlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field.
    pub name: Option<String>,
    /// The `data:` lines, joined.
    pub data: String,
    /// The comment lines (`: keepalive`) that stood in the event.
    pub comments: Vec<String>,
}

impl Event {
    /// The data as JSON; `None` for `[DONE]` and for what does not parse.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.data).ok()
    }
}

/// The whole events of `body`, comments included. Bytes after the last blank line are not an event and are left out.
pub fn events(body: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut open = Event {
        name: None,
        data: String::new(),
        comments: Vec::new(),
    };
    let mut any = false;
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        if line.is_empty() {
            if any {
                events.push(std::mem::replace(
                    &mut open,
                    Event {
                        name: None,
                        data: String::new(),
                        comments: Vec::new(),
                    },
                ));
                any = false;
            }
            continue;
        }
        any = true;
        read_line(&mut open, line);
    }
    events
}

fn read_line(event: &mut Event, line: &str) {
    let (field, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match field {
        "" => event.comments.push(value.to_owned()),
        "event" => event.name = Some(value.to_owned()),
        "data" => {
            if !event.data.is_empty() {
                event.data.push('\n');
            }
            event.data.push_str(value);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_data_comments_and_both_line_ends() {
        let read = events(b": hello\n\nevent: a\r\ndata: 1\r\ndata: 2\r\n\r\ndata:{\"x\":1}\n\ndata: cut");
        assert_eq!(read.len(), 3);
        assert_eq!(read[0].comments, ["hello"]);
        assert_eq!((read[1].name.as_deref(), read[1].data.as_str()), (Some("a"), "1\n2"));
        assert_eq!(read[2].json().unwrap()["x"], 1);
    }
}
