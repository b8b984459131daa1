//! Every row of the charge table, and what holds on all of them.

use domain::price::Tariff;
use proptest::prelude::*;

use super::*;

fn dollars(text: &str) -> Money {
    text.parse().unwrap()
}

/// A dollar per million tokens of input, ten for output.
fn price() -> Price {
    Price::flat(Rates {
        input: dollars("1"),
        output: dollars("10"),
        ..Rates::default()
    })
}

const USED: Usage = Usage {
    input: 100,
    output: 50,
    ..EMPTY
};
const EMPTY: Usage = Usage {
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

/// A complete chat of 500 bytes in and 350 out, that reported a hundred tokens in and fifty out: $0.0006.
fn facts(price: &Price) -> Facts<'_> {
    Facts {
        operation: Operation::Chat,
        ending: Ending::Complete,
        hold_ran_out: false,
        status_ok: true,
        reported: Reported::Possible(USED),
        relayed_content: true,
        content_bytes: 350,
        sound_tokens: 0,
        body_bytes: 500,
        begun_bytes: 0,
        units: None,
        price: Some(price),
        service_tier: None,
        policy: Policy::Unlimited,
        hold: Money::ZERO,
        bill_abandoned: true,
    }
}

#[test]
fn complete_and_reported_is_charged_as_reported() {
    let price = price();
    let charge = charge(&facts(&price));
    assert_eq!((charge.usage, charge.source), (USED, UsageSource::Reported));
    assert_eq!(
        (charge.cost, charge.charged, charge.uncollected),
        (dollars("0.0006"), dollars("0.0006"), Money::ZERO)
    );
    assert_eq!(charge.rates, Some(price.ordinary.rates));
}

#[test]
fn a_reported_nothing_is_nothing() {
    let price = price();
    let charge = charge(&Facts {
        reported: Reported::Possible(EMPTY),
        ..facts(&price)
    });
    assert_eq!((charge.source, charge.charged), (UsageSource::Reported, Money::ZERO));
}

#[test]
fn complete_without_a_report_is_estimated() {
    let price = price();
    let charge = charge(&Facts {
        reported: Reported::None,
        ..facts(&price)
    });
    assert_eq!(charge.source, UsageSource::Estimated);
    assert_eq!(
        charge.usage,
        Usage {
            input: 100,
            output: 100,
            ..EMPTY
        }
    );
    assert_eq!(charge.charged, dollars("0.0011"));
}

#[test]
fn embeddings_have_no_output() {
    let price = price();
    let embeddings = Facts {
        operation: Operation::Embeddings,
        reported: Reported::None,
        ..facts(&price)
    };
    let charge = charge(&embeddings);
    assert_eq!((charge.usage.input, charge.usage.output), (100, 0));
    assert_eq!(charge.charged, dollars("0.0001"));
}

#[test]
fn what_was_told_before_is_prompt_where_another_goes_on() {
    let price = price();
    let begun = Facts {
        begun_bytes: 70,
        ..facts(&price)
    };
    let usage = |reported| charge(&Facts { reported, ..begun }).usage;
    assert_eq!(
        usage(Reported::None).input,
        120,
        "100 of the request and 20 of the text"
    );
    assert_eq!(usage(Reported::Possible(USED)), USED, "who reports has counted it");
}

#[test]
fn a_client_that_hangs_up_pays_for_what_was_produced() {
    let price = price();
    let gone = Facts {
        ending: Ending::ClientGone,
        ..facts(&price)
    };
    let estimate = |reported| charge(&Facts { reported, ..gone });

    let nothing_said = estimate(Reported::None);
    assert_eq!(
        (nothing_said.source, nothing_said.charged),
        (UsageSource::Estimated, dollars("0.0011"))
    );

    let beginning = Usage {
        input: 40,
        cache_read: 7,
        output: 1,
        ..EMPTY
    };
    let beginning_said = estimate(Reported::Possible(beginning));
    assert_eq!(
        beginning_said.usage,
        Usage {
            output: 100,
            ..beginning
        },
        "the prompt as told, the output as relayed"
    );
    assert_eq!(beginning_said.source, UsageSource::Estimated);

    let measured = estimate(Reported::Possible(Usage {
        input: 40,
        output: 60,
        ..EMPTY
    }));
    assert_eq!(
        (measured.usage.output, measured.source),
        (60, UsageSource::Reported),
        "the last figure is credible"
    );

    let all_cached = Usage {
        cache_read: 90,
        output: 60,
        ..EMPTY
    };
    let cached = estimate(Reported::Possible(all_cached));
    assert_eq!(
        (cached.usage, cached.source),
        (all_cached, UsageSource::Reported),
        "a cached prompt is a prompt"
    );

    let off = charge(&Facts {
        bill_abandoned: false,
        ..gone
    });
    assert_eq!(
        (off.cost, off.charged, off.uncollected),
        (dollars("0.0006"), Money::ZERO, Money::ZERO)
    );

    let before_content = charge(&Facts {
        relayed_content: false,
        reported: Reported::None,
        ..gone
    });
    assert_eq!(
        (before_content.source, before_content.charged),
        (UsageSource::None, Money::ZERO)
    );
    let head_only = charge(&Facts {
        relayed_content: false,
        ..gone
    });
    assert_eq!((head_only.cost, head_only.charged), (dollars("0.0006"), Money::ZERO));
}

