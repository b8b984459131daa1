//! Checks of the sections that belong to the process itself.

use domain::declaration::Defaults;
use http::Uri;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::super::file::{Logs, Security, Server, Storage};
use super::super::mistake::{Mistake, Mistakes};
use super::super::tree::{Node, Place};

/// Checks `server`, `storage`, `security`, `logs` and `defaults`.
pub fn process(
    tree: &Node,
    server: &Server,
    storage: &Storage,
    security: &Security,
    logs: &Logs,
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) {
    let mut complain = |path: &str, message: String| mistakes.push(Mistake::of(place(tree, path), path, message));
    if let Some(problem) = listen_problem(&server.listen) {
        complain("server.listen", problem.to_owned());
    }
    if server.request_timeout.0.is_zero() {
        complain(
            "server.request_timeout",
            "is zero, so that no call could end in time".to_owned(),
        );
    }
    if server.body_limit.0 == 0 || server.body_budget < server.body_limit {
        complain(
            "server.body_limit",
            "must be more than nothing and at most `server.body_budget`".to_owned(),
        );
    }
    for origin in &server.cors_origins {
        if !is_origin(origin) {
            complain(
                "server.cors_origins",
                format!("`{origin}` is not an origin such as https://app.example.com, or *"),
            );
        }
    }
    if !["sqlite:", "postgres:", "postgresql:"]
        .iter()
        .any(|scheme| storage.url.starts_with(scheme))
    {
        complain("storage.url", "is neither sqlite://… nor postgres://…".to_owned());
    } else if let Err(error) = store::check_url(&storage.url) {
        complain("storage.url", error.to_string());
    }
    if let Some(key) = &security.encryption_key
        && !key.expose().is_empty()
        && let Err(error) = store::KeyRing::parse(key.expose())
    {
        complain("security.encryption_key", error.to_string());
    }
    if security.allow_key_reveal {
        let message = "showing keys again does not exist yet; set it to false, or remove the key";
        complain("security.allow_key_reveal", message.to_owned());
    }
    if !is_level(&logs.level) {
        // The value may come from a variable, and the parser's error repeats it: neither is shown.
        complain("logs.level", NO_LEVEL.to_owned());
    }
    if logs.retention.0.is_zero() {
        complain("logs.retention", "is zero; the shortest is 1d".to_owned());
    }
    if defaults.attempts_max == 0 {
        complain(
            "defaults.attempts_max",
            "is zero, so that nothing would be tried; at least 1".to_owned(),
        );
    }
    for (path, period) in [
        ("defaults.connect_timeout", defaults.connect_timeout),
        ("defaults.first_byte_timeout", defaults.first_byte_timeout),
        ("defaults.idle_timeout", defaults.idle_timeout),
        ("defaults.heartbeat", defaults.heartbeat),
    ] {
        if period.0.is_zero() {
            complain(path, "is zero; give it some time".to_owned());
        }
    }
}

/// What is said of a level that is none.
pub const NO_LEVEL: &str =
    "is not a level (error, warn, info, debug or trace), alone or with those of parts, as info,gateway=debug";

/// Whether this is a level, alone or with those of parts. The filter's own parser takes a word that is no level for the name
/// of a part, of which it then wants everything, and of all others nothing: `loud` would be silent.
pub fn is_level(level: &str) -> bool {
    // The filter has numbers and the empty word for levels, too.
    let known = |word: &str| word.starts_with(char::is_alphabetic) && word.parse::<LevelFilter>().is_ok();
    let right = |piece: &str| match piece.split_once('=') {
        Some((part, level)) => !part.is_empty() && !part.contains(char::is_whitespace) && known(level),
        None => known(piece),
    };
    level.split(',').all(right) && level.parse::<Targets>().is_ok()
}

fn listen_problem(listen: &str) -> Option<&'static str> {
    let Some((host, port)) = listen.rsplit_once(':') else {
        return Some("has no port; write address:port, such as 127.0.0.1:4270");
    };
    if host.is_empty() {
        return Some("has no address; write 0.0.0.0:port to serve the whole network");
    }
    if port.parse::<u16>().is_err() {
        return Some("does not end in a port from 0 to 65535");
    }
    (host.contains(':') && !host.starts_with('[')).then_some("has an IPv6 address without brackets; write [::1]:port")
}

fn is_origin(origin: &str) -> bool {
    if origin == "*" {
        return true;
    }
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    uri.scheme().is_some()
        && uri.authority().is_some()
        && uri.query().is_none()
        && !origin.ends_with('/')
        && uri.path() == "/"
}

/// Where the value of a path of keys stands; where the nearest mapping around it does, if it is a default.
fn place(tree: &Node, path: &str) -> Place {
    let mut node = tree;
    for key in path.split('.') {
        match node.get(key) {
            Some(inner) => node = inner,
            None => break,
        }
    }
    node.at.clone()
}

#[cfg(test)]
mod tests {
    use super::is_level;

    #[test]
    fn a_level_is_one_of_five_or_off_alone_or_by_part() {
        for level in [
            "info",
            "TRACE",
            "off",
            "info,gateway=debug",
            "warn,tollgate::credential=trace,store=off",
        ] {
            assert!(is_level(level), "{level}");
        }
        for other in [
            "",
            "loud",
            "info,",
            "info,loud",
            "gateway",
            "gateway=loud",
            "=debug",
            "info gateway=debug",
            "3",
        ] {
            assert!(!is_level(other), "{other}");
        }
    }
}
