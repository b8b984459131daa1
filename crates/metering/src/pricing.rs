//! From tokens and rates to money.
//!
//! A rate is nano-dollars per *million* tokens, so a token may cost a fraction of a nano-dollar. All buckets are
//! multiplied and added in 128 bits in units of a millionth of a nano-dollar, and the sum is rounded once: rounding
//! per bucket would make the price of a call depend on how a provider happens to split its usage.

use domain::{Money, Price, Rates, Usage};

/// Rates are given per this many tokens.
const TOKENS_PER_RATE: i128 = 1_000_000;
/// Searches are priced per thousand; this brings them to the unit of tokens.
const SEARCH_SCALE: i128 = TOKENS_PER_RATE / 1_000;

/// What `usage` costs at `rates`, rounded once to the nearest nano-dollar, half up. Audio tokens are charged at the
/// audio rate and only the rest of their bucket at the text rate. Saturates at [`Money::MAX`]; never negative, because
/// a negative rate (nobody's price, but a possible slip of the pen) would pay the client.
pub fn cost(usage: &Usage, rates: &Rates) -> Money {
    let input_audio = usage.input_audio.min(usage.input);
    let output_audio = usage.output_audio.min(usage.output);
    let parts = [
        part(usage.input - input_audio, rates.input),
        part(input_audio, rates.input_audio),
        part(usage.cache_read, rates.cache_read),
        part(usage.cache_write_5m, rates.cache_write_5m),
        part(usage.cache_write_1h, rates.cache_write_1h),
        part(usage.output - output_audio, rates.output),
        part(output_audio, rates.output_audio),
        part(usage.web_searches, rates.web_searches).saturating_mul(SEARCH_SCALE),
    ];
    let millionths = parts.into_iter().fold(0, i128::saturating_add);
    Money::from_nanos_wide(millionths.saturating_add(TOKENS_PER_RATE / 2) / TOKENS_PER_RATE)
}

/// The row of `price` that applies to a call: of the tariff of the service tier which the answer names, the row for the
/// length of its prompt.
pub fn rates_for<'a>(price: &'a Price, usage: &Usage, service_tier: Option<&str>) -> &'a Rates {
    price.tariff(service_tier).at(usage.prompt())
}

fn part(count: u64, rate: Money) -> i128 {
    i128::from(count).saturating_mul(i128::from(rate.nanos().max(0)))
}

#[cfg(test)]
mod tests {
    use domain::price::{Step, Tariff};
    use proptest::prelude::*;

    use super::*;