#[test]
fn what_did_not_reach_its_end_is_not_charged() {
    let price = price();
    for ending in [Ending::UpstreamGone, Ending::Limit, Ending::Failed] {
        for reported in [Reported::None, Reported::Possible(USED)] {
            let charge = charge(&Facts {
                ending,
                reported,
                ..facts(&price)
            });
            assert_eq!(
                (charge.charged, charge.uncollected),
                (Money::ZERO, Money::ZERO),
                "{ending:?} {reported:?}"
            );
            let known = reported != Reported::None || ending != Ending::Failed;
            assert_eq!(
                charge.cost > Money::ZERO,
                known,
                "our own cost is recorded: {ending:?} {reported:?}"
            );
        }
    }
}

#[test]
fn a_stream_that_outgrows_its_money_pays_what_it_had() {
    let price = price();
    let ended = Facts {
        ending: Ending::Limit,
        hold_ran_out: true,
        policy: Policy::Hard,
        hold: dollars("0.0005"),
        ..facts(&price)
    };
    let charge = charge(&Facts {
        reported: Reported::None,
        ..ended
    });
    assert_eq!(charge.charged, dollars("0.0005"));
    assert_eq!(
        (charge.cost, charge.uncollected),
        (dollars("0.0011"), dollars("0.0006"))
    );
}

#[test]
fn an_answer_that_is_not_2xx_is_never_charged() {
    let price = price();
    for ending in [
        Ending::Complete,
        Ending::ClientGone,
        Ending::UpstreamGone,
        Ending::Limit,
        Ending::Failed,
    ] {
        for reported in [Reported::None, Reported::Possible(USED)] {
            let refused = Facts {
                status_ok: false,
                hold_ran_out: true,
                ending,
                reported,
                ..facts(&price)
            };
            assert_eq!(charge(&refused).charged, Money::ZERO, "{ending:?} {reported:?}");
        }
    }
    let passed_through = charge(&Facts {
        status_ok: false,
        reported: Reported::None,
        ..facts(&price)
    });
    assert_eq!(passed_through, Charge::default(), "a 400 consumed nothing");
}

#[test]
fn impossible_usage_is_quarantined() {
    let price = price();
    for ending in [
        Ending::Complete,
        Ending::ClientGone,
        Ending::UpstreamGone,
        Ending::Limit,
        Ending::Failed,
    ] {
        let charge = charge(&Facts {
            reported: Reported::Impossible,
            ending,
            ..facts(&price)
        });
        assert_eq!(
            charge,
            Charge {
                source: UsageSource::Quarantined,
                ..Charge::default()
            },
            "{ending:?}"
        );
    }
}

#[test]
fn without_a_price_usage_is_kept_and_nothing_charged() {
    let price = price();
    let charged = charge(&Facts {
        price: None,
        ..facts(&price)
    });
    assert_eq!(
        (charged.usage, charged.rates, charged.charged),
        (USED, None, Money::ZERO)
    );
    assert!(charged.is_unpriced());
    assert!(!charge(&facts(&price)).is_unpriced());
    let free = Price::default();
    let charged = charge(&facts(&free));
    assert_eq!(
        (charged.rates, charged.cost),
        (Some(Rates::default()), Money::ZERO),
        "free is a price"
    );
    assert!(!charged.is_unpriced());
    assert!(
        !charge(&Facts {
            price: None,
            ending: Ending::Failed,
            reported: Reported::None,
            ..facts(&price)
        })
        .is_unpriced()
    );
}

