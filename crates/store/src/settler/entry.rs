//! What of a receipt the ledger needs to know. The rest of the record is stored as it came and not looked at: reading
//! all of it for every call would cost more than inserting it.

use std::borrow::Cow;

use std::time::Duration;

use domain::{
    CallId, CredentialId, Ending, FailureClass, KeyId, Money, Operation, Timestamp, Usage, UsageSource, UserId,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::limits::{AMOUNT_NANOS_MAX, TOKENS_MAX};

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// A receipt, as far as booking it goes.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub call: CallId,
    pub user: UserId,
    pub key: KeyId,
    pub finished_at: Timestamp,
    /// For statistics; empty where no upstream was tried, so that made-up names do not fill the tables.
    pub model: Cow<'a, str>,
    pub flag: Flag,
    pub sums: Sums,
    pub uses: Uses,
    pub body: &'a str,
}

/// Requests that were sent with credentials, and on which day: one per request.
pub(super) type Uses = Vec<(CredentialId, i64)>;

/// What statistics add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub calls: i64,
    pub failed: i64,
    pub input: i64,
    pub cache_read: i64,
    pub cache_write: i64,
    pub output: i64,
    pub charged: i64,
    pub cost: i64,
    pub uncollected: i64,
}

/// What an operator may want to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    None,
    Estimated,
    Unpriced,
    Quarantined,
}

impl Flag {
    /// The word in the database.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Estimated => "estimated",
            Self::Unpriced => "unpriced",
            Self::Quarantined => "quarantined",
        }
    }
}

impl Sums {
    /// In the order of [`crate::usage::SUM_COLUMNS`].
    pub(super) fn values(&self) -> impl Iterator<Item = i64> {
        let Self {
            calls,
            failed,
            input,
            cache_read,
            cache_write,
            output,
            charged,
            cost,
            uncollected,
        } = *self;
        [
            calls,
            failed,
            input,
            cache_read,
            cache_write,
            output,
            charged,
            cost,
            uncollected,
        ]
        .into_iter()
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.input += other.input;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
        self.output += other.output;
        self.charged += other.charged;
        self.cost += other.cost;
        self.uncollected += other.uncollected;
    }
}

impl Entry<'_> {
    /// The day that it counts for.
    pub(super) const fn day(&self) -> i64 {
        self.finished_at.0.div_euclid(DAY_MICROS)
    }
}

/// The fields of a receipt that are read. Its names are those of `domain::Receipt`.
#[derive(Deserialize)]
struct Fields<'a> {
    call: CallId,
    #[serde(default)]
    started_at: Timestamp,
    finished_at: Timestamp,
    user: UserId,
    key: KeyId,
    operation: Operation,
    #[serde(borrow)]
    model: Cow<'a, str>,
    ending: Ending,
    #[serde(default)]
    usage: Usage,
    #[serde(default)]
    usage_source: UsageSource,
    #[serde(default)]
    rates: Option<IgnoredAny>,
    #[serde(default)]
    cost: i64,
    #[serde(default)]
    charged: i64,
    #[serde(default)]
    uncollected: i64,
    #[serde(default)]
    attempts: Vec<Attempt>,
}

/// The fields of an attempt that are read. Its names are those of `domain::AttemptRecord`.
#[derive(Deserialize)]
struct Attempt {
    #[serde(default = "no_credential")]
    credential: CredentialId,
    #[serde(default)]
    failure: Option<FailureClass>,
    #[serde(default)]
    started_ms: u32,
}

const fn no_credential() -> CredentialId {
    CredentialId(0)
}

/// The requests of these attempts: what was not sent is none, as routing does not count it either.
fn uses(started_at: Timestamp, attempts: &[Attempt]) -> Uses {
    let sent = |attempt: &&Attempt| {
        attempt.credential.0 > 0
            && !matches!(
                attempt.failure,
                Some(FailureClass::Connect | FailureClass::Barred | FailureClass::Untranslatable)
            )
    };
    let used = |attempt: &Attempt| {
        let at = started_at + Duration::from_millis(attempt.started_ms.into());
        (attempt.credential, at.day())
    };
    attempts.iter().filter(sent).map(used).collect()
}

