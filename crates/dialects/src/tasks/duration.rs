//! How long a recording is, as far as its bytes say it without being decoded.
//!
//! Two figures, as everywhere: what it probably is (charged where the provider reports nothing, as with plain texts of
//! `whisper-1`), and what it is at most (held). A WAV file says it itself. For the other formats there is only a bit rate:
//! that of an MP3's first frame, or one that is common; and the lowest with which speech is understood.

/// Bytes of a second of compressed speech, commonly: 64 kbit/s, what phones and browsers record in.
const COMMON_BYTES_PER_SECOND: u64 = 8_000;
/// And at least: below the 6 kbit/s that Opus begins with.
const LEAST_BYTES_PER_SECOND: u64 = 500;
/// The lowest rate of MP3: 8 kbit/s.
const LEAST_MP3_BYTES_PER_SECOND: u64 = 1_000;

/// Milliseconds of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Length {
    /// Probably.
    pub(crate) likely: u64,
    /// At most.
    pub(crate) most: u64,
}

/// How long a file is.
pub(crate) fn of(file: &[u8]) -> Length {
    let bytes = file.len() as u64;
    if let Some(rate) = wav_rate(file) {
        let exact = at(bytes, rate);
        return Length {
            likely: exact,
            most: exact,
        };
    }
    match mp3_rate(file) {
        Some(rate) => Length {
            likely: at(bytes, rate),
            most: at(bytes, LEAST_MP3_BYTES_PER_SECOND),
        },
        None => Length {
            likely: at(bytes, COMMON_BYTES_PER_SECOND),
            most: at(bytes, LEAST_BYTES_PER_SECOND),
        },
    }
}

fn at(bytes: u64, per_second: u64) -> u64 {
    bytes.saturating_mul(1_000).div_ceil(per_second)
}

/// Bytes per second of a WAV file, which stand in its `fmt ` chunk. A file that claims fewer than any speech has is not
/// believed.
fn wav_rate(file: &[u8]) -> Option<u64> {
    let head = file.get(..36)?;
    let is_wav = head.starts_with(b"RIFF") && head.get(8..16) == Some(b"WAVEfmt ");
    let rate = u64::from(u32::from_le_bytes(head.get(28..32)?.try_into().ok()?));
    (is_wav && rate >= LEAST_BYTES_PER_SECOND).then_some(rate)
}

/// Bytes per second of an MP3's first frame: after the ID3 tag, if there is one.
fn mp3_rate(file: &[u8]) -> Option<u64> {
    const MPEG_1: [u64; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const MPEG_2: [u64; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let frame = file.get(tag_length(file)..)?;
    let &[0xff, second, third, ..] = frame else { return None };
    // The rest of the mark, and layer III.
    if second & 0b1110_0110 != 0b1110_0010 {
        return None;
    }
    let rates = if second & 0b0001_1000 == 0b0001_1000 {
        MPEG_1
    } else {
        MPEG_2
    };
    let index = usize::from(third >> 4).checked_sub(1)?;
    rates.get(index).map(|kilobits| kilobits * 125)
}

/// The length of an `ID3v2` tag: ten bytes, and as many as four of them say in seven bits each.
fn tag_length(file: &[u8]) -> usize {
    match file {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            let sevens = [a, b, c, d]
                .into_iter()
                .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
            10 + sevens
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_file_says_it_itself() {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend_from_slice(&24_000_u32.to_le_bytes());
        file.extend_from_slice(&48_000_u32.to_le_bytes());
        file.resize(96_000, 0);
        assert_eq!(
            of(&file),
            Length {
                likely: 2_000,
                most: 2_000
            }
        );
        file[28..32].copy_from_slice(&1_u32.to_le_bytes());
        assert_eq!(of(&file).most, 192_000, "a rate that no speech has is not believed");
    }

    #[test]
    fn an_mp3_says_its_rate() {
        let mut file = b"ID3\x04\0\0\0\0\0\x02xx\xff\xfb\x90\0".to_vec();
        file.resize(32_000, 0);
        assert_eq!(
            of(&file),
            Length {
                likely: 2_000,
                most: 32_000
            }
        );
        file[12..15].copy_from_slice(b"\xff\xf3\x10");
        assert_eq!(of(&file).likely, 32_000);
    }

    #[test]
    fn anything_else_has_a_common_rate() {
        assert_eq!(
            of(&[0; 16_000]),
            Length {
                likely: 2_000,
                most: 32_000
            }
        );
        assert_eq!(of(b""), Length::default());
        assert_eq!(of(b"ID3\x04\0\0\x7f\x7f\x7f\x7f").likely, 2);
    }
}