    fn dollars(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn rates() -> Rates {
        Rates {
            input: dollars("2.50"),
            output: dollars("10.00"),
            cache_read: dollars("1.25"),
            cache_write_5m: dollars("3.125"),
            cache_write_1h: dollars("5.00"),
            input_audio: dollars("40.00"),
            output_audio: dollars("80.00"),
            web_searches: dollars("10.00"),
        }
    }

    #[test]
    fn each_bucket_has_its_rate() {
        let million = 1_000_000;
        for (usage, price) in [
            (
                Usage {
                    input: million,
                    ..Usage::default()
                },
                "2.50",
            ),
            (
                Usage {
                    output: million,
                    ..Usage::default()
                },
                "10.00",
            ),
            (
                Usage {
                    cache_read: million,
                    ..Usage::default()
                },
                "1.25",
            ),
            (
                Usage {
                    cache_write_5m: million,
                    ..Usage::default()
                },
                "3.125",
            ),
            (
                Usage {
                    cache_write_1h: million,
                    ..Usage::default()
                },
                "5.00",
            ),
            (
                Usage {
                    web_searches: 1_000,
                    ..Usage::default()
                },
                "10.00",
            ),
            (
                Usage {
                    input: million,
                    input_audio: million,
                    ..Usage::default()
                },
                "40.00",
            ),
            (
                Usage {
                    input: million,
                    input_audio: million / 2,
                    ..Usage::default()
                },
                "21.25",
            ),
            (
                Usage {
                    output: million,
                    output_audio: million / 4,
                    ..Usage::default()
                },
                "27.50",
            ),
            (
                Usage {
                    output: million,
                    reasoning: million,
                    ..Usage::default()
                },
                "10.00",
            ),
        ] {
            assert_eq!(cost(&usage, &rates()), dollars(price), "{usage:?}");
        }
    }

    #[test]
    fn a_real_call_to_the_last_decimal() {
        let usage = Usage {
            input: 1_234,
            cache_read: 1_024,
            output: 567,
            reasoning: 128,
            ..Usage::default()
        };
        // 1234 × 2.5 + 1024 × 1.25 + 567 × 10 = 10035 dollars per million
        assert_eq!(cost(&usage, &rates()), dollars("0.010035"));
    }

    #[test]
    fn rounds_once_and_half_up() {
        let cheap = Rates {
            input: Money::from_nanos(500_000),
            output: Money::from_nanos(499_999),
            ..Rates::default()
        };
        let tokens = |input, output| Usage {
            input,
            output,
            ..Usage::default()
        };
        assert_eq!(cost(&tokens(1, 0), &cheap).nanos(), 1, "half a nano-dollar goes up");
        assert_eq!(cost(&tokens(0, 1), &cheap).nanos(), 0, "less than half goes down");
        assert_eq!(
            cost(&tokens(1, 1), &cheap).nanos(),
            1,
            "the sum is rounded, not the parts"
        );
        assert_eq!(cost(&tokens(3, 0), &cheap).nanos(), 2);
    }

    #[test]
    fn absurd_figures_stick_at_the_ends() {
        let all = Usage {
            input: u64::MAX,
            cache_read: u64::MAX,
            cache_write_5m: u64::MAX,
            cache_write_1h: u64::MAX,
            output: u64::MAX,
            reasoning: 0,
            input_audio: u64::MAX,
            output_audio: 1,
            web_searches: u64::MAX,
        };
        let dear = Rates {
            input: Money::MAX,
            cache_read: Money::MAX,
            web_searches: Money::MAX,
            ..rates()
        };
        assert_eq!(cost(&all, &dear), Money::MAX);
        let negative = Rates {
            input: dollars("-1"),
            ..Rates::default()
        };
        assert_eq!(
            cost(
                &Usage {
                    input: 9_000_000,
                    ..Usage::default()
                },
                &negative
            ),
            Money::ZERO
        );
        let more_audio_than_input = Usage {
            input: 10,
            input_audio: 20,
            ..Usage::default()
        };
        assert_eq!(cost(&more_audio_than_input, &rates()), dollars("0.0004"));
    }

    #[test]
    fn the_row_is_chosen_by_tier_and_length() {
        let row = |input: &str| Rates {
            input: dollars(input),
            ..Rates::default()
        };
        let step = |above, input| Step {
            above,
            rates: row(input),
        };
        let price = Price {
            ordinary: Tariff {
                rates: row("1"),
                steps: vec![step(32_000, "1.8"), step(128_000, "3"), step(256_000, "6")],
            },
            tiers: vec![
                (
                    "flex".to_owned(),
                    Tariff {
                        rates: row("0.5"),
                        steps: vec![step(128_000, "1.5")],
                    },
                ),
                ("priority".to_owned(), Tariff::flat(row("4"))),
            ],
        };
        let prompt = |tokens: u64| Usage {
            input: 1,
            cache_read: tokens - 1,
            ..Usage::default()
        };
        for (tokens, tier, input) in [
            (32_000, None, "1"),
            (32_001, None, "1.8"),
            (128_000, None, "1.8"),
            (128_001, None, "3"),
            (256_001, None, "6"),
            (9_000_000, Some("standard"), "6"),
            (10, Some("default"), "1"),
            (10, Some("Priority"), "4"),
            (300_000, Some("priority"), "4"),
            (128_000, Some("flex"), "0.5"),
            (128_001, Some("flex"), "1.5"),
        ] {
            assert_eq!(
                rates_for(&price, &prompt(tokens), tier).input,
                dollars(input),
                "{tokens} {tier:?}"
            );
        }
    }

    prop_compose! {
        fn any_usage()(
            counts in proptest::array::uniform7(0_u64..2_000_000),
            audio in (0.0..=1.0_f64, 0.0..=1.0_f64),
        ) -> Usage {
            let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, web_searches] = counts;
            Usage {
                input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, web_searches,
                input_audio: (input as f64 * audio.0) as u64,
                output_audio: (output as f64 * audio.1) as u64,
            }
        }
    }

    prop_compose! {
        fn any_rates()(nanos in proptest::array::uniform8(0_i64..100_000_000_000)) -> Rates {
            let [input, output, cache_read, cache_write_5m, cache_write_1h, input_audio, output_audio, web_searches] =
                nanos.map(Money::from_nanos);
            Rates { input, output, cache_read, cache_write_5m, cache_write_1h, input_audio, output_audio, web_searches }
        }
    }

    proptest! {
        #[test]
        fn more_usage_never_costs_less(usage in any_usage(), more in any_usage(), rates in any_rates()) {
            let mut sum = usage;
            sum += more;
            prop_assert!(cost(&sum, &rates) >= cost(&usage, &rates));
        }

        #[test]
        fn the_cost_of_two_calls_is_that_of_both_within_rounding(
            one in any_usage(), other in any_usage(), rates in any_rates(),
        ) {
            let mut both = one;
            both += other;
            let apart = cost(&one, &rates) + cost(&other, &rates);
            prop_assert!((apart.nanos() - cost(&both, &rates).nanos()).abs() <= 1);
        }

        #[test]
        fn agrees_with_exact_fractions(usage in any_usage(), rates in any_rates()) {
            let text_in = i128::from(usage.input - usage.input_audio);
            let text_out = i128::from(usage.output - usage.output_audio);
            let millionths = text_in * i128::from(rates.input.nanos())
                + i128::from(usage.input_audio) * i128::from(rates.input_audio.nanos())
                + i128::from(usage.cache_read) * i128::from(rates.cache_read.nanos())
                + i128::from(usage.cache_write_5m) * i128::from(rates.cache_write_5m.nanos())
                + i128::from(usage.cache_write_1h) * i128::from(rates.cache_write_1h.nanos())
                + text_out * i128::from(rates.output.nanos())
                + i128::from(usage.output_audio) * i128::from(rates.output_audio.nanos())
                + i128::from(usage.web_searches) * i128::from(rates.web_searches.nanos()) * 1_000;
            let got = i128::from(cost(&usage, &rates).nanos()) * 1_000_000;
            prop_assert!(got - millionths <= 500_000 && millionths - got < 500_000, "not the nearest: {got} for {millionths}");
        }
    }
}