/// The requests that a record tells of, if that much of it can be read.
pub(super) fn sent(record: &[u8]) -> Uses {
    #[derive(Deserialize)]
    struct Sent {
        #[serde(default)]
        started_at: Timestamp,
        #[serde(default)]
        attempts: Vec<Attempt>,
    }
    serde_json::from_slice(record).map_or_else(|_| Uses::new(), |sent: Sent| uses(sent.started_at, &sent.attempts))
}

/// Reads a record; says why it cannot be booked.
pub(super) fn read(record: &[u8]) -> Result<Entry<'_>, String> {
    let body = std::str::from_utf8(record).map_err(|error| format!("not UTF-8: {error}"))?;
    let fields: Fields<'_> = serde_json::from_str(body).map_err(|error| format!("not a receipt: {error}"))?;
    for (name, nanos) in [
        ("charged", fields.charged),
        ("cost", fields.cost),
        ("uncollected", fields.uncollected),
    ] {
        if !(0..=AMOUNT_NANOS_MAX).contains(&nanos) {
            return Err(format!("{name} is {nanos} nano-dollars, which no call can be"));
        }
    }
    let flag = flag(&fields);
    let sums = sums(&fields, flag)?;
    Ok(Entry {
        call: fields.call,
        user: fields.user,
        key: fields.key,
        finished_at: fields.finished_at,
        model: if fields.attempts.is_empty() {
            Cow::Borrowed("")
        } else {
            statistics_name(fields.model)
        },
        flag,
        sums,
        uses: uses(fields.started_at, &fields.attempts),
        body,
    })
}

/// What a record charges to whom, if that much of it can be read. For all records alike, bookable or not: the accounts in
/// memory were told by the same figures.
pub(super) fn owed(record: &[u8]) -> Option<(UserId, Money)> {
    #[derive(Deserialize)]
    struct Owed {
        user: UserId,
        #[serde(default)]
        charged: i64,
    }
    let owed: Owed = serde_json::from_slice(record).ok()?;
    Some((owed.user, Money::from_nanos(owed.charged)))
}

fn flag(fields: &Fields<'_>) -> Flag {
    match fields.usage_source {
        UsageSource::Quarantined => Flag::Quarantined,
        _ if fields.rates.is_none() && fields.operation.is_billed() && !fields.usage.is_empty() => Flag::Unpriced,
        UsageSource::Estimated => Flag::Estimated,
        _ => Flag::None,
    }
}

fn sums(fields: &Fields<'_>, flag: Flag) -> Result<Sums, String> {
    let mut sums = Sums {
        calls: 1,
        failed: i64::from(fields.ending != Ending::Complete),
        charged: fields.charged,
        cost: fields.cost,
        uncollected: fields.uncollected,
        ..Sums::default()
    };
    // Impossible figures stay in the receipt and out of every sum.
    if flag == Flag::Quarantined {
        return Ok(sums);
    }
    let usage = &fields.usage;
    let count = |tokens: u64| {
        let possible = tokens <= TOKENS_MAX;
        if possible {
            Ok(tokens as i64)
        } else {
            Err(format!("{tokens} tokens, which no call can have"))
        }
    };
    sums.input = count(usage.input)?;
    sums.cache_read = count(usage.cache_read)?;
    sums.cache_write = count(usage.cache_write_5m)? + count(usage.cache_write_1h)?;
    sums.output = count(usage.output)?;
    Ok(sums)
}

