//! The thread that the upstream lives in, and its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::asked::Asked;
use super::behaviour::Reply;
use super::conn::Conn;
use super::control::Control;
use super::layout::Plan;
use super::play::{After, play};
use super::request::{NoRequest, Request};
use super::shared::Shared;
use super::talk;

/// Connections that may wait to be accepted: more than the largest test opens at once.
const BACKLOG: u32 = 4096;

/// What the test may ask of the thread.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    Refuse,
    Accept,
    ResetAll,
    ResetNext(usize),
    Stop,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    commands: mpsc::UnboundedSender<(Command, blocking::Sender<()>)>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(shared: Arc<Shared>, control: Control) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), shared, control)
    }

    pub(crate) fn start_at(address: SocketAddr, shared: Arc<Shared>, control: Control) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (tell, told) = blocking::channel();
        let thread = std::thread::Builder::new()
            .name("scripted-upstream".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a tokio runtime").block_on(async move {
                    let door = Door::open(address);
                    tell.send(door.address).expect("the starter waits");
                    House {
                        door,
                        shared,
                        control,
                        commands: receiver,
                    }
                    .run()
                    .await;
                });
            })
            .expect("a thread");
        let address = told.recv().expect("the upstream could not start; see the panic above");
        Self {
            address,
            commands,
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the command has been carried out.
    pub(crate) fn command(&self, command: Command) {
        let (done, wait) = blocking::channel();
        self.commands
            .send((command, done))
            .expect("the upstream's thread lives");
        wait.recv().expect("the upstream's thread lives");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (done, _) = blocking::channel();
        self.commands.send((Command::Stop, done)).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The port: listening, or only held, so that connecting is refused and nobody else can take it.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    state: DoorState,
}

#[derive(Debug)]
enum DoorState {
    Listening(TcpListener),
    Held(TcpSocket),
    /// Only between the two.
    Moving,
}

impl Door {
    fn open(address: SocketAddr) -> Self {
        let socket = bound(address);
        let address = socket.local_addr().expect("a bound socket has an address");
        Self {
            address,
            state: DoorState::Listening(socket.listen(BACKLOG).expect("the port listens")),
        }
    }

    fn refuse(&mut self) {
        if matches!(self.state, DoorState::Listening(_)) {
            // Bound anew before the listener is gone: in between, the port would be anybody's.
            let held = bound(self.address);
            self.state = DoorState::Held(held);
        }
    }

    fn accept(&mut self) {
        if let DoorState::Held(socket) = std::mem::replace(&mut self.state, DoorState::Moving) {
            self.state = DoorState::Listening(socket.listen(BACKLOG).expect("the port listens again"));
        }
    }

    async fn next(&self) -> TcpStream {
        let DoorState::Listening(listener) = &self.state else {
            return std::future::pending().await;
        };
        loop {
            // A connection that was gone before it was accepted is not ours to worry about.
            if let Ok((stream, _)) = listener.accept().await {
                return stream;
            }
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR");
    // So that a port can be held while it still listens.
    socket.set_reuseport(true).expect("SO_REUSEPORT");
    socket
        .bind(address)
        .unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
    socket
}

/// The thread's own state.
struct House {
    door: Door,
    shared: Arc<Shared>,
    control: Control,
    commands: mpsc::UnboundedReceiver<(Command, blocking::Sender<()>)>,
}

impl House {
    async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut to_reset = 0;
        let (idle_close, _) = watch::channel(());
        let (reset, _) = watch::channel(());
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => {
                    let Some((command, done)) = command else { return };
                    match command {
                        Command::Stop => return,
                        Command::Refuse => {
                            self.door.refuse();
                            idle_close.send_replace(());
                        }
                        Command::Accept => self.door.accept(),
                        Command::ResetAll => {
                            reset.send_replace(());
                            while connections.join_next().await.is_some() {}
                        }
                        Command::ResetNext(count) => to_reset = count,
                    }
                    // Nobody waits for the answer only if the test panicked.
                    done.send(()).ok();
                }
                stream = self.door.next() => {
                    let number = self.shared.connected();
                    let conn = Conn::new(stream);
                    if to_reset > 0 {
                        to_reset -= 1;
                        conn.reset();
                        continue;
                    }
                    let guest = Guest { number, shared: self.shared.clone(), control: self.control };
                    connections.spawn(guest.serve(conn, idle_close.subscribe(), reset.subscribe()));
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}

/// One connection's server.
struct Guest {
    number: u64,
    shared: Arc<Shared>,
    control: Control,
}

impl Guest {
    async fn serve(self, mut conn: Conn, mut idle_close: watch::Receiver<()>, mut reset: watch::Receiver<()>) {
        loop {
            let request = tokio::select! {
                biased;
                _ = reset.changed() => return conn.reset(),
                _ = idle_close.changed(), if conn.buffer.is_empty() => return conn.close().await,
                request = Request::read(&mut conn) => request,
            };
            let request = match request {
                Ok(request) => request,
                Err(NoRequest::Gone) => return,
                Err(NoRequest::Malformed(why)) => return refuse(conn, &why).await,
            };
            if self.control == Control::On && request.target.starts_with("/__") {
                if super::control::answer(&self.shared, &mut conn, &request).await.is_err() {
                    return;
                }
                continue;
            }
            let after = tokio::select! {
                biased;
                _ = reset.changed() => After::Reset,
                after = self.answer(&mut conn, request) => after,
            };
            match after {
                After::Keep => {}
                After::Close => return conn.close().await,
                After::Reset => return conn.reset(),
            }
        }
    }

    async fn answer(&self, conn: &mut Conn, request: Request) -> After {
        let asked = Asked::read(&request);
        let key = request.header("sec-websocket-key").map(str::to_owned);
        let (keep_alive, no_body) = (request.keep_alive, request.method == "HEAD");
        let (call, behaviour) = self.shared.begin(self.number, request, &asked);
        if let (Some(key), Reply::Talk(talk)) = (&key, &behaviour.reply) {
            return talk::hold(conn, talk, key, &call).await;
        }
        let rendered = behaviour.render(call.number, &asked);
        play(conn, Plan::lay_out(&behaviour, &rendered, keep_alive, no_body), &call).await
    }
}

/// Answers what is no HTTP/1.1; not a call, so not recorded.
async fn refuse(mut conn: Conn, why: &str) {
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        why.len()
    );
    conn.write(format!("{head}{why}").as_bytes()).await.ok();
    conn.close().await;
}
