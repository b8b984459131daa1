//! Files that a request names, where the target is of another kind of provider.
//!
//! A file's name means something at the provider that keeps it and nowhere else. Sent on all the same, it is refused there
//! in words about a file that the client knows to exist, or, worse, is the name of another one. Whoever knows that the
//! target's upstream made the file (the gateway, by its pins) need not ask here.

use domain::Dialect;

use super::{Kind, Question};
use crate::conversation::REFERENCE;
use crate::hub::{BadRequest, Content, HostedKind, Part, Source, Tool};

impl Question {
    /// Refuses a request that names a file of another kind of provider than the target's.
    ///
    /// # Errors
    /// If it does.
    pub fn refuse_foreign_files(&self, dialect: Dialect) -> Result<(), BadRequest> {
        let (Kind::Conversation(request) | Kind::Count(request)) = &self.asked else {
            return Ok(());
        };
        let keeper = request.extra.origin.map(family);
        if keeper.is_none_or(|keeper| keeper == family(dialect)) {
            return Ok(());
        }
        let mut parts = request.messages.iter().flat_map(|message| &message.parts);
        match parts.find_map(file_in) {
            None => Ok(()),
            Some(id) => Err(BadRequest::new(
                "file",
                format!("`{id}` is the name of a file at another provider than the model's; send its content instead"),
            )),
        }
    }
}

impl Question {
    /// Refuses a request that names an item of an earlier response which nobody here knows, where the target's format has no
    /// such names: to leave it out would be to tell half of a conversation as a whole one.
    ///
    /// # Errors
    /// If it does.
    pub fn refuse_references(&self, dialect: Dialect) -> Result<(), BadRequest> {
        let (Kind::Conversation(request) | Kind::Count(request)) = &self.asked else {
            return Ok(());
        };
        if dialect == Dialect::OpenaiResponses {
            return Ok(());
        }
        let mut parts = request.messages.iter().flat_map(|message| &message.parts);
        parts.find_map(referred).map_or(Ok(()), |id| {
            let reason =
                format!("item with id '{id}' not found: the response it is of was not kept here; send the item itself");
            Err(BadRequest::new("input", reason))
        })
    }
}

/// The item that a part only names.
fn referred(part: &Part) -> Option<&str> {
    let Content::Native {
        origin: Dialect::OpenaiResponses,
        value,
    } = &part.content
    else {
        return None;
    };
    // Its type may be left out (openai 2.8, `types/responses/response_input_item_param.py`, `ItemReference`).
    let is_reference = value.get("type").is_none_or(|kind| kind.is_null() || kind == REFERENCE);
    value.get("id")?.as_str().filter(|_| is_reference)
}

/// What Anthropic's API is told in `anthropic-beta` where a request names a file. Everything else that our encoder writes is
/// in the types of its SDK outside of `beta` (anthropic 2.14: `types/tool_union_param.py`, `output_config_param.py`), and so
/// are files, of late (`file_document_source_param.py`); who speaks the format and is behind wants to be told, and who is
/// not takes it (`anthropic_beta_param.py`; litellm 1.109.1 sends it too, `llms/anthropic/common_utils.py`).
const FILES_BETA: &str = "files-api-2025-04-14";

/// And where it declares remote (MCP) servers: <https://platform.claude.com/docs/en/agents-and-tools/mcp-connector>.
const SERVERS_BETA: &str = "mcp-client-2025-11-20";

/// And where it does both: the header is a list.
const BOTH_BETAS: &str = "files-api-2025-04-14,mcp-client-2025-11-20";

impl Question {
    /// What of the API a target of this dialect must be told to switch on, for the request as it is told.
    pub fn betas(&self, dialect: Dialect) -> Option<&'static str> {
        let (Kind::Conversation(request) | Kind::Count(request)) = &self.asked else {
            return None;
        };
        if dialect != Dialect::AnthropicMessages {
            return None;
        }
        let mut parts = request.messages.iter().flat_map(|message| &message.parts);
        let names_file = parts.any(|part| file_in(part).is_some());
        let has_server = request
            .tools
            .iter()
            .any(|tool| matches!(tool, Tool::Hosted(hosted) if matches!(hosted.kind, HostedKind::Mcp(_))));
        match (names_file, has_server) {
            (true, true) => Some(BOTH_BETAS),
            (true, false) => Some(FILES_BETA),
            (false, true) => Some(SERVERS_BETA),
            (false, false) => None,
        }
    }
}

