//! Where HTTP says that a body ends. Everything that the client claims about endings rests on this.

use super::exchange::Exchange;
use super::response::{End, Head};

/// Longest response head.
const HEAD_MAX: usize = 256 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    Unknown,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Exchange {
    /// Takes the head off the buffer if it is there whole; interim answers (1xx) are passed over.
    pub(super) fn parse_head(&mut self) -> Result<bool, ()> {
        let buffer = &mut self.connection.buffer;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() <= HEAD_MAX => return Ok(false),
            Ok(httparse::Status::Partial) | Err(_) => return Err(()),
        };
        let status = head.code.unwrap_or(0);
        let headers = head
            .headers
            .iter()
            .map(|header| {
                (
                    header.name.to_owned(),
                    String::from_utf8_lossy(header.value).into_owned(),
                )
            })
            .collect();
        buffer.drain(..length);
        if (100..200).contains(&status) {
            return Ok(!buffer.is_empty() && self.parse_head()?);
        }
        let head = Head {
            status,
            headers,
            at: self.sent.elapsed(),
        };
        self.framing = framing(&head, self.to_head)?;
        self.head = Some(head);
        Ok(true)
    }

    pub(super) fn take_length(&mut self, left: usize) -> Option<Vec<u8>> {
        let buffer = &mut self.connection.buffer;
        let take = left.min(buffer.len());
        let bytes: Vec<u8> = buffer.drain(..take).collect();
        self.framing = Framing::Length(left - take);
        if left == 0 {
            self.end = Some(End::Complete);
        }
        (take > 0).then_some(bytes)
    }

    pub(super) fn take_all(&mut self) -> Option<Vec<u8>> {
        let bytes = std::mem::take(&mut self.connection.buffer);
        (!bytes.is_empty()).then_some(bytes)
    }

    /// One HTTP chunk, if it is there whole.
    pub(super) fn take_chunk(&mut self) -> Option<Vec<u8>> {
        let buffer = &mut self.connection.buffer;
        let line_end = memchr::memmem::find(buffer, b"\r\n")?;
        let size = std::str::from_utf8(&buffer[..line_end]).ok().and_then(chunk_size);
        let Some(size) = size else {
            self.end = Some(End::Broken);
            return None;
        };
        let start = line_end + 2;
        if size == 0 {
            // Trailers, if any, end with an empty line.
            let rest = &buffer[line_end..];
            let trailers_end = memchr::memmem::find(rest, b"\r\n\r\n")?;
            buffer.drain(..line_end + trailers_end + 4);
            self.end = Some(End::Complete);
            return None;
        }
        if buffer.len() < start + size + 2 {
            return None;
        }
        let bytes = buffer[start..start + size].to_vec();
        buffer.drain(..start + size + 2);
        Some(bytes)
    }
}

fn chunk_size(line: &str) -> Option<usize> {
    usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()
}

fn framing(head: &Head, to_head: bool) -> Result<Framing, ()> {
    if to_head || matches!(head.status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    if head
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
    {
        return Ok(Framing::Chunked);
    }
    match head.header("content-length") {
        Some(value) => value.trim().parse().map(Framing::Length).map_err(|_| ()),
        None => Ok(Framing::UntilClose),
    }
}