/// Names that mean the same model are counted together; a NUL cannot be stored in PostgreSQL.
fn statistics_name(name: Cow<'_, str>) -> Cow<'_, str> {
    if name
        .bytes()
        .any(|byte| byte.is_ascii_uppercase() || byte == 0 || !byte.is_ascii())
    {
        Cow::Owned(name.to_lowercase().replace('\0', "\u{fffd}"))
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(extra: &str) -> String {
        format!(
            r#"{{"call":"01890a5d-ac96-774b-bcce-b302099a8057","started_at":1,"finished_at":172800000000,"user":7,
            "key":3,"operation":"chat","dialect":"openai_chat","stream":false,"model":"GPT-4o","status":200,
            "ending":"complete","took_ms":5{extra}}}"#
        )
    }

    #[test]
    fn what_is_left_out_is_nothing() {
        let record = receipt("");
        let entry = read(record.as_bytes()).unwrap();
        assert_eq!((entry.user, entry.key, entry.day()), (UserId(7), KeyId(3), 2));
        assert_eq!(
            entry.sums,
            Sums {
                calls: 1,
                ..Sums::default()
            }
        );
        assert_eq!(entry.model, "", "nothing was tried");
        assert_eq!(entry.flag, Flag::None);
        assert_eq!(entry.body, record);
    }

    #[test]
    fn usage_is_summed_by_bucket_under_the_name_in_lower_case() {
        let record = receipt(
            r#","attempts":[{}],"usage":{"input":1,"cache_read":2,"cache_write_5m":3,"cache_write_1h":4,"output":5,
            "reasoning":5},"usage_source":"reported","rates":{},"charged":10,"cost":11,"uncollected":1"#,
        );
        let entry = read(record.as_bytes()).unwrap();
        let expected = Sums {
            calls: 1,
            failed: 0,
            input: 1,
            cache_read: 2,
            cache_write: 7,
            output: 5,
            charged: 10,
            cost: 11,
            uncollected: 1,
        };
        assert_eq!(entry.sums, expected);
        assert_eq!(entry.model, "gpt-4o");
        assert_eq!(owed(record.as_bytes()), Some((UserId(7), Money::from_nanos(10))));
    }

    #[test]
    fn requests_count_for_the_day_on_which_they_were_sent() {
        // Started a second before the third day; the first attempt found no connection, and the demo has no credential.
        let record = receipt(
            r#","attempts":[{"credential":5,"failure":"connect","started_ms":1},{"credential":5,"failure":"server",
            "started_ms":2},{"credential":5,"started_ms":1500},{"credential":-1,"started_ms":1600}]"#,
        );
        let record = record.replace(r#""started_at":1,"#, r#""started_at":172799000000,"#);
        let expected = vec![(CredentialId(5), 1), (CredentialId(5), 2)];
        assert_eq!(read(record.as_bytes()).unwrap().uses, expected);
        assert_eq!(sent(record.as_bytes()), expected);
        assert_eq!(sent(b"{"), []);
    }

    #[test]
    fn flags_tell_the_most_serious_thing() {
        for (extra, flag) in [
            (
                r#","usage":{"input":1},"usage_source":"reported","rates":{}"#,
                Flag::None,
            ),
            (
                r#","usage":{"input":1},"usage_source":"estimated","rates":{}"#,
                Flag::Estimated,
            ),
            (r#","usage":{"input":1},"usage_source":"estimated""#, Flag::Unpriced),
            (
                r#","usage":{"input":1},"usage_source":"quarantined""#,
                Flag::Quarantined,
            ),
            (r#","usage":{}"#, Flag::None),
        ] {
            let record = receipt(extra);
            assert_eq!(read(record.as_bytes()).unwrap().flag, flag, "{extra}");
        }
    }

    #[test]
    fn impossible_figures_are_refused_or_kept_out_of_sums() {
        assert!(read(receipt(r#","charged":-1"#).as_bytes()).is_err());
        assert!(read(receipt(r#","cost":1000000000000001"#).as_bytes()).is_err());
        assert!(read(receipt(r#","usage":{"input":1000000000001}"#).as_bytes()).is_err());
        assert!(read(b"{").is_err());
        assert!(read(b"\xff").is_err());
        let record = receipt(r#","usage":{"input":18446744073709551615},"usage_source":"quarantined""#);
        assert_eq!(read(record.as_bytes()).unwrap().sums.input, 0);
    }
}
