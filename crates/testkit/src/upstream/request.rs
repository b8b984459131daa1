//! Requests, read by hand: header order and spelling and the very bytes of the body are what tests of pass-through ask
//! about, and a server library hides them.

use bytes::{Buf, Bytes, BytesMut};

use super::conn::{Conn, Gone};

/// Longest request head; Tollgate's own limit is far below.
const HEAD_MAX: usize = 256 * 1024;
/// Longest request body, above every provider's limit (Anthropic's batches: 256 MB).
const BODY_MAX: usize = 300 * 1024 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 256;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) keep_alive: bool,
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum NoRequest {
    /// The client closed the connection, between requests or within one.
    Gone,
    /// It sent something that is no HTTP/1.1.
    Malformed(String),
}

impl From<Gone> for NoRequest {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Request {
    #[cfg(test)]
    pub(crate) fn of(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            keep_alive: true,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) async fn read(conn: &mut Conn) -> Result<Self, NoRequest> {
        let mut request = loop {
            if let Some(request) = parse_head(&mut conn.buffer)? {
                break request;
            }
            if conn.buffer.len() > HEAD_MAX {
                return Err(NoRequest::Malformed(format!("a head longer than {HEAD_MAX} bytes")));
            }
            conn.fill().await?;
        };
        if request
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            conn.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.body = read_body(conn, &request).await?;
        Ok(request)
    }
}

fn parse_head(buffer: &mut BytesMut) -> Result<Option<Request>, NoRequest> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(NoRequest::Malformed(error.to_string())),
    };
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
    let mut request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
        keep_alive: head.version == Some(1),
    };
    request.keep_alive &= !request
        .header("connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
    buffer.advance(length);
    Ok(Some(request))
}

async fn read_body(conn: &mut Conn, request: &Request) -> Result<Bytes, NoRequest> {
    if request
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
    {
        return read_chunked(conn).await;
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
    let length = length.map_err(|error| NoRequest::Malformed(format!("content-length: {error}")))?;
    take(conn, length).await
}

async fn read_chunked(conn: &mut Conn) -> Result<Bytes, NoRequest> {
    let mut body = BytesMut::new();
    loop {
        let line = read_line(conn).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|error| NoRequest::Malformed(format!("chunk size {line:?}: {error}")))?;
        if size == 0 {
            while !read_line(conn).await?.is_empty() {}
            return Ok(body.freeze());
        }
        if body.len() + size > BODY_MAX {
            return Err(NoRequest::Malformed(format!("a body longer than {BODY_MAX} bytes")));
        }
        body.extend_from_slice(&take(conn, size).await?);
        read_line(conn).await?;
    }
}

async fn read_line(conn: &mut Conn) -> Result<String, NoRequest> {
    loop {
        if let Some(end) = memchr::memchr(b'\n', &conn.buffer) {
            let line = conn.buffer.split_to(end + 1);
            return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        if conn.buffer.len() > HEAD_MAX {
            return Err(NoRequest::Malformed("an endless line".to_owned()));
        }
        conn.fill().await?;
    }
}

async fn take(conn: &mut Conn, length: usize) -> Result<Bytes, NoRequest> {
    if length > BODY_MAX {
        return Err(NoRequest::Malformed(format!("a body longer than {BODY_MAX} bytes")));
    }
    while conn.buffer.len() < length {
        conn.fill().await?;
    }
    Ok(conn.buffer.split_to(length).freeze())
}