#[test]
fn counting_and_passing_through_are_free() {
    let price = price();
    for operation in [Operation::CountTokens, Operation::Passthrough] {
        assert_eq!(
            charge(&Facts {
                operation,
                ..facts(&price)
            }),
            Charge::default(),
            "{operation}"
        );
    }
}

#[test]
fn policies_differ_beyond_the_hold() {
    let price = price();
    for (policy, hold, charged, uncollected) in [
        (Policy::Unlimited, "0.0001", "0.0006", "0"),
        (Policy::Soft, "0.0001", "0.0006", "0"),
        (Policy::Hard, "0.0001", "0.0001", "0.0005"),
        (Policy::Hard, "0.0006", "0.0006", "0"),
        (Policy::Hard, "0.01", "0.0006", "0"),
        (Policy::Hard, "0", "0", "0.0006"),
        (Policy::Hard, "-1", "0", "0.0006"),
    ] {
        let charge = charge(&Facts {
            policy,
            hold: dollars(hold),
            ..facts(&price)
        });
        assert_eq!(
            (charge.charged, charge.uncollected),
            (dollars(charged), dollars(uncollected)),
            "{policy:?} {hold}"
        );
    }
}

#[test]
fn the_tier_that_answered_is_the_tier_that_is_paid() {
    let flex = Rates {
        input: dollars("0.5"),
        output: dollars("5"),
        ..Rates::default()
    };
    let price = Price {
        tiers: vec![("flex".to_owned(), Tariff::flat(flex))],
        ..price()
    };
    let charge = charge(&Facts {
        service_tier: Some("flex"),
        ..facts(&price)
    });
    assert_eq!((charge.rates, charge.charged), (Some(flex), dollars("0.0003")));
}

proptest! {
    #[test]
    fn a_charge_never_exceeds_cost_or_hold(
        operation in proptest::sample::select(&Operation::ALL[..]),
        ending in proptest::sample::select(&[Ending::Complete, Ending::ClientGone, Ending::UpstreamGone, Ending::Limit, Ending::Failed][..]),
        flags in proptest::array::uniform4(any::<bool>()),
        reported in proptest::sample::select(&[Reported::None, Reported::Possible(USED), Reported::Impossible][..]),
        policy in proptest::sample::select(&[Policy::Unlimited, Policy::Soft, Policy::Hard][..]),
        bytes in (0_u64..1_000_000, 0_u64..1_000_000),
        hold in -1_000_i64..2_000_000,
        priced in any::<bool>(),
    ) {
        let price = price();
        let [hold_ran_out, status_ok, relayed_content, bill_abandoned] = flags;
        let facts = Facts {
            operation, ending, hold_ran_out, status_ok, reported, relayed_content, bill_abandoned, policy,
            content_bytes: bytes.0, sound_tokens: 0, body_bytes: bytes.1, begun_bytes: bytes.0, units: None,
            price: priced.then_some(&price), service_tier: None, hold: Money::from_nanos(hold),
        };
        let charge = charge(&facts);
        prop_assert!(charge.charged >= Money::ZERO && charge.uncollected >= Money::ZERO);
        prop_assert!(charge.charged + charge.uncollected == Money::ZERO || charge.charged + charge.uncollected == charge.cost);
        if policy == Policy::Hard {
            prop_assert!(charge.charged <= facts.hold.max(Money::ZERO));
        } else {
            prop_assert_eq!(charge.uncollected, Money::ZERO);
        }
        if !status_ok || !priced || !operation.is_billed() || matches!(ending, Ending::Failed | Ending::UpstreamGone) {
            prop_assert_eq!(charge.charged, Money::ZERO);
        }
    }
}

#[test]
fn sound_that_was_relayed_is_estimated_at_its_own_rate() {
    let mut price = price();
    price.ordinary.rates.output_audio = dollars("100");
    let charge = charge(&Facts {
        ending: Ending::ClientGone,
        reported: Reported::None,
        content_bytes: 350,
        sound_tokens: 40,
        ..facts(&price)
    });
    assert_eq!(
        (charge.usage.output, charge.usage.output_audio, charge.source),
        (140, 40, UsageSource::Estimated)
    );
    // 100 tokens in, 100 of text and 40 of sound out.
    assert_eq!(charge.charged, dollars("0.0051"));
}
