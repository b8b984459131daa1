//! An authorization server that does as it is told: it logs people in without asking, verifies PKCE, rotates refresh tokens
//! and takes each of them once, and refuses, fails, limits or delays when it is told to.
//!
//! It is strict where real ones are: a refresh token that was spent once is answered with `invalid_grant`, whatever the
//! reason for which it came again. So a gateway that renews twice, or forgets what it got, is found out.
//!
//! ```no_run
//! use testkit::authority::{Authority, Fault};
//! let authority = Authority::start();
//! // … `tollgate account add` prints an address …
//! # let url = "";
//! let pasted = authority.log_in(url);          // `code#state`, as a person copies it
//! authority.fail_next(Fault::status(500));     // the next request for tokens
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

/// How long waiting functions wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A running authorization server; dropping it ends it.
#[derive(Debug)]
pub struct Authority {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// How long access tokens live.
    life: Duration,
    /// Counts everything that is handed out, so that no two are alike.
    number: u64,
    codes: HashMap<String, Login>,
    /// Refresh tokens that are good, and whose they are.
    refresh: HashMap<String, u64>,
    /// Access tokens handed out, oldest first, with the account.
    access: Vec<(String, u64)>,
    revoked: HashSet<u64>,
    faults: VecDeque<Fault>,
    asked: Vec<Asked>,
    stopping: bool,
}

#[derive(Debug)]
struct Login {
    challenge: String,
    method: String,
    redirect_uri: String,
    client_id: String,
    state: String,
    account: u64,
}

/// A request for tokens, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `authorization_code` or `refresh_token`.
    pub grant: String,
    /// All fields, in whichever form they came.
    pub fields: HashMap<String, String>,
    /// `application/json` or a form.
    pub content_type: String,
    /// What was answered.
    pub status: u16,
    /// Whether the answer was handed to the socket.
    pub answered: bool,
}

/// What a request for tokens meets instead of tokens, or before them.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// `None`: tokens after all.
    status: Option<(u16, Value)>,
    headers: Vec<(String, String)>,
    delay: Duration,
}

impl Fault {
    /// This status, without anything that can be read.
    pub fn status(status: u16) -> Self {
        let body = json!({"error": if status == 429 { "rate_limited" } else { "server_error" }});
        Self {
            status: Some((status, body)),
            ..Self::default()
        }
    }

    /// 400 with this word, and a description that repeats what was sent.
    pub fn refusal(word: &str) -> Self {
        Self {
            status: Some((400, json!({"error": word, "error_description": "planted-description"}))),
            ..Self::default()
        }
    }

    /// Tokens, but later.
    pub fn slow(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// With this header too.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Authority {
    /// Starts one on a free port of 127.0.0.1. Access tokens live for an hour.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            life: Duration::from_hours(1),
            number: 0,
            codes: HashMap::new(),
            refresh: HashMap::new(),
            access: Vec::new(),
            revoked: HashSet::new(),
            faults: VecDeque::new(),
            asked: Vec::new(),
            stopping: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("authority".to_owned())
            .spawn(move || serve(&listener, &served))
            .expect("a thread");
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// Where people log in.
    pub fn authorize_url(&self) -> String {
        format!("http://{}/authorize", self.address)
    }

    /// Where tokens are to be had.
    pub fn token_url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// Where people are sent with their code.
    pub fn redirect_uri(&self) -> String {
        format!("http://{}/callback", self.address)
    }

    /// How long access tokens live from now on.
    pub fn tokens_live(&self, life: Duration) {
        self.shared.state.lock().life = life;
    }

    /// What the next request for tokens (after those told before) meets.
    pub fn fail_next(&self, fault: Fault) {
        self.shared.state.lock().faults.push_back(fault);
    }

    /// Forgets the faults that are left.
    pub fn heal(&self) {
        self.shared.state.lock().faults.clear();
    }

    /// Takes back every refresh token handed out so far.
    pub fn revoke_all(&self) {
        self.shared.state.lock().refresh.clear();
    }

    /// Logs a new person in at the address that a gateway printed: what they copy, `code#state`.
    pub fn log_in(&self, url: &str) -> String {
        let (code, state) = self.code_and_state(url);
        format!("{code}#{state}")
    }

    /// The same, as the address that their browser ends at.
    pub fn log_in_and_redirect(&self, url: &str) -> String {
        let (code, state) = self.code_and_state(url);
        format!("{}?code={code}&state={state}", self.redirect_uri())
    }

    fn code_and_state(&self, url: &str) -> (String, String) {
        let query = url
            .strip_prefix(&format!("{}?", self.authorize_url()))
            .unwrap_or_else(|| panic!("{url} is not below {}", self.authorize_url()));
        let mut fields = form_fields(query);
        let mut take = |name: &str| fields.remove(name).unwrap_or_else(|| panic!("{url} has no {name}"));
        assert_eq!(take("response_type"), "code", "{url}");
        let mut state = self.shared.state.lock();
        state.number += 1;
        let code = format!("ac-{}", state.number);
        let login = Login {
            challenge: take("code_challenge"),
            method: take("code_challenge_method"),
            redirect_uri: take("redirect_uri"),
            client_id: take("client_id"),
            state: take("state"),
            account: state.number,
        };
        let of = login.state.clone();
        state.codes.insert(code.clone(), login);
        (code, of)
    }

    /// Every request for tokens so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state.lock().asked.clone()
    }

