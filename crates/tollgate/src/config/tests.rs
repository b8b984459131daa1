//! Whole files, good and bad: `tests/config/{good,bad}/*.yaml` beside their snapshots.

use std::path::PathBuf;

use super::*;

const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn environment() -> Environment {
    Environment::of([
        ("ENCRYPTION_KEY", ENCRYPTION_KEY),
        ("ADMIN_TOKEN", "planted-admin-token"),
        ("OPENAI_API_KEY", "planted-openai-key"),
        ("OTHER_KEY", "planted-other-key"),
        ("ALICE_KEY", "planted-alice-key"),
        ("ACME_KEY", "planted-acme-key"),
        ("SECRET", "planted hunter2"),
    ])
}

fn each(kind: &str, test: impl Fn(&str, Result<Config, Mistakes>)) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(kind);
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut environment = environment();
        if kind == "bad" {
            // They would go over the file's own mistakes.
            environment = Environment::of([("SECRET", environment.get("SECRET").unwrap())]);
        }
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        let result = sources.parse(&std::fs::read_to_string(&file).unwrap());
        test(
            &name,
            result.map_err(|mistakes| mistakes.in_file(format!("{name}.yaml"))),
        );
    }
}

#[test]
fn good_files() {
    each("good", |name, result| {
        let config = result.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let shown = format!("{config:#?}");
        assert!(!shown.contains("planted"), "a secret can be printed");
        insta::assert_snapshot!(format!("good-{name}"), shown);
    });
}

#[test]
fn bad_files() {
    each("bad", |name, result| {
        let mistakes = result.expect_err(name);
        let shown = Mistakes {
            all: mistakes.all.clone(),
            ..mistakes
        }
        .all_text();
        assert!(!shown.contains("hunter2"), "{shown}");
        insta::assert_snapshot!(format!("bad-{name}"), shown);
    });
}

impl Mistakes {
    /// All of them, also beyond what a terminal is given.
    fn all_text(&self) -> String {
        let one = |mistake: &Mistake| {
            Mistakes {
                file: self.file.clone(),
                all: vec![mistake.clone()],
            }
            .to_string()
        };
        self.all.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let flag = Flag {
        key: "server.listen".into(),
        value: "1.1.1.1:3".into(),
        name: "--listen".into(),
    };
    let mut sources = Sources {
        environment: Environment::of([("PORT", "2")]),
        ..Sources::default()
    };
    assert_eq!(
        sources.parse("server: {listen: 1.1.1.1:1}").unwrap().server.listen,
        "1.1.1.1:2"
    );
    sources.flags.push(flag);
    assert_eq!(
        sources.parse("server: {listen: 1.1.1.1:1}").unwrap().server.listen,
        "1.1.1.1:3"
    );
}

#[test]
fn mistakes_in_variables_and_flags_name_them() {
    let mistake = |environment: Environment, flags: Vec<Flag>| {
        Sources {
            environment,
            flags,
            file: None,
        }
        .parse("")
        .unwrap_err()
        .in_file("f.yaml")
        .to_string()
    };
    assert_eq!(
        mistake(Environment::of([("TOLLGATE_SERVER__LISTN", "x")]), vec![]),
        "environment variable TOLLGATE_SERVER__LISTN: `server.listn`: there is no key `listn` here; did you mean `listen`?"
    );
    assert_eq!(
        mistake(Environment::of([("PORT", "http")]), vec![]),
        "environment variable PORT: `server.listen`: does not end in a port from 0 to 65535"
    );
    assert_eq!(
        mistake(Environment::of([("ALLOW_KEY_REVEAL", "true")]), vec![]),
        "environment variable ALLOW_KEY_REVEAL: `security.allow_key_reveal`: showing keys again does not exist yet; set it to false, or remove the key"
    );
    let flag = Flag {
        key: "logs.format".into(),
        value: "xml".into(),
        name: "--set logs.format".into(),
    };
    assert_eq!(
        mistake(Environment::default(), vec![flag]),
        "flag --set logs.format: `logs.format`: `xml` is not known; known are json, text"
    );
}

#[test]
fn lists_in_variables_are_separated_by_commas() {
    let environment = Environment::of([
        ("CORS_ORIGINS", "https://a.example, https://b.example"),
        ("TOLLGATE_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8"),
        ("ALLOW_KEY_REVEAL", "0"),
        ("LOG_RETENTION_DAYS", "30"),
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("TOLLGATE_DEFAULTS__LIMITS__RPM", "60"),
    ]);
    let config = Sources {
        environment,
        ..Sources::default()
    }
    .parse("")
    .unwrap();
    assert_eq!(config.server.cors_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert!(!config.security.allow_key_reveal);
    assert_eq!(config.logs.retention.to_string(), "30d");
    assert_eq!((config.defaults.limits.rpm, config.defaults.retries), (60, 3));
    assert!(!format!("{config:?}").contains("u:p@"));
}

#[test]
fn providers_are_found_in_the_environment_unless_the_file_speaks_of_upstreams() {
    let environment = Environment::of([
        ("OPENAI_API_KEY", "sk-a"),
        ("GOOGLE_API_KEY", "g"),
        ("ANTHROPIC_API_KEY", " "),
    ]);
    let sources = Sources {
        environment,
        ..Sources::default()
    };
    let found = |text: &str| -> Vec<String> {
        sources
            .parse(text)
            .unwrap()
            .found
            .into_iter()
            .map(|decl| decl.name)
            .collect()
    };
    assert_eq!(found(""), ["openai", "gemini"]);
    assert_eq!(
        found("models: [{name: m, targets: [{upstream: gemini}]}]"),
        ["openai", "gemini"]
    );
    assert_eq!(found("upstreams: []"), [""; 0]);
    assert!(
        sources
            .parse("models: [{name: m, targets: [{upstream: anthropic}]}]")
            .is_err()
    );
}

#[test]
fn a_named_file_must_be_there() {
    let sources = Sources {
        file: Some(PathBuf::from("/nowhere/x.yaml")),
        ..Sources::default()
    };
    assert!(
        sources
            .load()
            .unwrap_err()
            .to_string()
            .starts_with("/nowhere/x.yaml cannot be read")
    );
}

/// An editor saves half a file; a reload must refuse it in words, never break the server.
#[test]
fn every_beginning_of_a_file_is_read_or_refused() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    for file in ["good/contract.yaml", "good/own-provider.yaml", "bad/meaning.yaml"] {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        let sources = Sources {
            environment: environment(),
            ..Sources::default()
        };
        let ends = (0..text.len()).filter(|end| text.is_char_boundary(*end));
        let refused = ends.filter(|end| {
            sources
                .parse(&text[..*end])
                .is_err_and(|mistakes| !mistakes.all.is_empty())
        });
        assert!(refused.count() > text.len() / 4, "{file}: half a file is rarely right");
    }
}
