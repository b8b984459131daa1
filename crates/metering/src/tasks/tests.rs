//! Tasks by tokens, by the piece, and by neither.

use domain::{Ending, Policy};
use proptest::prelude::*;

use super::*;
use crate::charge::{Charge, Reported, charge};

const NONE: Usage = Usage {
    input: 0,
    cache_read: 0,
    cache_write_5m: 0,
    cache_write_1h: 0,
    output: 0,
    reasoning: 0,
    input_audio: 0,
    output_audio: 0,
    web_searches: 0,
    input_image: 0,
    output_image: 0,
    cache_read_audio: 0,
    cache_read_image: 0,
    images: 0,
    audio_ms: 0,
    characters: 0,
    reranks: 0,
};

fn dollars(text: &str) -> Money {
    text.parse().unwrap()
}

/// The prices of the published list.
fn gpt_image() -> Price {
    Price::flat(Rates {
        input: dollars("5"),
        input_image: dollars("8"),
        output_image: dollars("30"),
        ..Rates::default()
    })
}

fn dall_e() -> Price {
    Price {
        image_kinds: [
            ("standard/1024x1024", "0.04"),
            ("hd/1024x1024", "0.08"),
            ("hd/1024x1792", "0.12"),
        ]
        .map(|(kind, each)| (kind.to_owned(), dollars(each)))
        .to_vec(),
        ..Price::flat(Rates {
            images: dollars("0.04"),
            ..Rates::default()
        })
    }
}

fn tts() -> Price {
    Price::flat(Rates {
        characters: dollars("15"),
        ..Rates::default()
    })
}

fn mini_tts() -> Price {
    Price::flat(Rates {
        input: dollars("0.6"),
        output: dollars("10"),
        output_audio: dollars("12"),
        ..Rates::default()
    })
}

fn whisper() -> Price {
    Price::flat(Rates {
        audio_minutes: dollars("0.006"),
        ..Rates::default()
    })
}

fn cohere() -> Price {
    Price::flat(Rates {
        reranks: dollars("2"),
        ..Rates::default()
    })
}

fn jina() -> Price {
    Price::flat(Rates {
        input: dollars("0.05"),
        ..Rates::default()
    })
}

fn free() -> Price {
    Price::flat(Rates::default())
}

fn asked(asked: Usage) -> Units {
    Units {
        asked,
        most: asked,
        text_bytes: 100,
        ..Units::default()
    }
}

fn pictures(n: u64) -> Units {
    asked(Usage { images: n, ..NONE })
}

fn ended(
    operation: Operation,
    units: &Units,
    price: Option<&Price>,
    reported: Option<Usage>,
    ending: Ending,
) -> Charge {
    charge(&Facts {
        operation,
        ending,
        hold_ran_out: false,
        status_ok: true,
        reported: reported.map_or(Reported::None, Reported::Possible),
        relayed_content: true,
        content_bytes: 0,
        sound_tokens: 0,
        body_bytes: 100,
        begun_bytes: 0,
        units: Some(units),
        price,
        service_tier: None,
        policy: Policy::Unlimited,
        hold: Money::ZERO,
        bill_abandoned: true,
    })
}

fn complete(operation: Operation, units: &Units, price: &Price, reported: Option<Usage>) -> Charge {
    ended(operation, units, Some(price), reported, Ending::Complete)
}

#[test]
fn tokens_that_are_reported_and_priced_are_paid_and_the_pictures_only_counted() {
    let usage = Usage {
        images: 2,
        input: 50,
        input_image: 40,
        output: 1_000,
        output_image: 1_000,
        ..NONE
    };
    let mut price = gpt_image();
    price.ordinary.rates.images = dollars("0.20");
    let paid = complete(Operation::ImageEdits, &pictures(2), &price, Some(usage));
    // 10 × 5 + 40 × 8 + 1,000 × 30 dollars per million
    assert_eq!(
        (paid.charged, paid.source, paid.usage),
        (dollars("0.03037"), UsageSource::Reported, usage)
    );
    assert_eq!(paid.rates.unwrap().images, Money::ZERO, "usage times rates is the cost");
}

