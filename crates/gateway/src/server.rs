//! Accepting connections, and stopping without dropping any.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::{DRAIN_LIMIT, Gateway};
use crate::graceful::{Connected, Graceful, Noted};
use crate::limits::{CLIENT_UNREAD_MAX, CONNECTIONS_MAX, HEAD_READ_TIMEOUT, STOP_CUT_MAX, STOP_UNSENT_MAX};
use crate::pipeline;
use crate::selfwake::Repoll;
use crate::stop::Stage;

/// How to serve.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where connections come in.
    pub listener: TcpListener,
    /// The control plane's routes: everything that is not the data plane's.
    pub control: Router,
    /// Cancelled: stop accepting, finish what is under way.
    pub shutdown: CancellationToken,
    /// How long that may take; `None`: half a minute.
    pub drain_limit: Option<Duration>,
}

/// Serves until told to stop and everything under way has ended, or the limit has passed. Returns whether everything
/// ended by itself.
pub async fn serve(gateway: Gateway, options: ServeOptions) -> bool {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let control = Arc::new(options.control);
    loop {
        let place = Arc::clone(&places);
        let accepted = tokio::select! {
            () = options.shutdown.cancelled() => break,
            accepted = accept(&options.listener, place) => accepted,
        };
        if let Some((socket, peer, place)) = accepted {
            let connected = Arc::<Connected>::default();
            let connection = connection(
                gateway.clone(),
                Arc::clone(&control),
                (socket, peer),
                Arc::clone(&connected),
            );
            let watched = Repoll::new(Graceful::new(connection, connected, Arc::clone(&gateway.inner)));
            connections.spawn(async move {
                // A connection that breaks has nobody left to be told; its calls have settled by being dropped.
                if let Err(error) = watched.await {
                    tracing::debug!(%peer, %error, "a connection ended early");
                }
                drop(place);
            });
        }
    }
    gateway.drain();
    drop(options.listener);
    connections.close();
    finish(&gateway, &connections, options.drain_limit.unwrap_or(DRAIN_LIMIT)).await
}

/// Waits for what is under way, cuts off what is left at the limit, and drops what does not even take its leave.
async fn finish(gateway: &Gateway, connections: &TaskTracker, limit: Duration) -> bool {
    let (stop, sessions) = (&gateway.inner.stop, &gateway.inner.sessions);
    let all = async {
        connections.wait().await;
        sessions.ended().await;
    };
    let mut all = std::pin::pin!(all);
    let unsent = STOP_UNSENT_MAX.min(limit);
    for (wait, then) in [
        (unsent, Stage::Refusing),
        (limit.saturating_sub(unsent), Stage::Cutting),
    ] {
        if timeout(wait, &mut all).await.is_ok() {
            return true;
        }
        stop.reach(then);
    }
    tracing::warn!("what is still under way is cut off");
    // Whether they took their leave or not, they are dropped next.
    let leave = timeout(STOP_CUT_MAX, connections.wait());
    drop(tokio::join!(sessions.close(), leave));
    stop.reach(Stage::Over);
    connections.wait().await;
    false
}

async fn accept(
    listener: &TcpListener,
    places: Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => {
            if let Err(error) = socket.set_nodelay(true).and_then(|()| bound_unread(&socket)) {
                tracing::debug!(%peer, %error, "a connection was gone before it began");
                return None;
            }
            Some((socket, peer, place))
        }
        Err(error) => {
            // Out of file descriptors, say: waiting a little lets others end.
            tracing::error!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// A client that is there and reads nothing would hold its call, its upstream and its receipt for ever: hyper asks for
/// no more of an answer than can be written, so no timer of ours would be looked at. The kernel breaks it off.
#[cfg(target_os = "linux")]
fn bound_unread(socket: &TcpStream) -> std::io::Result<()> {
    let limit_ms = u32::try_from(CLIENT_UNREAD_MAX.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(socket, limit_ms).map_err(Into::into)
}

/// Elsewhere there is no such option; the client's own end of the connection is what ends it.
#[cfg(not(target_os = "linux"))]
fn bound_unread(_: &TcpStream) -> std::io::Result<()> {
    Ok(())
}

fn connection(
    gateway: Gateway,
    control: Arc<Router>,
    (socket, peer): (TcpStream, SocketAddr),
    connected: Arc<Connected>,
) -> http1::UpgradeableConnection<
    Noted<TokioIo<TcpStream>>,
    impl hyper::service::HttpService<
        hyper::body::Incoming,
        ResBody = crate::Body,
        Error = std::convert::Infallible,
        Future: Send,
    >,
> {
    let socket = Noted::new(TokioIo::new(socket), Arc::clone(&connected));
    let service = service_fn(move |request| {
        let (gateway, control) = (gateway.clone(), Arc::clone(&control));
        let answering = connected.answering();
        // In a box of its own that is gone once the answer has begun: hyper keeps room for this future as long as
        // the connection lives, and a stream may be open for minutes.
        async move {
            let answer = Box::pin(pipeline::answer(&gateway.inner, &control, request, peer.ip())).await;
            Ok(answer.map(|body| body.on(answering)))
        }
    });
    // Without `half_close`: who ends its writing side after its request (`nc -N`) gets no answer. The same FIN is how nearly
    // every client leaves, and with it allowed nothing would tell us so before something is written to who is gone: the
    // upstream would go on generating, and somebody would pay for it. RFC 9112, 9.6, leaves both to the server.
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_TIMEOUT)
        .serve_connection(socket, service)
        .with_upgrades()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_have_nodelay_set_and_must_be_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(
            TcpStream::connect(address),
            accept(&listener, Arc::new(Semaphore::new(1)))
        );
        let (socket, peer, _) = accepted.unwrap();
        assert!(socket.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&socket).unwrap(), 300_000);
        assert_eq!(peer, client.unwrap().local_addr().unwrap());
    }
}
