//! The command line from outside, where no server is needed: the real binary in a folder of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A folder, and the binary run in it with an empty environment.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn with(yaml: &str) -> Self {
        let place = Self::new();
        std::fs::write(place.dir.path().join("tollgate.yaml"), yaml).unwrap();
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
        let mut command = assert_cmd::Command::cargo_bin("tollgate").unwrap();
        command
            .current_dir(self.dir.path())
            .env_clear()
            .envs(environment.iter().copied())
            .args(arguments)
            .write_stdin(input);
        command.output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(&[], arguments, "")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// The one line on stderr of a command that is refused.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
        assert!(output.stdout.is_empty());
        let complaint = text(&output.stderr);
        assert_eq!(complaint.trim_end().lines().count(), 1, "{complaint}");
        complaint.trim_end().to_owned()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn exit_codes_tell_refusals_from_usage() {
    let place = Place::new();
    assert_eq!(place.run(&["--version"]).status.code(), Some(0));
    assert_eq!(place.run(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(place.run(&["key", "add"]).status.code(), Some(2));
    assert_eq!(place.run(&["user", "show", "nobody"]).status.code(), Some(1));
}

#[test]
fn init_writes_once_and_what_it_writes_is_right() {
    let place = Place::new();
    place.ok(&["init"]);
    assert_eq!(
        (mode(&place.path(".env")), mode(&place.path("tollgate.yaml"))),
        (0o600, 0o600)
    );
    let first = std::fs::read_to_string(place.path(".env")).unwrap();
    assert!(place.refused(&["init"]).contains("exists already"));
    assert!(place.ok(&["check"]).starts_with("tollgate.yaml is right."));
    place.ok(&["init", "--force"]);
    assert_ne!(first, std::fs::read_to_string(place.path(".env")).unwrap());
    // The secrets of `.env` are used: none are made beside the database.
    place.ok(&["migrate"]);
    assert!(!place.path("data/secrets.env").exists());
}

#[test]
fn check_names_file_line_column_and_mend() {
    let place = Place::with("server:\n  listn: 127.0.0.1:1\n");
    let complaint = place.refused(&["check"]);
    assert_eq!(
        complaint,
        "tollgate.yaml:2:3: `server.listn`: there is no key `listn` here; did you mean `listen`?"
    );
    assert_eq!(
        place.refused(&["user", "list"]),
        complaint,
        "every command reads the configuration"
    );
    let output = Place::new().run_with(&[("PORT", "none")], &["check"], "");
    assert!(text(&output.stderr).starts_with("environment variable PORT: `server.listen`"));
    let output = Place::new().run_with(&[("PORT", "1")], &["check", "--set", "server.listen=1"], "");
    assert!(
        text(&output.stderr).starts_with("flag --set: `server.listen`"),
        "a flag goes over the environment"
    );
    assert!(
        place
            .refused(&["check", "-c", "other.yaml"])
            .contains("other.yaml cannot be read")
    );
}

#[test]
fn a_level_of_logs_that_is_none_is_refused() {
    let place = Place::with("server: {listen: 127.0.0.1:0}\nlogs: {level: loud}\n");
    for command in [&["check"][..], &["serve"], &["user", "list"]] {
        let said = place.refused(command);
        assert!(
            said.starts_with("tollgate.yaml:2:15: `logs.level`: is not a level"),
            "{command:?}: {said}"
        );
    }
    let output = Place::new().run(&["serve", "--log-level", "loud"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("--log-level") && said.contains("error, warn, info, debug or trace"),
        "{said}"
    );
}

#[test]
fn lines_of_the_env_file_that_cannot_be_read_are_told() {
    let place = Place::with("users: [{name: u}]\n");
    std::fs::write(place.path(".env"), "A=a\nnonsense\nMY_KEY=\"sk-verysecret\n").unwrap();
    let unclosed = ".env:3: has a quote that is not closed on this line; the line is ignored";
    let said = place.ok(&["check"]);
    assert!(said.contains(&format!("note: {unclosed}")), "{said}");
    let said = text(&place.run(&["key", "add", "k", "--user", "u"]).stderr);
    assert_eq!(said.matches(unclosed).count(), 1, "{said}");
    assert!(
        said.contains("tollgate: .env:2: is not NAME=value; the line is ignored"),
        "{said}"
    );
    // Where such a line is why something is missing, it is told with what is missing.
    std::fs::write(place.path("tollgate.yaml"), "security: {admin_token: \"${MY_KEY}\"}\n").unwrap();
    for command in [&["check"][..], &["serve"], &["user", "list"]] {
        let output = place.run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("MY_KEY") && said.contains(unclosed),
            "{command:?}: {said}"
        );
        assert!(!said.contains("verysecret"));
    }
}

#[test]
fn check_finds_names_that_were_made_elsewhere() {
    let place = Place::new();
    place.ok(&["user", "add", "Bob"]);
    std::fs::write(
        place.path("tollgate.yaml"),
        "users:\n  - {name: alice}\n  - {name: bob}\n",
    )
    .unwrap();
    assert_eq!(
        place.refused(&["check"]),
        "tollgate.yaml:3:12: `users[1].name`: the name `bob` is taken by one that was made elsewhere (cli); choose another, or remove that one first"
    );
    place.ok(&["user", "remove", "bob"]);
    assert!(!place.ok(&["check"]).contains("not compared"));
    std::fs::write(place.path("data/tollgate.db"), "no database").unwrap();
    assert!(
        place
            .ok(&["check"])
            .contains("names were not compared with the database")
    );
}

#[test]
fn check_says_what_it_means() {
    let place = Place::with(
        "upstreams:\n  - {name: a, provider: openai}\nmodels:\n  - {name: m, targets: [{upstream: a, model: unheard-of}]}\n\
         users: [{name: u, opening_credit: 1.5, policy: hard}]\nkeys: [{name: k, user: u, key: sk-verysecret}]\n",
    );
    let said = place.ok(&["check"]);
    for part in [
        "a         openai",
        "m      -        round_robin  a/unheard-of",
        "u     hard    1.50",
        "no price is known for `unheard-of`",
        "upstream `a` has no credential",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert!(!said.contains("verysecret"));
    let said = Place::new().run_with(&[("OPENAI_API_KEY", "sk-x")], &["check"], "");
    assert!(
        text(&said.stdout).starts_with("there is no tollgate.yaml; what the environment and the flags say is right."),
        "{}",
        text(&said.stdout)
    );
    assert!(text(&said.stdout).contains("upstream `openai` is taken from the environment"));
}

#[test]
fn the_printed_schema_is_the_committed_one() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tollgate.schema.json");
    assert_eq!(
        Place::new().ok(&["check", "--schema"]),
        std::fs::read_to_string(committed).unwrap()
    );
}

#[test]
fn users_live_their_life() {
    let place = Place::new();
    place.ok(&["user", "add", "Alice", "--policy", "hard", "--opening-credit", "10.50"]);
    let taken = place.refused(&["user", "add", "alice"]).to_lowercase();
    assert!(taken.contains("user `alice` exists already"), "{taken}");
    assert_eq!(
        place.refused(&["user", "add", "b", "--policy", "hrad"]),
        "--policy: `policy`: `hrad` is not known; did you mean `hard`?"
    );
    place.ok(&["balance", "add", "alice", "0.000000001"]);
    place.ok(&["balance", "adjust", "alice", "-2.50", "--note", "typed twice"]);
    assert!(place.refused(&["balance", "adjust", "alice", "1"]).contains("--note"));
    assert!(
        place
            .refused(&["balance", "add", "alice", "1e3"])
            .contains("is not a decimal number of dollars")
    );
    let shown = place.json(&["user", "show", "alice", "--json"]);
    assert_eq!(
        (&shown["policy"], &shown["balance"]),
        (&"hard".into(), &"8.000000001".into())
    );
    place.ok(&["user", "edit", "alice", "--name", "carol", "--policy", "default"]);
    let listed = place.json(&["user", "list", "--json"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["policy"]),
        (&"carol".into(), &Value::Null)
    );
    let movements = place.json(&["balance", "show", "carol", "--json"]);
    let kinds: Vec<&str> = movements["movements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["adjust", "credit", "opening"]);
    assert_eq!(place.json(&["audit", "--json"])["passes"], true);
    place.ok(&["user", "remove", "carol"]);
    assert_eq!(place.json(&["user", "list", "--json"]), Value::Array(Vec::new()));
    assert_eq!(
        (
            mode(&place.path("data")),
            mode(&place.path("data/tollgate.db")),
            mode(&place.path("data/secrets.env"))
        ),
        (0o700, 0o600, 0o600)
    );
}

#[test]
fn a_key_is_shown_once() {
    let place = Place::new();
    place.ok(&["user", "add", "u"]);
    let said = place.ok(&[
        "key",
        "add",
        "k",
        "--user",
        "u",
        "--model",
        "gpt-*",
        "--rpm",
        "60",
        "--expires",
        "2127-01-01",
        "--passthrough",
    ]);
    let key = said.lines().next().unwrap().to_owned();
    assert!(key.starts_with("sk-tg-") && key.len() >= 6 + 43, "{key}");
    let shown = place.json(&["key", "show", "k", "--json"]);
    assert_eq!(
        (&shown["limits"]["rpm"], &shown["passthrough"], &shown["models"][0]),
        (&60.into(), &true.into(), &"gpt-*".into())
    );
    for command in [&["key", "list"][..], &["key", "show", "k"], &["key", "list", "--json"]] {
        assert!(!place.ok(command).contains(&key), "{command:?}");
    }
    let database = std::fs::read(place.path("data/tollgate.db")).unwrap();
    let needle = &key.as_bytes()[6..];
    assert!(
        !database.windows(needle.len()).any(|window| window == needle),
        "the key is in the database"
    );
    place.ok(&["key", "edit", "k", "--tpm", "1000", "--expires", "never", "--model", ""]);
    let shown = place.json(&["key", "show", "k", "--json"]);
    assert_eq!(
        (&shown["limits"]["rpm"], &shown["limits"]["tpm"]),
        (&60.into(), &1000.into())
    );
    assert_eq!((shown.get("expires"), shown.get("models")), (None, None));
    assert_eq!(
        place.refused(&["key", "edit", "k", "--expires", "soon"]),
        "--expires: `expires`: is neither a date such as 2027-01-01 nor a time such as 2027-01-01T12:00:00Z"
    );
    assert!(
        place
            .refused(&["key", "add", "k2", "--user", "nobody"])
            .contains("there is no user `nobody`")
    );
}

#[test]
fn secrets_come_in_without_the_shells_history() {
    let place = Place::new();
    let environment = [("MY_KEY", "sk-from-the-environment-a1b2")];
    let output = place.run_with(
        &environment,
        &["upstream", "add", "o", "--provider", "openai", "--key-env", "MY_KEY"],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = place.run_with(
        &[],
        &["credential", "add", "second", "--upstream", "o", "--key-stdin"],
        "sk-from-standard-input-c3d4\n",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        place.refused(&["credential", "add", "o/third"]).contains("--key-stdin"),
        "no terminal to ask at"
    );
    assert!(
        place
            .refused(&["credential", "add", "o/third", "--key-env", "NOT_THERE"])
            .contains("NOT_THERE is not set")
    );
    let said = place.ok(&["credential", "list"])
        + &place.ok(&["upstream", "show", "o"])
        + &place.ok(&["upstream", "list", "--json"]);
    assert!(said.contains("sk-…a1b2") && said.contains("sk-…c3d4"), "{said}");
    assert!(!said.contains("from"), "{said}");
    assert_eq!(
        place
            .run(&["credential", "add", "o/x", "--key", "a", "--key-stdin"])
            .status
            .code(),
        Some(2)
    );
    place.ok(&["credential", "edit", "o/second", "--weight", "3"]);
    assert_eq!(place.json(&["credential", "show", "o/second", "--json"])["weight"], 3);
    place.ok(&["credential", "remove", "o/second"]);
    assert_eq!(
        place
            .json(&["credential", "list", "--upstream", "o", "--json"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_a_preset_leaves_open_is_given_by_flags() {
    let place = Place::new();
    let refused = place.refused(&["upstream", "add", "aws", "--provider", "bedrock"]);
    assert!(refused.contains("wants `variables: {region: …}`"), "{refused}");
    place.ok(&[
        "upstream",
        "add",
        "aws",
        "--provider",
        "bedrock",
        "--variable",
        "region=eu-west-1",
    ]);
    let shown = place.json(&["upstream", "show", "aws", "--json"]);
    assert_eq!(shown["variables"]["region"], "eu-west-1");
}

#[test]
fn upstreams_and_models_are_declared_edited_and_explained() {
    let place = Place::new();
    assert!(
        place
            .refused(&["upstream", "add", "o", "--provider", "opnai"])
            .contains("did you mean `openai`?")
    );
    assert!(
        place
            .refused(&["upstream", "add", "a/b", "--provider", "openai"])
            .contains("must not contain /")
    );
    place.ok(&[
        "upstream",
        "add",
        "o",
        "--provider",
        "openai",
        "--key",
        "sk-verysecretindeed0123",
        "--header",
        "x-team=blue",
        "--breaker",
        "off",
    ]);
    place.ok(&[
        "upstream",
        "add",
        "c",
        "--provider",
        "anthropic",
        "--key",
        "sk-ant-verysecretindeed0123",
        "--priority",
        "-1",
    ]);
    place.ok(&[
        "upstream",
        "edit",
        "o",
        "--priority",
        "2",
        "--idle-timeout",
        "30s",
        "--name",
        "openai-main",
    ]);
    let shown = place.json(&["upstream", "show", "openai-main", "--json"]);
    assert_eq!(
        (
            &shown["priority"],
            &shown["timeouts"]["idle"],
            &shown["breaker"],
            &shown["headers"][0]
        ),
        (&2.into(), &"30s".into(), &"off".into(), &"x-team".into())
    );
    assert!(
        place
            .refused(&["model", "add", "m", "--target", "nobody"])
            .contains("there is no upstream `nobody`")
    );
    assert!(place.refused(&["model", "add", "m"]).contains("`targets` is missing"));
    place.ok(&[
        "model",
        "add",
        "smart",
        "--target",
        "openai-main/gpt-4o,weight=3",
        "--target",
        "c/claude-sonnet-4-5",
        "--alias",
        "best",
        "--price",
        "input=2.50,output=10.00",
    ]);
    place.ok(&["model", "edit", "smart", "--strategy", "weighted"]);
    place.ok(&["model", "edit", "smart", "--capabilities", "video=false,image=true"]);
    assert!(
        place
            .refused(&["model", "edit", "smart", "--capabilities", "sight=true"])
            .contains("sight")
    );
    let model = place.json(&["model", "show", "Smart", "--json"]);
    assert_eq!(
        (
            &model["strategy"],
            &model["targets"][0]["weight"],
            &model["price"]["input"]
        ),
        (&"weighted".into(), &3.into(), &"2.50".into())
    );
    let chat = place.json(&["explain", "--model", "BEST", "--json"]);
    assert_eq!(chat["order"].as_array().unwrap().len(), 2, "{chat}");
    let plan = place.json(&["explain", "--model", "BEST", "--operation", "completions", "--json"]);
    assert_eq!(
        (plan["order"].as_array().unwrap().len(), &plan["order"][0]["upstream"]),
        (1, &"openai-main".into())
    );
    assert_eq!(
        (&plan["excluded"][0]["upstream"], &plan["excluded"][0]["reason"]),
        (&"c".into(), &"dialect".into())
    );
    let seeing = place.json(&["explain", "--model", "smart", "--needs", "video,image", "--json"]);
    let reasons: Vec<_> = seeing["excluded"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["reason"].as_str(), one["lacks"].as_str()))
        .collect();
    assert_eq!(reasons, [(Some("capability"), Some("video")); 2], "{seeing}");
    let said = place.ok(&["explain", "--model", "smart", "--tokens", "9000000"]);
    assert!(said.contains("capability: context"), "{said}");
    assert!(
        place
            .refused(&["explain", "--model", "smart", "--needs", "sight"])
            .contains("there is no capability `sight`")
    );
    let said = place.ok(&["explain", "--model", "smart", "--dialect", "anthropic_messages"]);
    // By weight, either may come first.
    assert!(said.contains("claude-sonnet-4-5") && said.contains("gpt-4o"), "{said}");
    assert!(
        place
            .refused(&["explain", "--model", "frobnicate-9"])
            .contains("no upstream serves `frobnicate-9`")
    );
    place.ok(&["user", "add", "u"]);
    place.ok(&["key", "add", "k", "--user", "u", "--model", "gpt-*"]);
    assert!(
        place
            .refused(&["explain", "--model", "smart", "--key", "k"])
            .contains("may not use `smart`")
    );
    place.ok(&["model", "remove", "smart"]);
    place.ok(&["upstream", "remove", "c"]);
    assert_eq!(place.json(&["upstream", "list", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_look_at_the_wrong_place_fails_and_leaves_nothing_there() {
    let place = Place::new();
    for command in [
        &["audit"][..],
        &["user", "list"],
        &["user", "show", "u"],
        &["user", "edit", "u", "--policy", "hard"],
        &["user", "remove", "u"],
        &["key", "list"],
        &["key", "add", "k", "--user", "u"],
        &["upstream", "list"],
        &["credential", "list"],
        &["credential", "add", "o/second", "--key", "sk-verysecretindeed0123"],
        &["model", "list"],
        &["account", "list"],
        &["account", "clear-history"],
        &["balance", "show", "u"],
        &["balance", "add", "u", "1.00"],
        &["explain", "--model", "m"],
        &["replay", "018f0000-0000-7000-8000-000000000000"],
        &["journal", "status"],
        &["journal", "replay"],
        &["backup", "copy.db"],
    ] {
        let said = place.refused(command);
        assert!(
            said.contains("there is no database of tollgate at data/tollgate.db") && said.contains("tollgate serve"),
            "{command:?}: {said}"
        );
    }
    let typo = [("DATABASE_URL", "sqlite://dta/tollgate.db")];
    let output = place.run_with(&typo, &["audit"], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(
        text(&output.stderr).contains("dta/tollgate.db"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
    // An empty file is none either.
    std::fs::write(place.path("empty.db"), "").unwrap();
    let empty = [
        ("DATABASE_URL", "sqlite://empty.db"),
        ("ENCRYPTION_KEY", ENCRYPTION_KEY),
    ];
    let output = place.run_with(&empty, &["audit"], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(
        text(&output.stderr).contains("there is no database"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn what_is_added_before_the_first_start_makes_a_database_and_says_so() {
    for first in [
        &["user", "add", "u"][..],
        &[
            "upstream",
            "add",
            "o",
            "--provider",
            "openai",
            "--key",
            "sk-verysecretindeed0123",
        ],
        &["migrate"],
    ] {
        let place = Place::new();
        let said = |arguments: &[&str]| {
            let output = place.run(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
            text(&output.stderr)
        };
        assert_eq!(
            said(first),
            "tollgate: a new database was made at data/tollgate.db\n",
            "{first:?}"
        );
        assert_eq!(said(&["user", "add", "v"]), "");
        assert_eq!(place.json(&["audit", "--json"])["passes"], true);
    }
}

#[test]
fn a_backup_is_a_database() {
    let place = Place::new();
    place.ok(&["user", "add", "u", "--opening-credit", "1"]);
    place.ok(&["backup", "copy.db"]);
    assert_eq!(mode(&place.path("copy.db")), 0o600);
    assert!(place.refused(&["backup", "copy.db"]).contains("exists already"));
    std::fs::copy(place.path("data/secrets.env"), place.path("secrets.env")).unwrap();
    let listed = place.run_with(&[("DATABASE_URL", "sqlite://copy.db")], &["user", "list", "--json"], "");
    assert!(text(&listed.stdout).contains("\"1.00\""), "{}", text(&listed.stderr));
}

#[test]
fn another_encryption_key_is_refused_with_the_mend() {
    let place = Place::new();
    place.ok(&["migrate"]);
    let other = [("ENCRYPTION_KEY", ENCRYPTION_KEY), ("ADMIN_TOKEN", "t")];
    let output = place.run_with(&other, &["user", "list"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("ENCRYPTION_KEY"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn init_takes_over_the_secrets_of_a_first_start() {
    let place = Place::new();
    place.ok(&["user", "add", "u"]);
    let kept = std::fs::read_to_string(place.path("data/secrets.env")).unwrap();
    let said = place.ok(&["init"]);
    assert!(said.contains("with the secrets of ./data/secrets.env"), "{said}");
    let env = std::fs::read_to_string(place.path(".env")).unwrap();
    assert!(env.starts_with(&kept), "the same secrets");
    place.ok(&["check"]);
    assert!(place.ok(&["user", "list"]).contains('u'));
    // With another folder, what is in this one does not matter.
    place.ok(&["init", "--dir", "data"]);
    let other = std::fs::read_to_string(place.path("data/.env")).unwrap();
    assert_ne!(kept, other[..kept.len()]);
}

#[test]
fn a_key_that_does_not_open_the_database_is_told_with_the_one_that_may() {
    let place = Place::new();
    place.ok(&["user", "add", "u"]);
    std::fs::write(place.path(".env"), format!("ENCRYPTION_KEY={ENCRYPTION_KEY}\n")).unwrap();
    for command in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"], &["user", "list"]] {
        let output = place.run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("sealed under another ENCRYPTION_KEY") && said.contains("data/secrets.env holds another"),
            "{command:?}: {said}"
        );
        assert!(!said.contains(ENCRYPTION_KEY));
    }
    // Without the file, no new key is made for the old database.
    std::fs::remove_file(place.path("data/secrets.env")).unwrap();
    std::fs::remove_file(place.path(".env")).unwrap();
    for command in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"], &["user", "list"]] {
        let said = place.refused(command);
        assert!(said.contains("restore data/secrets.env"), "{command:?}: {said}");
        assert!(!place.path("data/secrets.env").exists());
    }
}

#[test]
fn a_given_key_is_not_replaced_by_one_that_is_kept() {
    let place = Place::new();
    let given = [("ENCRYPTION_KEY", ENCRYPTION_KEY)];
    let output = place.run_with(&given, &["user", "add", "u"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kept = std::fs::read_to_string(place.path("data/secrets.env")).unwrap();
    assert!(
        kept.contains("ADMIN_TOKEN=") && !kept.contains("ENCRYPTION_KEY="),
        "{kept}"
    );
    assert!(
        place
            .refused(&["user", "list"])
            .contains("there is no ENCRYPTION_KEY, in data/secrets.env neither")
    );
}

#[test]
fn without_a_server_the_journal_is_empty_and_nobody_is_healthy() {
    let place = Place::new();
    place.ok(&["migrate"]);
    assert!(place.ok(&["journal", "status"]).contains("no journal"));
    assert!(place.refused(&["journal", "replay"]).contains("no journal"));
    assert!(
        place
            .refused(&["healthcheck", "--set", "server.listen=127.0.0.1:9"])
            .contains("cannot be reached")
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            Place::new().ok(&["completions", shell]).contains("healthcheck"),
            "{shell}"
        );
    }
}
