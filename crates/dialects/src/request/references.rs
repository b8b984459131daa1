//! What a request names that lives elsewhere: files, caches, conversations, the response that it continues.
//!
//! The scan passes these ids anyway, so they are noted on the way, and only where there are any: nearly every request has
//! none and pays nothing. Who made what they name is looked up by the gateway.

use super::{RequestFacts, ScanError, mend};
use crate::json::{Cursor, Kind, Syntax};
use crate::limits::{ID_MAX, REFERENCES_MAX};

/// What a request names that is not in its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The response that it continues.
    pub previous: Option<String>,
    /// Files, conversations, caches and containers, each once.
    pub things: Vec<String>,
    /// Whether it names items of earlier responses (Responses) in place of sending them.
    pub has_items: bool,
    /// The last of them.
    pub item: Option<String>,
    /// Whether there are more than can be looked up.
    pub are_too_many: bool,
}

impl RequestFacts {
    /// Reads the id of something that lives elsewhere: the id itself, or an object that has it.
    pub(crate) fn take_id(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if value.kind()? == Kind::Object {
            self.by_reference |= crate::observation::is_filled(&mut value.clone())?;
            value.object(|key, member| match key {
                b"id" => self.take_id(member),
                b"file_ids" => self.take_ids(member),
                _ => member.skip().map(|_| ()),
            })?;
            return Ok(());
        }
        if let Some(text) = value.string_if()?.filter(|text| !text.is_empty()) {
            self.by_reference = true;
            self.name(&text.decode());
        }
        Ok(())
    }

    /// Reads a list of such ids.
    pub(crate) fn take_ids(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        value.array_if(|element| self.take_id(element)).map(|_| ())
    }

    /// Notes the id of something that lives elsewhere.
    pub(crate) fn name(&mut self, id: &str) {
        if id.len() > ID_MAX {
            return;
        }
        let references = self.references.get_or_insert_default();
        if references.things.iter().any(|known| known == id) {
            return;
        }
        if references.things.len() < REFERENCES_MAX {
            references.things.push(id.to_owned());
        } else {
            references.are_too_many = true;
        }
    }

    /// Notes that the item which is being read only names another.
    pub(crate) fn name_item(&mut self) {
        self.by_reference = true;
        self.references.get_or_insert_default().has_items = true;
    }

    /// Reads the id of an item that is named in place of sending it. The last one counts: it is of the latest response.
    pub(crate) fn take_item(&mut self, value: &mut Cursor<'_>) -> Result<(), Syntax> {
        if let Some(text) = value.string_if()?.filter(|text| (1..=ID_MAX).contains(&text.raw.len())) {
            let references = self.references.get_or_insert_default();
            references.item = Some(text.decode().into_owned());
        }
        Ok(())
    }

