//! The books from outside: what the journal holds, what the ledger says, and that they agree with what clients got.

use std::collections::HashSet;
use std::hash::BuildHasher;

use serde_json::Value;
use testkit::client::Request;
use testkit::gateway::Tollgate;

use crate::{audit, receipts, wait};

/// A decimal string of dollars as nano-dollars, exactly.
pub fn nanos(dollars: &Value) -> i64 {
    let text = dollars
        .as_str()
        .unwrap_or_else(|| panic!("money is a decimal string, not {dollars}"));
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(fraction.len() <= 9, "{text} has more than nine decimals");
    let parse = |digits: &str| digits.parse::<i64>().unwrap_or_else(|error| panic!("{text}: {error}"));
    sign * (parse(whole) * 1_000_000_000 + parse(&format!("{fraction:0<9}")))
}

/// What the ledger says that a user has, in nano-dollars.
pub fn balance(gateway: &Tollgate, user: &str) -> i64 {
    nanos(&gateway.cli_json(&["balance", "show", user, "--json"])["balance"])
}

/// `/readyz`, whatever its status.
pub fn readiness(gateway: &Tollgate) -> Value {
    Request::get("/readyz").send(&gateway.url()).json()
}

/// Receipts that wait for the ledger.
pub fn backlog(gateway: &Tollgate) -> u64 {
    let readiness = readiness(gateway);
    readiness["journal_backlog_receipts"]
        .as_u64()
        .unwrap_or_else(|| panic!("no backlog in {readiness}"))
}

/// Waits until everything journalled is booked.
pub fn settled(gateway: &Tollgate) {
    wait::until("the journal to be booked", || backlog(gateway) == 0);
}

/// Whether journal, ledger and clients agree: every answer has its receipt at `price` nano-dollars, nothing else was
/// charged, and the user has what is left of `opening`.
pub fn assert_exact<S: BuildHasher>(gateway: &Tollgate, answered: &HashSet<String, S>, price: i64, opening: i64) {
    let receipts = receipts(gateway);
    let missing: Vec<_> = answered.iter().filter(|call| !receipts.contains_key(*call)).collect();
    assert!(
        missing.is_empty(),
        "{} of {} answers have no receipt: {missing:?}",
        missing.len(),
        answered.len()
    );
    let mut sum = 0;
    for (call, receipt) in &receipts {
        let charged = receipt["charged"].as_i64().unwrap_or(0);
        let expected = if answered.contains(call) { price } else { 0 };
        assert_eq!(charged, expected, "call {call}: {receipt}");
        sum += charged;
    }
    let report = audit(gateway);
    assert_eq!(
        report["receipts"].as_u64(),
        Some(receipts.len() as u64),
        "the ledger misses receipts: {report}"
    );
    assert_eq!(nanos(&report["charged"]), sum, "{report}");
    assert_eq!(balance(gateway, "alice"), opening - sum, "{report}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn money_is_read_exactly() {
        for (text, expected) in [
            ("10.00", 10_000_000_000),
            ("-0.000000001", -1),
            ("3", 3_000_000_000),
            ("0.5", 500_000_000),
        ] {
            assert_eq!(nanos(&json!(text)), expected);
        }
    }
}
