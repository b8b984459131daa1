//! What accounts were used for, for people's eyes: counted from the request log, so that clearing it clears this too, and
//! never an account of money.

use std::collections::HashMap;

use domain::{CredentialId, Ending, Receipt, Timestamp};

use super::OAuthAccounts;
use crate::error::Result;
use crate::limits::LIST_ROWS_MAX;

/// What one account was used for since its statistics were reset, as far as the newest entries of the log go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountUse {
    /// Calls that it answered.
    pub calls: u64,
    /// Attempts at it that failed.
    pub failed: u64,
    /// Tokens of the calls that it answered, cached ones included.
    pub input_tokens: u64,
    /// Tokens that it generated.
    pub output_tokens: u64,
    /// When a call that used it ended last.
    pub last_used: Option<Timestamp>,
}

impl OAuthAccounts<'_> {
    /// The use of each account that was used.
    pub async fn uses(&self) -> Result<HashMap<CredentialId, AccountUse>> {
        let since: HashMap<CredentialId, Timestamp> = self
            .list()
            .await?
            .into_iter()
            .map(|record| (record.id, record.stats_since))
            .collect();
        let mut uses = HashMap::new();
        for record in self.0.requests().recent(LIST_ROWS_MAX).await? {
            count(&record.receipt, &since, &mut uses);
        }
        Ok(uses)
    }
}

fn count(receipt: &Receipt, since: &HashMap<CredentialId, Timestamp>, uses: &mut HashMap<CredentialId, AccountUse>) {
    for attempt in &receipt.attempts {
        let counts = since
            .get(&attempt.credential)
            .is_some_and(|since| receipt.started_at >= *since);
        if !counts {
            continue;
        }
        let counted = uses.entry(attempt.credential).or_default();
        let ended = receipt.finished_at;
        counted.last_used = Some(counted.last_used.map_or(ended, |last| last.max(ended)));
        if attempt.failure.is_some() {
            counted.failed += 1;
        } else if receipt.ending == Ending::Complete {
            let usage = &receipt.usage;
            counted.calls += 1;
            counted.input_tokens += usage.prompt();
            counted.output_tokens += usage.output;
        }
    }
}