    /// How many renewals were asked for so far.
    pub fn renewals(&self) -> usize {
        let is_renewal = |asked: &&Asked| asked.grant == "refresh_token";
        self.shared.state.lock().asked.iter().filter(is_renewal).count()
    }

    /// Waits until so many renewals were answered.
    pub fn wait_for_renewals(&self, count: usize) {
        let deadline = Instant::now() + WAIT_MAX;
        let mut state = self.shared.state.lock();
        let answered = |state: &State| {
            let is_answered = |asked: &&Asked| asked.grant == "refresh_token" && asked.answered;
            state.asked.iter().filter(is_answered).count()
        };
        while answered(&state) < count {
            let timed_out = self.shared.changed.wait_until(&mut state, deadline).timed_out();
            assert!(
                !timed_out,
                "waited {WAIT_MAX:?} for {count} renewals; saw {:?}",
                state.asked
            );
        }
    }

    /// The access token handed out last.
    pub fn newest_access_token(&self) -> String {
        let state = self.shared.state.lock();
        state.access.last().expect("one was handed out").0.clone()
    }

    /// Everything secret that was handed out.
    pub fn secrets(&self) -> Vec<String> {
        let state = self.shared.state.lock();
        let access = state.access.iter().map(|(token, _)| token.clone());
        access.chain(state.refresh.keys().cloned()).collect()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        // Wakes the thread.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.state.lock().stopping {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // One request each: a fault that delays one must not hold up the others.
        std::thread::spawn(move || answer(stream, &shared));
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) {
    let Some((target, content_type, body)) = read(&stream) else {
        return;
    };
    if target != "/token" {
        write(&mut stream, 404, &[], &json!({"error": "not_found"}));
        return;
    }
    let fields = if content_type.starts_with("application/json") {
        let object: HashMap<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        object.into_iter().map(|(name, value)| (name, text(value))).collect()
    } else {
        form_fields(&String::from_utf8_lossy(&body))
    };
    let (place, fault) = {
        let mut state = shared.state.lock();
        let place = state.asked.len();
        state.asked.push(Asked {
            grant: fields.get("grant_type").cloned().unwrap_or_default(),
            fields: fields.clone(),
            content_type,
            status: 0,
            answered: false,
        });
        (place, state.faults.pop_front().unwrap_or_default())
    };
    shared.changed.notify_all();
    std::thread::sleep(fault.delay);
    let (status, said) = match fault.status {
        Some(refusal) => refusal,
        None => tokens(&mut shared.state.lock(), &fields),
    };
    write(&mut stream, status, &fault.headers, &said);
    let mut state = shared.state.lock();
    state.asked[place].status = status;
    state.asked[place].answered = true;
    drop(state);
    shared.changed.notify_all();
}

/// Hands out tokens, or says in the standard's words why not.
fn tokens(state: &mut State, fields: &HashMap<String, String>) -> (u16, Value) {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let account = match field("grant_type") {
        "authorization_code" => match state.codes.remove(field("code")) {
            Some(login) if is_its_owner(&login, &field) => Some(login.account),
            _ => None,
        },
        // Once, and never again.
        "refresh_token" => state.refresh.remove(field("refresh_token")),
        _ => return (400, json!({"error": "unsupported_grant_type"})),
    };
    let Some(account) = account.filter(|account| !state.revoked.contains(account)) else {
        return (
            400,
            json!({"error": "invalid_grant", "error_description": "planted-description"}),
        );
    };
    state.number += 1;
    let (access, refresh) = (
        format!("at-planted-{account}-{}", state.number),
        format!("rt-planted-{account}-{}", state.number),
    );
    state.access.push((access.clone(), account));
    state.refresh.insert(refresh.clone(), account);
    let said = json!({
        "token_type": "Bearer", "access_token": access, "refresh_token": refresh, "expires_in": state.life.as_secs(),
    });
    (200, said)
}

fn is_its_owner<'a>(login: &Login, field: &impl Fn(&str) -> &'a str) -> bool {
    let verifier = field("code_verifier");
    let proven = match login.method.as_str() {
        "S256" => URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes())),
        _ => verifier.to_owned(),
    };
    (43..=128).contains(&verifier.len())
        && proven == login.challenge
        && field("redirect_uri") == login.redirect_uri
        && field("client_id") == login.client_id
        && [login.state.as_str(), ""].contains(&field("state"))
}

/// Target, content type and body of a request.
fn read(stream: &TcpStream) -> Option<(String, String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut content_type) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "content-type" => value.trim().clone_into(&mut content_type),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((target, content_type, body))
}

fn write(stream: &mut TcpStream, status: u16, headers: &[(String, String)], said: &Value) {
    let body = said.to_string();
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let more = lines.concat();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n",
        body.len()
    );
    // A gateway that was killed meanwhile is part of the tests.
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .ok();
}

fn form_fields(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).expect("a form is text")
}
