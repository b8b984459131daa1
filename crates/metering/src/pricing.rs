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
/// Pictures are priced one by one.
const IMAGE_SCALE: i128 = TOKENS_PER_RATE;
/// Audio is counted in milliseconds and priced per minute: a millisecond is 50/3 of a millionth of a minute, so all is added
/// in thirds.
const THIRDS: i128 = 3;
const AUDIO_THIRDS: i128 = 50;

/// What `usage` costs at `rates`, rounded once to the nearest nano-dollar, half up. Tokens of audio
/// and pictures are charged at their own rates and only the rest of their bucket at the text rate. Saturates at [`Money::MAX`]; never negative, because
/// a negative rate (nobody's price, but a possible slip of the pen) would pay the client.
pub fn cost(usage: &Usage, rates: &Rates) -> Money {
    let input = split(usage.input, usage.input_audio, usage.input_image);
    let output = split(usage.output, usage.output_audio, usage.output_image);
    let cached = split(usage.cache_read, usage.cache_read_audio, usage.cache_read_image);
    let parts = [
        part(input.text, rates.input),
        part(input.audio, rates.input_audio),
        part(input.image, rates.input_image),
        part(cached.text, rates.cache_read),
        part(cached.audio, rates.cache_read_audio),
        part(cached.image, rates.cache_read_image),
        part(usage.cache_write_5m, rates.cache_write_5m),
        part(usage.cache_write_1h, rates.cache_write_1h),
        part(output.text, rates.output),
        part(output.audio, rates.output_audio),
        part(output.image, rates.output_image),
        part(usage.characters, rates.characters),
        part(usage.web_searches, rates.web_searches).saturating_mul(SEARCH_SCALE),
        part(usage.reranks, rates.reranks).saturating_mul(SEARCH_SCALE),
        part(usage.images, rates.images).saturating_mul(IMAGE_SCALE),
    ];
    let millionths = parts.into_iter().fold(0, i128::saturating_add);
    let audio = part(usage.audio_ms, rates.audio_minutes).saturating_mul(AUDIO_THIRDS);
    let thirds = millionths.saturating_mul(THIRDS).saturating_add(audio);
    let unit = TOKENS_PER_RATE * THIRDS;
    Money::from_nanos_wide(thirds.saturating_add(unit / 2) / unit)
}

/// The kinds of tokens in one bucket.
struct Split {
    text: u64,
    audio: u64,
    image: u64,
}

/// Takes audio and pictures out of a bucket; figures that are more than the bucket are cut to it.
fn split(bucket: u64, audio: u64, image: u64) -> Split {
    let audio = audio.min(bucket);
    let image = image.min(bucket - audio);
    let text = bucket - audio - image;
    Split { text, audio, image }
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
            input_image: dollars("8.00"),
            output_image: dollars("30.00"),
            cache_read_audio: dollars("0.40"),
            cache_read_image: dollars("2.00"),
            images: dollars("0.04"),
            audio_minutes: dollars("0.006"),
            characters: dollars("15.00"),
            reranks: dollars("2.00"),
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
    fn pictures_sounds_characters_and_queries_have_theirs() {
        let of = |usage: Usage| cost(&usage, &rates());
        let none = Usage::default();
        for (usage, price) in [
            // A picture by a GPT image model: 20 tokens of text, 300 of a picture, 4,160 generated.
            (
                Usage {
                    input: 320,
                    input_image: 300,
                    output: 4_160,
                    output_image: 4_160,
                    ..none
                },
                "0.12725",
            ),
            (
                Usage {
                    cache_read: 1_000,
                    cache_read_audio: 600,
                    cache_read_image: 300,
                    ..none
                },
                "0.000965",
            ),
            (Usage { images: 3, ..none }, "0.12"),
            (
                Usage {
                    audio_ms: 90_500,
                    ..none
                },
                "0.00905",
            ),
            (Usage { audio_ms: 1, ..none }, "0.0000001"),
            (Usage { characters: 44, ..none }, "0.00066"),
            (Usage { reranks: 2, ..none }, "0.004"),
        ] {
            assert_eq!(of(usage), dollars(price), "{usage:?}");
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
            input_image: u64::MAX,
            output_image: u64::MAX,
            cache_read_audio: u64::MAX,
            cache_read_image: 1,
            images: u64::MAX,
            audio_ms: u64::MAX,
            characters: u64::MAX,
            reranks: u64::MAX,
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
            image_kinds: Vec::new(),
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
            shares in proptest::array::uniform6(0.0..=0.5_f64),
            units in proptest::array::uniform4(0_u64..100_000),
        ) -> Usage {
            let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, web_searches] = counts;
            let [images, audio_ms, characters, reranks] = units;
            let share = |bucket: u64, at: usize| (bucket as f64 * shares[at]) as u64;
            Usage {
                input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, web_searches,
                input_audio: share(input, 0),
                input_image: share(input, 1),
                output_audio: share(output, 2),
                output_image: share(output, 3),
                cache_read_audio: share(cache_read, 4),
                cache_read_image: share(cache_read, 5),
                images, audio_ms, characters, reranks,
            }
        }
    }

    prop_compose! {
        fn any_rates()(
            tokens in proptest::array::uniform8(0_i64..100_000_000_000),
            media in proptest::array::uniform8(0_i64..100_000_000_000),
        ) -> Rates {
            let [input, output, cache_read, cache_write_5m, cache_write_1h, input_audio, output_audio, web_searches] =
                tokens.map(Money::from_nanos);
            let [input_image, output_image, cache_read_audio, cache_read_image, images, audio_minutes, characters, reranks] =
                media.map(Money::from_nanos);
            Rates {
                input, output, cache_read, cache_write_5m, cache_write_1h, input_audio, output_audio, web_searches,
                input_image, output_image, cache_read_audio, cache_read_image, images, audio_minutes, characters, reranks,
            }
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
            let part = |count: u64, rate: Money| i128::from(count) * i128::from(rate.nanos());
            let millionths = part(usage.input - usage.input_audio - usage.input_image, rates.input)
                + part(usage.input_audio, rates.input_audio)
                + part(usage.input_image, rates.input_image)
                + part(usage.cache_read - usage.cache_read_audio - usage.cache_read_image, rates.cache_read)
                + part(usage.cache_read_audio, rates.cache_read_audio)
                + part(usage.cache_read_image, rates.cache_read_image)
                + part(usage.cache_write_5m, rates.cache_write_5m)
                + part(usage.cache_write_1h, rates.cache_write_1h)
                + part(usage.output - usage.output_audio - usage.output_image, rates.output)
                + part(usage.output_audio, rates.output_audio)
                + part(usage.output_image, rates.output_image)
                + part(usage.characters, rates.characters)
                + part(usage.web_searches, rates.web_searches) * 1_000
                + part(usage.reranks, rates.reranks) * 1_000
                + part(usage.images, rates.images) * 1_000_000;
            // A minute is 60,000 milliseconds; over 60 of it all is whole.
            let exact = millionths * 60 + part(usage.audio_ms, rates.audio_minutes) * 1_000;
            let got = i128::from(cost(&usage, &rates).nanos()) * 60_000_000;
            prop_assert!(got - exact <= 30_000_000 && exact - got < 30_000_000, "not the nearest: {got} for {exact}");
        }
    }
}
