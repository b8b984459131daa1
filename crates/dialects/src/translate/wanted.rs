//! Files that a request names by their addresses, where the target's format wants the bytes.
//!
//! Whether an address can be told as it is depends on format and provider: Bedrock knows none but S3's, Chat Completions
//! knows them for pictures only, Anthropic and Gemini refuse plain `http`. This file says which of a request's addresses
//! a target wants fetched; the gateway fetches them, with its own rules of where one may look; what it found is kept with
//! the [`Question`] and put in place for those targets only that want it, so that another target of the same call still
//! gets the address. Nothing is fetched here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Dialect;

use super::{Kind, Question, Target};
use crate::hub::{Content, Media, MediaKind, Part, Request, Role, Source};

mod kind;

/// A file to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it lies: `http://…` or `https://…`, in the client's words.
    pub url: String,
    /// What it must be.
    kind: MediaKind,
    /// Its MIME type in the client's words; empty where it was not said.
    mime: String,
}

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    url: String,
    kind: MediaKind,
    mime: String,
    /// In base64, as every format tells bytes.
    data: String,
}

/// What was found is not what the request says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what lies there is {found}, and {wanted} is wanted")]
pub struct WrongType {
    found: String,
    wanted: &'static str,
}

impl Wanted {
    /// What it must be, in a word.
    pub const fn what(&self) -> &'static str {
        match self.kind {
            MediaKind::Image => "image",
            MediaKind::Audio => "sound",
            MediaKind::Video => "video",
            MediaKind::Document => "document",
        }
    }

    /// The file, if what lies at its address is what the request says: by its first bytes where they tell, and by the
    /// `content-type` that it was sent with.
    ///
    /// # Errors
    /// If it is something else: the page of a login, for instance.
    pub fn take(&self, content_type: &str, bytes: &[u8]) -> Result<Fetched, WrongType> {
        let declared = content_type.split(';').next().unwrap_or_default().trim();
        let mime =
            kind::of(self.kind, &self.mime, &declared.to_ascii_lowercase(), bytes).map_err(|found| WrongType {
                found,
                wanted: match self.kind {
                    MediaKind::Image => "an image",
                    MediaKind::Audio => "a sound",
                    MediaKind::Video => "a video",
                    MediaKind::Document => "a document",
                },
            })?;
        Ok(Fetched {
            url: self.url.clone(),
            kind: self.kind,
            mime,
            data: STANDARD.encode(bytes),
        })
    }
}

impl Question {
    /// The files that a target of this dialect wants fetched and that are not here yet; each once.
    pub fn wanted(&self, dialect: Dialect, target: &Target<'_>) -> Vec<Wanted> {
        let Some(request) = self.conversation() else {
            return Vec::new();
        };
        let mut wanted: Vec<Wanted> = Vec::new();
        each(request, &mut |media, url| {
            let is_known = |known: &Wanted| known.url == url && known.kind == media.kind;
            if wants(dialect, target, media.kind, url)
                && self.fetched_at(url, media.kind).is_none()
                && !wanted.iter().any(is_known)
            {
                wanted.push(Wanted {
                    url: url.to_owned(),
                    kind: media.kind,
                    mime: media.mime.clone(),
                });
            }
        });
        wanted
    }

    /// Keeps a file for every target that wants it.
    pub fn supply(&mut self, fetched: Fetched) {
        self.fetched.push(fetched);
    }

    /// The conversation as this target gets it.
    pub(super) fn filled(&self, request: &Request, dialect: Dialect, target: &Target<'_>) -> Request {
        let mut request = request.clone();
        self.reply.tools.tell(&mut request, dialect);
        if self.fetched.is_empty() {
            return request;
        }
        let fill = &mut |media: &mut Media| {
            let Source::Url(url) = &media.source else { return };
            let found = self.fetched_at(url, media.kind);
            if let Some(found) = found.filter(|_| wants(dialect, target, media.kind, url)) {
                if media.name.is_none() && media.kind == MediaKind::Document && dialect == Dialect::OpenaiChat {
                    media.name = name_of(url);
                }
                media.mime.clone_from(&found.mime);
                media.source = Source::Base64(found.data.clone());
            }
        };
        for message in &mut request.messages {
            if message.role != Role::Assistant {
                each_of(&mut message.parts, fill);
            }
        }
        request
    }