#[test]
fn pictures_cost_what_their_quality_and_size_say() {
    for (quality, size, each) in [
        (None, None, "0.04"),
        (Some("standard"), Some("1024x1024"), "0.04"),
        (Some("HD"), Some("1024X1024"), "0.08"),
        (Some("hd"), Some("1024x1792"), "0.12"),
        (Some("hd"), Some("1x1"), "0.04"),
    ] {
        let units = Units {
            quality: quality.map(str::to_owned),
            size: size.map(str::to_owned),
            ..pictures(3)
        };
        let reported = Some(Usage { images: 2, ..NONE });
        let paid = complete(Operation::ImageGenerations, &units, &dall_e(), reported);
        assert_eq!(paid.charged.nanos(), dollars(each).nanos() * 2, "{quality:?} {size:?}");
        assert_eq!(
            (paid.source, paid.rates.unwrap().images),
            (UsageSource::Reported, dollars(each))
        );
    }
}

#[test]
fn what_is_not_reported_is_taken_from_the_request_and_flagged() {
    let speech = asked(Usage { characters: 44, ..NONE });
    let heard = asked(Usage {
        audio_ms: 30_000,
        ..NONE
    });
    let query = asked(Usage { reranks: 2, ..NONE });
    for (operation, units, price, charged) in [
        (Operation::ImageGenerations, &pictures(2), dall_e(), "0.08"),
        (Operation::Speech, &speech, tts(), "0.00066"),
        // 100 bytes are 20 tokens, 44 characters 62 of audio.
        (Operation::Speech, &speech, mini_tts(), "0.000756"),
        (Operation::Transcriptions, &heard, whisper(), "0.003"),
        (Operation::Rerank, &query, cohere(), "0.004"),
        (Operation::Rerank, &query, jina(), "0.000001"),
        (Operation::ImageEdits, &pictures(1), free(), "0"),
    ] {
        let paid = complete(operation, units, &price, None);
        assert_eq!(
            (paid.charged, paid.source),
            (dollars(charged), UsageSource::Estimated),
            "{operation}"
        );
        assert!(!paid.is_unpriced() && !paid.usage.is_empty(), "{operation}");
    }
}

#[test]
fn what_was_used_and_has_no_price_is_unpriced() {
    let heard = asked(Usage {
        audio_ms: 30_000,
        ..NONE
    });
    for (operation, units, price, reported) in [
        (Operation::ImageGenerations, &pictures(2), Some(gpt_image()), None),
        (Operation::ImageGenerations, &pictures(2), None, None),
        (
            Operation::Transcriptions,
            &heard,
            Some(jina()),
            Some(Usage {
                audio_ms: 9_000,
                ..NONE
            }),
        ),
        (Operation::Transcriptions, &heard, Some(jina()), None),
    ] {
        let paid = ended(operation, units, price.as_ref(), reported, Ending::Complete);
        assert!(
            paid.is_unpriced() && paid.charged == Money::ZERO && !paid.usage.is_empty(),
            "{operation} {reported:?}"
        );
    }
}

#[test]
fn tokens_without_a_price_do_not_make_pieces_free() {
    // A server that counts the tokens of its pictures while its operator sells pictures.
    let usage = Usage {
        input: 5,
        output: 900,
        ..NONE
    };
    let paid = complete(Operation::ImageGenerations, &pictures(2), &dall_e(), Some(usage));
    assert_eq!((paid.charged, paid.source), (dollars("0.08"), UsageSource::Estimated));
}

#[test]
fn only_who_left_pays_for_a_task_that_was_cut() {
    let speech = asked(Usage { characters: 44, ..NONE });
    let at = |ending| ended(Operation::Speech, &speech, Some(&tts()), None, ending);
    assert_eq!(at(Ending::ClientGone).charged, dollars("0.00066"));
    let cut = at(Ending::UpstreamGone);
    assert_eq!((cut.charged, cut.cost), (Money::ZERO, dollars("0.00066")));
    assert_eq!(at(Ending::Failed), Charge::default());
}

