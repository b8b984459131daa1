//! Embeddings that need no model: the same text always has the same vector, and texts with common words lie near each
//! other, so that a newcomer's search finds what it should.
//!
//! Every word is hashed to a few places of the vector (feature hashing), which costs the same whatever the dimensions;
//! a little noise from the whole text keeps different texts apart and the vector from being zero.

use serde_json::Value;

use super::conversation::given;
use super::refusal::Refusal;

/// Dimensions if the caller does not say: small enough to look at.
const DIMENSIONS: u64 = 64;

/// Dimensions that can be asked for: those of the largest current embedding models.
const DIMENSIONS_MAX: u64 = 4_096;

/// Numbers in one answer: 20 MB as text, below the largest answer that the gateway holds.
const NUMBERS_MAX: u64 = 1 << 20;

/// Places of the vector that one word touches.
const PLACES: u64 = 4;

/// How loud the noise is beside one word.
const NOISE: f32 = 0.02;

/// The dimensions asked for under `name`, for so many texts.
///
/// # Errors
/// If they are no number within the bounds, or all vectors together would be too large.
pub(crate) fn dimensions(body: &Value, name: &'static str, texts: usize) -> Result<usize, Refusal> {
    let wanted = given(body, name).map_or(Some(DIMENSIONS), Value::as_u64);
    let Some(wanted) = wanted.filter(|wanted| (1..=DIMENSIONS_MAX).contains(wanted)) else {
        let message = format!("Invalid '{name}': expected an integer between 1 and {DIMENSIONS_MAX}.");
        return Err(Refusal::value(name, message));
    };
    if wanted * texts as u64 > NUMBERS_MAX {
        return Err(Refusal::invalid(format!(
            "The demo answers with at most {NUMBERS_MAX} numbers; send fewer texts."
        )));
    }
    Ok(wanted as usize)
}

/// The vector of a text, of length 1.
pub(crate) fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = noise(hash(text), dimensions);
    for word in text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        let seed = hash(&word.to_lowercase());
        for place in 0..PLACES {
            let bits = mix(seed.wrapping_add(place));
            let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
            vector[((bits >> 1) % dimensions as u64) as usize] += sign;
        }
    }
    let length = vector
        .iter()
        .map(|value| value * value)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    vector.iter().map(|value| value / length).collect()
}

fn noise(seed: u64, dimensions: usize) -> Vec<f32> {
    // The upper 24 bits as a number from -1 to 1: what an f32 holds exactly.
    let number = |bits: u64| (bits >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
    (0..dimensions as u64)
        .map(|place| NOISE * number(mix(seed ^ (place << 32))))
        .collect()
}

/// FNV-1a: vectors must stay the same across releases and machines, which std's hasher does not promise.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finaliser of `SplitMix64`: spreads every input bit over all output bits.
fn mix(seed: u64) -> u64 {
    let state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn likeness(one: &str, other: &str) -> f32 {
        embed(one, 64).iter().zip(embed(other, 64)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_are_deterministic_and_of_length_one() {
        for text in ["", "hello", "a longer text, with many words"] {
            for dimensions in [1, 64, 1_536] {
                let vector = embed(text, dimensions);
                assert_eq!(vector.len(), dimensions);
                assert_eq!(vector, embed(text, dimensions));
                let length = vector.iter().map(|value| value * value).sum::<f32>();
                assert!((length - 1.0).abs() < 1e-3, "{length}");
            }
        }
        // Whoever stored vectors must be able to compare them after an update.
        let kept = [0.712_004_6, -0.002_872_727_3, 0.702_146_23, -0.005_638_584];
        let far = embed("hello", 4)
            .iter()
            .zip(kept)
            .map(|(now, then)| (now - then).abs())
            .sum::<f32>();
        assert!(far < 1e-5, "{:?}", embed("hello", 4));
    }

    #[test]
    fn common_words_bring_texts_together() {
        let near = likeness("the cat sat on the mat", "The cat lay on a mat.");
        let far = likeness("the cat sat on the mat", "quarterly revenue grew by seven percent");
        assert!(near > far + 0.3, "{near} {far}");
        assert!(likeness("hello", "goodbye") < 0.9);
    }

    #[test]
    fn dimensions_are_bounded() {
        assert_eq!(dimensions(&json!({}), "dimensions", 1).unwrap(), 64);
        assert_eq!(dimensions(&json!({"dimensions": 256}), "dimensions", 1).unwrap(), 256);
        for wrong in [json!(0), json!(DIMENSIONS_MAX + 1), json!("8")] {
            assert!(
                dimensions(&json!({"dimensions": wrong}), "dimensions", 1).is_err(),
                "{wrong}"
            );
        }
        assert!(dimensions(&json!({"dimensions": 1_024}), "dimensions", 1_025).is_err());
    }
}
