//! Usage of Anthropic's format.
//!
//! The input excludes the cache. In a stream `message_start` has input and cache, `message_delta` is cumulative and may
//! repeat or correct any of it: fields are merged, the later explicit value wins, nothing is ever added up.
//!
//! `iterations` lists the model runs behind one answer. Runs of the same model are in the totals already, except
//! `compaction`, which is not; runs of another model (an advisor, one that declined before a fallback) are never in
//! the totals and cost that model's price, so they are reported beside.

use domain::Usage;

use crate::answer::{SideUsage, UsageReport};
use crate::json::{Cursor, Syntax};
use crate::limits::SIDE_USAGE_MAX;
use crate::observation::Observation;
use crate::usage::{SPLIT_EXCEEDS_WRITTEN, Tally, judge};

/// One run of a model.
#[derive(Debug, Default)]
struct Iteration {
    role: String,
    model: Option<String>,
    tally: Tally,
}

/// Takes a usage object into the observation. The model must have been read before.
pub(crate) fn take(raw: &[u8], seen: &mut Observation) -> Result<(), Syntax> {
    let mut cursor = Cursor::strict(raw);
    let mut tally = Tally::default();
    let mut iterations = Vec::new();
    cursor.object_if(|key, value| match key {
        b"iterations" => value
            .array_if(|element| {
                let iteration = read_iteration(element)?;
                if iterations.len() < SIDE_USAGE_MAX {
                    iterations.push(iteration);
                }
                Ok::<(), Syntax>(())
            })
            .map(|_| ()),
        b"service_tier" => seen.service_tier(value),
        _ => read_field(key, value, &mut tally),
    })?;
    seen.tally.merge(&tally);
    if !iterations.is_empty() {
        seen.report.side_usage.clear();
    }
    let mut usage = judge(&seen.tally, raw, normal);
    for iteration in iterations {
        apply(iteration, &mut usage, seen);
    }
    seen.report.usage = usage;
    Ok(())
}

/// The arithmetic.
pub(crate) fn normal(tally: &Tally) -> Result<Usage, &'static str> {
    let hour = tally.written_1h.or_zero();
    let split = tally.written_5m.or_zero() + hour;
    let written = if tally.written.is_given() {
        tally.written.or_zero()
    } else {
        split
    };
    if split > written {
        return Err(SPLIT_EXCEEDS_WRITTEN);
    }
    Ok(Usage {
        input: tally.input.or_zero(),
        cache_read: tally.cached.or_zero(),
        // What no life is given for is billed as the shorter one.
        cache_write_5m: written - hour,
        cache_write_1h: hour,
        output: tally.output.or_zero(),
        reasoning: tally.reasoning.or_zero(),
        web_searches: tally.searches.or_zero(),
        ..Usage::default()
    })
}

fn read_field(key: &[u8], value: &mut Cursor<'_>, tally: &mut Tally) -> Result<(), Syntax> {
    match key {
        b"input_tokens" => tally.input = value.figure()?,
        b"output_tokens" => tally.output = value.figure()?,
        b"cache_read_input_tokens" => tally.cached = value.figure()?,
        b"cache_creation_input_tokens" => tally.written = value.figure()?,
        b"cache_creation" => {
            value.object_if(|key, member| {
                match key {
                    b"ephemeral_5m_input_tokens" => tally.written_5m = member.figure()?,
                    b"ephemeral_1h_input_tokens" => tally.written_1h = member.figure()?,
                    _ => {
                        member.skip()?;
                    }
                }
                Ok::<(), Syntax>(())
            })?;
        }
        b"output_tokens_details" => {
            value.object_if(|key, member| {
                match key {
                    b"thinking_tokens" => tally.reasoning = member.figure()?,
                    _ => {
                        member.skip()?;
                    }
                }
                Ok::<(), Syntax>(())
            })?;
        }
        b"server_tool_use" => {
            value.object_if(|key, member| {
                match key {
                    b"web_search_requests" => tally.searches = member.figure()?,
                    _ => {
                        member.skip()?;
                    }
                }
                Ok::<(), Syntax>(())
            })?;
        }
        _ => {
            value.skip()?;
        }
    }
    Ok(())
}

fn read_iteration(value: &mut Cursor<'_>) -> Result<Iteration, Syntax> {
    let mut iteration = Iteration::default();
    value.object_if(|key, member| {
        match key {
            b"type" => {
                iteration.role = member
                    .string_if()?
                    .map(|text| text.decode().into_owned())
                    .unwrap_or_default();
            }
            b"model" => iteration.model = member.string_if()?.map(|text| text.decode().into_owned()),
            _ => read_field(key, member, &mut iteration.tally)?,
        }
        Ok::<(), Syntax>(())
    })?;
    Ok(iteration)
}

