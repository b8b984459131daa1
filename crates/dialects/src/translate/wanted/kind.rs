//! What a file is, by its first bytes and by what its server says.
//!
//! The bytes go first: storage servers say `application/octet-stream` of everything, and pages of errors are sent with
//! status 200. Text has no first bytes of its own, so there the server's word must do.

use crate::hub::MediaKind;

/// Beginnings of formats: where in the file, what stands there, and what it then is.
const BEGINNINGS: [(usize, &[u8], &str); 19] = [
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyphei", "image/heic"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"PK\x03\x04", ZIP),
];

/// Office documents are archives; which one, the server must say.
const ZIP: &str = "application/zip";

/// The MIME type of a file that shall be of this kind, or what it is instead. `said` is the client's word, `declared` the
/// server's.
pub(super) fn of(kind: MediaKind, said: &str, declared: &str, bytes: &[u8]) -> Result<String, String> {
    if bytes.is_empty() {
        return Err("nothing".to_owned());
    }
    let begins = |at: usize, with: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(with));
    let known = BEGINNINGS
        .iter()
        .find(|(at, with, _)| begins(*at, with))
        .map(|(_, _, mime)| *mime);
    match known {
        Some(ZIP) if kind == MediaKind::Document => office(said, declared).ok_or_else(|| "an archive".to_owned()),
        // Containers that hold sound or film: the server's or the client's word decides between them.
        Some("audio/ogg" | "video/mp4" | "video/webm") if matches!(kind, MediaKind::Audio | MediaKind::Video) => {
            let is_of_kind = |mime: &&str| MediaKind::of(mime) == kind && mime.contains('/');
            let told = [said, declared].into_iter().find(is_of_kind);
            told.or(known.filter(is_of_kind))
                .map(str::to_owned)
                .ok_or_else(|| named(known.unwrap_or_default()))
        }
        Some(mime) if mime != ZIP && MediaKind::of(mime) == kind => Ok(mime.to_owned()),
        Some(mime) => Err(named(mime)),
        None => unmarked(kind, said, declared, bytes),
    }
}

/// A file without a mark of its own.
fn unmarked(kind: MediaKind, said: &str, declared: &str, bytes: &[u8]) -> Result<String, String> {
    if kind != MediaKind::Document {
        let is_it = declared.contains('/') && MediaKind::of(declared) == kind;
        return if is_it {
            Ok(declared.to_owned())
        } else {
            Err(named(declared))
        };
    }
    // A page instead of a document is what a login or an error looks like, unless a page was asked for.
    let looks_like_page = declared == "text/html" || declared == "application/xhtml+xml";
    let is_text = declared.starts_with("text/") || is_text_of_programs(declared);
    if is_text && (!looks_like_page || said == "text/html") && std::str::from_utf8(bytes).is_ok() {
        return Ok(declared.to_owned());
    }
    office(said, declared).ok_or_else(|| named(declared))
}

fn is_text_of_programs(mime: &str) -> bool {
    matches!(
        mime,
        "application/json" | "application/xml" | "application/yaml" | "application/x-yaml"
    )
}

/// A document of an office, by the server's word or else the client's.
fn office(said: &str, declared: &str) -> Option<String> {
    let is_one = |mime: &&str| {
        mime.starts_with("application/vnd.openxmlformats-officedocument.")
            || mime.starts_with("application/vnd.oasis.opendocument.")
            || matches!(
                *mime,
                "application/msword" | "application/vnd.ms-excel" | "application/epub+zip"
            )
    };
    [declared, said].into_iter().find(is_one).map(str::to_owned)
}

/// A type as an error may repeat it: bounded, since it is a stranger's word.
fn named(mime: &str) -> String {
    const SHOWN_MAX: usize = 64;
    if mime.is_empty() {
        return "of an unknown type".to_owned();
    }
    let shown: String = mime.chars().filter(char::is_ascii_graphic).take(SHOWN_MAX).collect();
    format!("`{shown}`")
}