#[test]
fn moderation_is_free() {
    let paid = complete(
        Operation::Moderations,
        &Units::default(),
        &jina(),
        Some(Usage { input: 9, ..NONE }),
    );
    assert_eq!(paid, Charge::default());
}

#[test]
fn holds_are_of_the_dearer_way_to_bill() {
    let task = |operation, units| {
        move |price: &Price| {
            hold_for(
                &Task {
                    operation,
                    units,
                    context: 0,
                    max_output: 0,
                },
                price,
            )
        }
    };
    let one = pictures(1);
    // 100 bytes × 5 + 16,384 × 30 dollars per million; its input may be a picture at 8.
    assert_eq!(
        task(Operation::ImageGenerations, &one)(&gpt_image()),
        Some(dollars("0.49232"))
    );
    assert_eq!(
        task(Operation::ImageGenerations, &one)(&dall_e()),
        Some(dollars("0.12"))
    );
    let named = Units {
        quality: Some("hd".to_owned()),
        size: Some("1024x1024".to_owned()),
        ..pictures(1)
    };
    assert_eq!(
        task(Operation::ImageGenerations, &named)(&dall_e()),
        Some(dollars("0.08"))
    );
    let units = asked(Usage {
        audio_ms: 60_000,
        ..NONE
    });
    assert_eq!(
        task(Operation::Transcriptions, &units)(&whisper()),
        Some(dollars("0.006"))
    );
    assert_eq!(task(Operation::Transcriptions, &units)(&free()), Some(Money::ZERO));
    assert_eq!(
        task(Operation::Transcriptions, &units)(&cohere()),
        None,
        "a price of something else is none"
    );
}

proptest! {
    #[test]
    fn a_charge_that_stays_in_its_bounds_is_held_for(
        rates in proptest::array::uniform10(0_i64..50_000_000_000), n in 1_u64..10, chars in 1_u64..4_096, ms in 1_u64..9_000_000,
        shares in proptest::array::uniform4(0.0..=1.0_f64), which in 0_usize..5, has_tokens in any::<bool>(), counted in any::<bool>(),
    ) {
        let [input, output, input_audio, output_audio, input_image, output_image, images, audio_minutes, characters, reranks] =
            rates.map(Money::from_nanos);
        let price = Price::flat(Rates {
            input, output, input_audio, output_audio, input_image, output_image, images, audio_minutes, characters, reranks,
            ..Rates::default()
        });
        let operation = [Operation::ImageEdits, Operation::Speech, Operation::Transcriptions, Operation::Translations, Operation::Rerank][which];
        let of = |bucket: u64, at: usize| (bucket as f64 * shares[at]) as u64;
        let pieces = match operation {
            Operation::ImageEdits => Usage { images: n, ..NONE },
            Operation::Speech => Usage { characters: chars, ..NONE },
            Operation::Rerank => Usage { reranks: n, ..NONE },
            _ => Usage { audio_ms: ms, ..NONE },
        };
        let units = Units { pictures: 1, text_bytes: chars, ..asked(pieces) };
        let task = Task { operation, units: &units, context: 0, max_output: 2_000 };
        let most = most_tokens(&task);
        let (used_in, used_out) = (of(most.input, 0), of(most.output, 1));
        let usage = Usage {
            input: used_in, input_audio: of(used_in, 2) / 2, input_image: of(used_in, 3) / 2,
            output: used_out, output_audio: of(used_out, 3) / 2, output_image: of(used_out, 2) / 2,
            ..if counted { pieces } else { NONE }
        };
        let reported = if has_tokens { Some(usage) } else { counted.then_some(pieces) };
        let paid = complete(operation, &units, &price, reported);
        let hold = hold_for(&task, &price);
        prop_assert!(hold.is_none_or(|hold| paid.cost <= hold), "{paid:?} {hold:?}");
    }
}