/// Formats of one provider: its files have one kind of names.
const fn family(dialect: Dialect) -> Dialect {
    match dialect {
        Dialect::OpenaiResponses => Dialect::OpenaiChat,
        other => other,
    }
}

/// The first file that a part names.
fn file_in(part: &Part) -> Option<&str> {
    match &part.content {
        Content::Media(media) => match &media.source {
            Source::File(id) => Some(id),
            Source::Parts(parts) => parts.iter().find_map(file_in),
            Source::Url(_) | Source::Base64(_) | Source::Text(_) => None,
        },
        Content::ToolResult(result) => result.parts.iter().find_map(file_in),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::{Operation, Surface};
    use serde_json::json;

    use super::*;
    use crate::translate::Asked;

    fn question(dialect: Dialect, body: &serde_json::Value) -> Question {
        let asked = Asked {
            surface: Surface::new(Operation::Chat, dialect),
            model: "m",
            stream: false,
            json_array: false,
            id: "1",
            created: 0,
        };
        Question::read(&asked, body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn files_by_name_are_for_their_own_kind_of_provider() {
        let chat =
            json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]});
        let responses = json!({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]});
        let anthropic = json!({"max_tokens": 1, "messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]}]});
        let gemini = json!({"contents": [{"role": "user", "parts": [
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}]}]});
        for (origin, body) in [
            (Dialect::OpenaiChat, &chat),
            (Dialect::OpenaiResponses, &responses),
            (Dialect::AnthropicMessages, &anthropic),
            (Dialect::Gemini, &gemini),
        ] {
            let question = question(origin, body);
            for target in Dialect::ALL {
                let is_own = family(origin) == family(target);
                assert_eq!(
                    question.refuse_foreign_files(target).is_ok(),
                    is_own,
                    "{origin} {target}"
                );
            }
        }
    }

    #[test]
    fn items_that_are_only_named_are_told_to_nobody_else() {
        for item in [
            json!({"type": "item_reference", "id": "msg_1"}),
            json!({"id": "msg_1"}),
            json!({"id": "msg_1", "type": null}),
        ] {
            let asked = json!({"input": [{"role": "user", "content": "a"}, item]});
            let question = question(Dialect::OpenaiResponses, &asked);
            for dialect in Dialect::ALL {
                let refused = question.refuse_references(dialect);
                let is_own = dialect == Dialect::OpenaiResponses;
                assert_eq!(refused.is_ok(), is_own, "{dialect}");
                assert!(refused.map_or_else(|error| error.to_string().contains("'msg_1'"), |()| is_own));
            }
        }
        let whole = json!({"input": [{"type": "web_search_call", "id": "ws_1"}, {"id": "msg_1", "role": "user", "content": "a"}]});
        let question = question(Dialect::OpenaiResponses, &whole);
        assert!(question.refuse_references(Dialect::Gemini).is_ok());
    }

    #[test]
    fn anthropic_is_told_that_files_are_named() {
        let named =
            json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}]});
        let plain = json!({"messages": [{"role": "user", "content": "hi"}]});
        let betas = |body, dialect| question(Dialect::OpenaiChat, body).betas(dialect);
        assert_eq!(betas(&named, Dialect::AnthropicMessages), Some(FILES_BETA));
        assert_eq!(betas(&named, Dialect::OpenaiResponses), None);
        assert_eq!(betas(&plain, Dialect::AnthropicMessages), None);
    }

    #[test]
    fn anthropic_is_told_that_servers_are_declared() {
        let file = json!({"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]});
        let server = json!([{"type": "mcp", "server_label": "s", "server_url": "https://s.example"}]);
        let betas = |body: &serde_json::Value, dialect| question(Dialect::OpenaiResponses, body).betas(dialect);
        let remote = json!({"input": "hi", "tools": server});
        assert_eq!(betas(&remote, Dialect::AnthropicMessages), Some(SERVERS_BETA));
        assert_eq!(betas(&remote, Dialect::OpenaiResponses), None);
        let both = json!({"input": [file], "tools": server});
        assert_eq!(betas(&both, Dialect::AnthropicMessages), Some(BOTH_BETAS));
        assert_eq!(BOTH_BETAS, format!("{FILES_BETA},{SERVERS_BETA}"));
    }

    #[test]
    fn what_has_no_name_is_nobodys() {
        let gemini = json!({"contents": [{"role": "user", "parts": [
            {"fileData": {"fileUri": "https://example.org/a.pdf"}}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}]});
        assert!(
            question(Dialect::Gemini, &gemini)
                .refuse_foreign_files(Dialect::OpenaiChat)
                .is_ok()
        );
    }
}