    /// Reads the id of the response that is continued.
    pub(crate) fn take_previous(&mut self, value: &mut Cursor<'_>) -> Result<(), ScanError> {
        let start = value.clone();
        match value.kind()? {
            Kind::Null => return Ok(value.skip().map(|_| ())?),
            Kind::String => {}
            _ => return Err(mend(&start, "`previous_response_id` must be a string".to_owned())),
        }
        let text = value.string()?;
        if !text.is_empty() {
            self.by_reference = true;
            let references = self.references.get_or_insert_default();
            references.previous = Some(text.decode().chars().take(ID_MAX).collect());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::{Dialect, Operation, Surface};

    use crate::{RequestFacts, scan};

    fn facts(dialect: Dialect, body: &str) -> RequestFacts {
        scan(Surface::new(Operation::Chat, dialect), body.as_bytes()).unwrap()
    }

    fn named(dialect: Dialect, body: &str) -> Vec<String> {
        facts(dialect, body)
            .references
            .map(|named| named.things)
            .unwrap_or_default()
    }

    #[test]
    fn ids_are_noted_in_every_format() {
        let file = r#"{"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}},{"type":"file","file":{"file_id":"file-1"}}]}]}"#;
        assert_eq!(named(Dialect::OpenaiChat, file), ["file-1"]);
        let responses = r#"{"conversation":{"id":"conv_1"},"input":[{"content":[{"type":"input_file","file_id":"file-1"}]}],
            "tools":[{"type":"file_search","vector_store_ids":["vs_1","vs_2"]},
                {"type":"code_interpreter","container":{"type":"auto","file_ids":["file-2"]}},
                {"type":"code_interpreter","container":"cntr_1"}]}"#;
        assert_eq!(
            named(Dialect::OpenaiResponses, responses),
            ["conv_1", "file-1", "vs_1", "vs_2", "file-2", "cntr_1"]
        );
        let anthropic = r#"{"container":"container_1","messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]}"#;
        assert_eq!(named(Dialect::AnthropicMessages, anthropic), ["container_1", "file_1"]);
        let gemini = r#"{"cachedContent":"cachedContents/c1","contents":[{"parts":[
            {"fileData":{"fileUri":"https://g.test/v1beta/files/abc"}},{"fileData":{"fileUri":"https://video.test/watch?v=1"}}]}]}"#;
        assert_eq!(named(Dialect::Gemini, gemini), ["cachedContents/c1", "files/abc"]);
    }

    #[test]
    fn a_request_that_names_nothing_has_no_references() {
        for dialect in [
            Dialect::OpenaiChat,
            Dialect::OpenaiResponses,
            Dialect::AnthropicMessages,
        ] {
            for input in ["messages", "input"] {
                let body = r#"{"IT":[{"content":"file-1"}],"previous_response_id":null,"conversation":null}"#;
                assert_eq!(facts(dialect, &body.replace("IT", input)).references, None);
            }
        }
    }

    #[test]
    fn what_is_continued_is_noted_apart() {
        let found = facts(
            Dialect::OpenaiResponses,
            r#"{"previous_response_id":"resp_1","store":false,"background":true}"#,
        );
        let named = found.references.unwrap();
        assert_eq!((named.previous.as_deref(), named.things.len()), (Some("resp_1"), 0));
        assert!(found.by_reference && found.background && !found.keep);
        let surface = Surface::new(Operation::Chat, Dialect::OpenaiResponses);
        for bad in [
            r#"{"previous_response_id":7}"#,
            r#"{"previous_response_id":"a","previous_response_id":"b"}"#,
            r#"{"background":true,"background":false}"#,
        ] {
            assert!(scan(surface, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_item_that_is_named_is_noted() {
        let body = r#"{"input":[{"role":"user","content":"hi"},{"type":"item_reference","id":"rs_1"},
            {"type":"item_reference","id":"msg_1"},{"type":"message","id":"msg_2","role":"assistant","content":[]},
            {"role":"user","content":"and?"}]}"#;
        let found = facts(Dialect::OpenaiResponses, body);
        let named = found.references.unwrap();
        assert_eq!((named.item.as_deref(), named.things.len()), (Some("msg_1"), 0));
        let turned = r#"{"input":[{"id":"msg_1","type":"item_reference"}]}"#;
        assert!(facts(Dialect::OpenaiResponses, turned).references.unwrap().has_items);
        let whole = r#"{"input":[{"type":"message","id":"msg_2","role":"assistant","content":[]}]}"#;
        assert_eq!(
            facts(Dialect::OpenaiResponses, whole).references,
            None,
            "it is sent, not named"
        );
    }

    #[test]
    fn there_are_only_so_many() {
        let many: Vec<String> = (0..100).map(|n| format!(r#"{{"file_id":"file-{n}"}}"#)).collect();
        let body = format!(r#"{{"messages":[{}]}}"#, many.join(","));
        let named = facts(Dialect::OpenaiChat, &body).references.unwrap();
        assert!(named.are_too_many && named.things.len() == super::REFERENCES_MAX);
    }
}