    const fn conversation(&self) -> Option<&Request> {
        match &self.asked {
            Kind::Conversation(request) | Kind::Count(request) => Some(request),
            Kind::Texts(_) => None,
        }
    }

    fn fetched_at(&self, url: &str, kind: MediaKind) -> Option<&Fetched> {
        self.fetched
            .iter()
            .find(|fetched| fetched.url == url && fetched.kind == kind)
    }
}

/// Whether a target wants the bytes of what lies at an address.
///
/// - Bedrock: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageSource.html>: bytes or S3.
/// - Chat Completions: `input_audio` and `file` have data or ids, `image_url` and `video_url` have addresses
///   (<https://platform.openai.com/docs/api-reference/chat/create>).
/// - Anthropic: addresses must be `https`, and of pictures and documents (what else there is, is a loss and not fetched).
/// - Gemini: public addresses are read by Google, `https` only
///   (<https://ai.google.dev/gemini-api/docs/file-input-methods>).
/// - Responses: has addresses for all that it takes.
///
/// Some providers read no addresses at all (`quirks.media_as_data`).
fn wants(dialect: Dialect, target: &Target<'_>, kind: MediaKind, url: &str) -> bool {
    let Some(is_encrypted) = is_encrypted(url) else {
        return false;
    };
    let data_only = target.quirks.media_as_data;
    let can_be_seen = matches!(kind, MediaKind::Image | MediaKind::Document);
    match dialect {
        Dialect::BedrockConverse => true,
        Dialect::OpenaiChat => match kind {
            MediaKind::Audio => true,
            MediaKind::Document => data_only || !target.quirks.document_url,
            MediaKind::Image => data_only,
            MediaKind::Video => false,
        },
        Dialect::AnthropicMessages => can_be_seen && (!is_encrypted || data_only),
        Dialect::Gemini => !is_encrypted || data_only,
        Dialect::OpenaiResponses => can_be_seen && data_only,
    }
}

/// Whether an address of the web is one with encryption; `None`: it is none of the web.
fn is_encrypted(url: &str) -> Option<bool> {
    let (scheme, _) = url.split_once("://")?;
    if scheme.eq_ignore_ascii_case("https") {
        Some(true)
    } else {
        scheme.eq_ignore_ascii_case("http").then_some(false)
    }
}

/// The name at the end of an address, where it looks like one: Chat Completions wants documents to have names.
fn name_of(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let (_, name) = path.split_once("://")?.1.rsplit_once('/')?;
    let is_name = name.rsplit_once('.').is_some_and(|(stem, ending)| {
        !stem.is_empty() && (1..=5).contains(&ending.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    });
    Some(if is_name { name } else { "document.pdf" }.to_owned())
}

/// Shows every file of the client that has an address.
fn each(request: &Request, see: &mut impl FnMut(&Media, &str)) {
    fn inside(parts: &[Part], see: &mut impl FnMut(&Media, &str)) {
        for part in parts {
            match &part.content {
                Content::Media(media) => match &media.source {
                    Source::Url(url) => see(media, url),
                    Source::Parts(parts) => inside(parts, see),
                    _ => {}
                },
                Content::ToolResult(result) => inside(&result.parts, see),
                _ => {}
            }
        }
    }
    for message in &request.messages {
        if message.role != Role::Assistant {
            inside(&message.parts, see);
        }
    }
}

/// The same, to change them.
fn each_of(parts: &mut [Part], change: &mut impl FnMut(&mut Media)) {
    for part in parts {
        match &mut part.content {
            Content::Media(media) => {
                if let Source::Parts(parts) = &mut media.source {
                    each_of(parts, change);
                } else {
                    change(media);
                }
            }
            Content::ToolResult(result) => each_of(&mut result.parts, change),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