/// Adds what the totals leave out: to the usage if it is the same model's, else beside it.
fn apply(iteration: Iteration, total: &mut UsageReport, seen: &mut Observation) {
    let is_other = iteration.model.is_some() && iteration.model != seen.report.model;
    let is_same = !is_other && iteration.role != "advisor_message";
    if is_same && iteration.role != "compaction" {
        return;
    }
    match (judge(&iteration.tally, b"", normal), is_same, total) {
        (UsageReport::Possible(usage), true, UsageReport::Possible(total)) => *total += usage,
        (UsageReport::Possible(usage), false, _) if !usage.is_empty() => {
            seen.report.side_usage.push(SideUsage {
                role: iteration.role,
                model: iteration.model,
                usage,
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(raws: &[&str]) -> Observation {
        let mut seen = Observation::default();
        seen.report.model = Some("claude-a".to_owned());
        for raw in raws {
            take(raw.as_bytes(), &mut seen).unwrap();
        }
        seen
    }

    fn usage(raws: &[&str]) -> Usage {
        match after(raws).report.usage {
            UsageReport::Possible(usage) => usage,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn deltas_are_cumulative_and_merged_by_field() {
        let start =
            r#"{"input_tokens":10,"cache_read_input_tokens":5,"cache_creation_input_tokens":7,"output_tokens":1}"#;
        let merged = usage(&[
            start,
            r#"{"output_tokens":20}"#,
            r#"{"output_tokens":42,"input_tokens":11,"cache_read_input_tokens":null}"#,
        ]);
        assert_eq!(
            merged,
            Usage {
                input: 11,
                cache_read: 5,
                cache_write_5m: 7,
                output: 42,
                ..Usage::default()
            }
        );
    }

    #[test]
    fn the_split_of_writes_decides_their_price() {
        let split = r#"{"input_tokens":1,"cache_creation_input_tokens":10,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":7},"output_tokens":2,"server_tool_use":{"web_search_requests":2},"output_tokens_details":{"thinking_tokens":1}}"#;
        let expected = Usage {
            input: 1,
            cache_write_5m: 3,
            cache_write_1h: 7,
            output: 2,
            reasoning: 1,
            web_searches: 2,
            ..Usage::default()
        };
        assert_eq!(usage(&[split]), expected);
        let short = r#"{"cache_creation_input_tokens":10,"cache_creation":{"ephemeral_1h_input_tokens":4}}"#;
        assert_eq!((usage(&[short]).cache_write_5m, usage(&[short]).cache_write_1h), (6, 4));
        let too_much = r#"{"cache_creation_input_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":3}}"#;
        assert!(matches!(
            after(&[too_much]).report.usage,
            UsageReport::Impossible {
                why: SPLIT_EXCEEDS_WRITTEN,
                ..
            }
        ));
        for impossible in [
            r#"{"input_tokens":-3}"#,
            r#"{"input_tokens":3,"server_tool_use":{"web_search_requests":1000001}}"#,
        ] {
            assert!(matches!(
                after(&[impossible]).report.usage,
                UsageReport::Impossible { .. }
            ));
        }
    }

    #[test]
    fn iterations_outside_the_totals_are_counted_where_they_belong() {
        let raw = r#"{"input_tokens":100,"output_tokens":10,"iterations":[
            {"type":"message","input_tokens":100,"output_tokens":10},
            {"type":"compaction","input_tokens":50,"output_tokens":5},
            {"type":"advisor_message","model":"claude-b","input_tokens":7,"output_tokens":3},
            {"type":"message","model":"claude-c","input_tokens":4,"output_tokens":0},
            {"type":"fallback_message","model":"claude-a","input_tokens":100,"output_tokens":10}]}"#;
        // Said twice, as streams do: still counted once.
        let seen = after(&[raw, raw]);
        assert_eq!(
            seen.report.usage,
            UsageReport::Possible(Usage {
                input: 150,
                output: 15,
                ..Usage::default()
            })
        );
        let side: Vec<_> = seen
            .report
            .side_usage
            .iter()
            .map(|side| (side.role.as_str(), side.usage.input))
            .collect();
        assert_eq!(side, [("advisor_message", 7), ("message", 4)]);
    }
}
