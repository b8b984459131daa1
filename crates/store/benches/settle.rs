//! What booking a receipt costs, as CPU of the whole process: in one go (a backlog), and paced as a server under
//! load does it. The aim is 5 µs in batches of 500 and more, on SQLite.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{CallId, Money, UserId};
use metering::Accounts;
use store::{Journal, JournalOptions, KeyRing, Settler, Store, StoreOptions, Sync};
use tempfile::TempDir;

/// A receipt of an ordinary call, as the gateway writes it; the marks are filled in.
const RECEIPT: &str = r#"{"call":"CALL","started_at":1763670000000000,"finished_at":1763670000450000,"user":USER,"key":3,"operation":"chat","dialect":"openai_chat","stream":true,"model":"gpt-4o-mini","upstream":2,"credential":5,"answered_model":"gpt-4o-mini-2024-07-18","status":200,"ending":"complete","usage":{"input":512,"cache_read":1024,"output":100},"usage_source":"reported","rates":{"input":150000000,"output":600000000,"cache_read":75000000,"cache_write_5m":150000000,"cache_write_1h":150000000,"input_audio":150000000,"output_audio":600000000,"web_searches":0},"cost":213600,"charged":213600,"uncollected":0,"attempts":[{"upstream":2,"upstream_name":"openai-main","credential":5,"credential_name":"k1","model":"gpt-4o-mini","status":200,"started_ms":0,"took_ms":210}],"first_content_ms":212,"took_ms":450}"#;
/// Users that the load is spread over.
const USERS: i64 = 20;

struct Rig {
    _dir: TempDir,
    journal: Arc<Journal>,
    accounts: Arc<Accounts>,
    settler: Settler,
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            url: format!("sqlite://{}", dir.path().join("tollgate.db").display()),
            ring: KeyRing::parse(KeyRing::generate().unwrap().expose()).unwrap(),
            max_connections: 0,
            migrate: true,
        };
        let store = Store::open(&options).await.unwrap();
        let options = JournalOptions {
            dir: dir.path().join("journal"),
            sync: Sync::Interval,
            keep: Duration::from_hours(1),
            segment_bytes: 64 * 1024 * 1024,
        };
        let journal = Arc::new(Journal::open(&options).unwrap());
        let accounts = Arc::new(Accounts::new());
        let settler = Settler::start(store, Arc::clone(&journal), Arc::clone(&accounts))
            .await
            .unwrap();
        Self {
            _dir: dir,
            journal,
            accounts,
            settler,
        }
    }
}

fn append(journal: &Journal, accounts: &Accounts, number: i64) {
    let user = UserId(number % USERS + 1);
    let call = CallId(uuid::Uuid::now_v7());
    let record = RECEIPT
        .replace("CALL", &call.to_string())
        .replace("USER", &user.to_string());
    drop(journal.append(record.as_bytes()).unwrap());
    accounts.add_backlog(user, Money::from_nanos(213_600));
}

/// User and system time of this process so far; the kernel counts in hundredths of a second.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn micros_each(from: Duration, to: Duration, count: i64) -> f64 {
    to.saturating_sub(from).as_secs_f64() * 1e6 / count as f64
}

async fn backlog(count: i64) {
    let mut rig = Rig::new().await;
    let before = cpu();
    for number in 0..count {
        append(&rig.journal, &rig.accounts, number);
    }
    let appended = cpu();
    let started = Instant::now();
    assert_eq!(rig.settler.drain().await.unwrap().booked, count as u64);
    tell(&format!(
        "backlog of {count}: {:.2} µs CPU to append (with making the record), {:.2} µs CPU to book, {:.0} booked per second",
        micros_each(before, appended, count),
        micros_each(appended, cpu(), count),
        count as f64 / started.elapsed().as_secs_f64(),
    ));
}

async fn paced(per_second: i64, seconds: i64) {
    let rig = Rig::new().await;
    let watch = rig.settler.backlog();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(rig.settler.run(async move { drop(stopped.await) }));
    // What the load itself costs is measured first, without a settler that has anything to do.
    let idle = cpu();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = cpu();
    let mut ticker = tokio::time::interval(Duration::from_millis(10));
    for number in 0..per_second * seconds {
        if number % (per_second / 100) == 0 {
            ticker.tick().await;
        }
        append(&rig.journal, &rig.accounts, number);
    }
    while watch.status().receipts_waiting > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let count = per_second * seconds;
    tell(&format!(
        "{per_second} per second: {:.2} µs CPU each, append and fsync included; {} batches; idle {:.1} ms CPU per second",
        micros_each(before, cpu(), count),
        watch.status().batches,
        before.saturating_sub(idle).as_secs_f64() * 1e3,
    ));
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn tell(line: &str) {
    println!("{line}");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        backlog(200_000).await;
        paced(1_000, 5).await;
        paced(10_000, 5).await;
    });
}
