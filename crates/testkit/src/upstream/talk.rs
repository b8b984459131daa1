//! A WebSocket that follows a script: what is said in which order, what is waited for, and how it ends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::conn::{Conn, Gone};
use super::fault::Gate;
use super::play::After;
use super::received::Ending;
use super::shared::Call;
use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, accept};

/// A session.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Talk {
    /// The subprotocol that is chosen.
    pub protocol: Option<String>,
    /// What happens, in order; then goodbyes are returned and nothing else is said.
    pub turns: Vec<Turn>,
}

/// One thing that happens in a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Says this text.
    Say(String),
    /// Says these bytes.
    SayBytes(#[serde(with = "crate::recordings::body_form")] Bytes),
    /// Says one text in as many frames.
    SayInFrames(Vec<String>),
    /// Waits for a message that contains this.
    Hear(String),
    /// Asks for a sign of life.
    Ping,
    /// Says goodbye, and waits for the answer.
    Close(u16, String),
    /// Resets the connection.
    Reset,
    /// Closes the connection without a goodbye.
    HangUp,
    /// Reads nothing more, and says nothing.
    Deaf,
    /// Waits until the test opens the gate.
    #[serde(skip)]
    Hold(Gate),
    /// Begins the script anew.
    Again,
}

impl Talk {
    /// A session of these turns.
    pub fn of(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self {
            protocol: None,
            turns: turns.into_iter().collect(),
        }
    }

    /// Chooses a subprotocol.
    pub fn protocol(mut self, name: &str) -> Self {
        self.protocol = Some(name.to_owned());
        self
    }
}

/// Has the session.
pub(crate) async fn hold(conn: &mut Conn, talk: &Talk, key: &str, call: &Call) -> After {
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        accept(key)
    );
    if let Some(protocol) = &talk.protocol {
        answer.push_str("Sec-WebSocket-Protocol: ");
        answer.push_str(protocol);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    let mut heard = Heard::default();
    let result = match conn.write(answer.as_bytes()).await {
        Ok(()) => follow(conn, talk, &mut heard, call).await,
        Err(gone) => Err(gone),
    };
    let (ending, after) = match result {
        Ok(Done::Closed) => (Ending::Completed, After::Close),
        Ok(Done::Reset) => (Ending::Cut, After::Reset),
        Ok(Done::HungUp) => (Ending::Cut, After::Close),
        Err(Gone) => (Ending::ClientGone, After::Close),
    };
    call.end(ending);
    after
}

enum Done {
    Closed,
    Reset,
    HungUp,
}

/// Messages that came and were not waited for yet.
#[derive(Default)]
struct Heard {
    messages: std::collections::VecDeque<String>,
    partial: Vec<u8>,
    closed: bool,
}

async fn follow(conn: &mut Conn, talk: &Talk, heard: &mut Heard, call: &Call) -> Result<Done, Gone> {
    let mut at = 0;
    while let Some(turn) = talk.turns.get(at) {
        at += 1;
        match turn {
            Turn::Say(text) => write(conn, &Frame::whole(TEXT, text.as_bytes()), call).await?,
            Turn::SayBytes(bytes) => write(conn, &Frame::whole(BINARY, bytes.to_vec()), call).await?,
            Turn::SayInFrames(pieces) => {
                for (index, piece) in pieces.iter().enumerate() {
                    let frame = Frame {
                        last: index + 1 == pieces.len(),
                        ..Frame::whole(if index == 0 { TEXT } else { CONTINUATION }, piece.as_bytes())
                    };
                    write(conn, &frame, call).await?;
                }
            }
            Turn::Hear(text) => {
                while !heard.take(text) {
                    if heard.closed {
                        return Ok(Done::Closed);
                    }
                    listen(conn, heard, call).await?;
                }
            }
            Turn::Ping => write(conn, &Frame::whole(PING, "there?"), call).await?,
            Turn::Close(code, reason) => {
                write(conn, &Frame::close(*code, reason), call).await?;
                while !heard.closed {
                    listen(conn, heard, call).await?;
                }
                return Ok(Done::Closed);
            }
            Turn::Reset => return Ok(Done::Reset),
            Turn::HangUp => return Ok(Done::HungUp),
            Turn::Deaf => std::future::pending().await,
            Turn::Hold(gate) => conn.wait(gate.passed()).await?,
            Turn::Again => at = 0,
        }
    }
    while !heard.closed {
        listen(conn, heard, call).await?;
    }
    Ok(Done::Closed)
}

async fn write(conn: &mut Conn, frame: &Frame, call: &Call) -> Result<(), Gone> {
    conn.write(&frame.bytes(None)).await?;
    call.sent(frame.payload.len());
    Ok(())
}

/// Takes the next frame.
async fn listen(conn: &mut Conn, heard: &mut Heard, call: &Call) -> Result<(), Gone> {
    let frame = loop {
        match Frame::take(&mut conn.buffer) {
            Some(frame) => break frame,
            None => conn.fill().await?,
        }
    };
    match frame.opcode {
        PING => conn.write(&Frame::whole(PONG, frame.payload).bytes(None)).await?,
        PONG => call.heard("pong".to_owned()),
        CLOSE => {
            heard.closed = true;
            call.heard(format!("close {}", frame.close_code().map_or(0, |(code, _)| code)));
            // One that had closed first needs no second goodbye, and takes none.
            conn.write(&Frame::whole(CLOSE, frame.payload).bytes(None)).await.ok();
        }
        _ => {
            heard.partial.extend(frame.payload);
            if frame.last {
                let text = String::from_utf8_lossy(&std::mem::take(&mut heard.partial)).into_owned();
                call.heard(text.clone());
                heard.messages.push_back(text);
            }
        }
    }
    Ok(())
}

impl Heard {
    /// Takes the first message that contains `text`, and those before it.
    fn take(&mut self, text: &str) -> bool {
        let found = self.messages.iter().position(|message| message.contains(text));
        if let Some(at) = found {
            self.messages.drain(..=at);
        }
        found.is_some()
    }
}
