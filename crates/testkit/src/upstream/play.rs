//! Does what the plan says on the socket, and tells the record how far it came.

use bytes::BytesMut;

use super::conn::{Conn, Gone};
use super::layout::{End, Plan, Step};
use super::received::Ending;
use super::shared::Call;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come on it.
    Keep,
    /// It is closed in order.
    Close,
    /// It is reset.
    Reset,
}

/// Plays one plan.
pub(crate) async fn play(conn: &mut Conn, plan: Plan, call: &Call) -> After {
    if act(conn, plan.steps, call).await.is_err() {
        call.end(Ending::ClientGone);
        return After::Close;
    }
    let (ending, after) = match plan.end {
        End::Whole { keep_alive } => (Ending::Completed, keep_or_close(keep_alive)),
        End::Short { keep_alive } => (Ending::Cut, keep_or_close(keep_alive)),
        End::Close => (Ending::Cut, After::Close),
        End::Reset => (Ending::Cut, After::Reset),
        End::Stall => {
            conn.left().await;
            (Ending::ClientGone, After::Close)
        }
    };
    call.end(ending);
    after
}

fn keep_or_close(keep_alive: bool) -> After {
    if keep_alive { After::Keep } else { After::Close }
}

async fn act(conn: &mut Conn, steps: Vec<Step>, call: &Call) -> Result<(), Gone> {
    // The head waits here for the first chunk: servers send both in one packet, and so do we.
    let mut pending = BytesMut::new();
    for step in steps {
        match step {
            Step::Head(head) => pending.extend_from_slice(&head),
            Step::Trickle(head, pause) => {
                for byte in head {
                    conn.write(&[byte]).await?;
                    call.sent(0);
                    conn.wait(tokio::time::sleep(pause)).await?;
                }
            }
            Step::Chunk { framed, body } => {
                pending.extend_from_slice(&framed);
                flush(conn, &mut pending, call, body).await?;
            }
            Step::Last(bytes) => {
                pending.extend_from_slice(&bytes);
                flush(conn, &mut pending, call, 0).await?;
            }
            Step::Pause(pause) => {
                flush(conn, &mut pending, call, 0).await?;
                conn.wait(tokio::time::sleep(pause)).await?;
            }
            Step::Hold(gate) => {
                flush(conn, &mut pending, call, 0).await?;
                conn.wait(gate.passed()).await?;
            }
        }
    }
    flush(conn, &mut pending, call, 0).await
}

async fn flush(conn: &mut Conn, pending: &mut BytesMut, call: &Call, body: usize) -> Result<(), Gone> {
    if pending.is_empty() {
        return Ok(());
    }
    conn.write(&pending.split()).await?;
    call.sent(body);
    Ok(())
}
