//! Linear models over words: runs of one to three words, those of the opening once more, hashed into 65,536 places, one weight of eight bits for each
//! (hashing trick, Weinberger et al. 2009; logistic loss). The same code makes the features for training.

use std::cell::RefCell;

use super::split;

/// Places of the hash.
pub const PLACES: usize = 1 << 16;
/// Longest run of words.
const RUN: usize = 3;
/// Words of the opening, which count by themselves too.
const OPENING: usize = 16;
/// Places of the shortest text that says anything: those of three words.
const LEAST: usize = 12;
/// Bytes of a text that are read.
pub const READ: usize = 8 << 10;

/// Weights of one model, as a file of the repository: scale, bias, threshold as little-endian numbers of 32 bits, then
/// one signed byte a place.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    weights: &'static [u8],
    scale: f32,
    bias: f32,
    threshold: f32,
}

const HEAD: usize = 12;

impl Linear {
    /// The model of a file's bytes; `None` where it is none.
    pub const fn read(file: &'static [u8]) -> Option<Self> {
        let Some((head, weights)) = file.split_at_checked(HEAD) else { return None };
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *head else { return None };
        if weights.len() != PLACES {
            return None;
        }
        Some(Self {
            weights,
            scale: f32::from_le_bytes([a, b, c, d]),
            bias: f32::from_le_bytes([e, f, g, h]),
            threshold: f32::from_le_bytes([i, j, k, l]),
        })
    }

    /// Log odds that the text is what the model looks for.
    pub fn score(&self, text: &str) -> f32 {
        let places = features(text);
        if places.len() < LEAST {
            return f32::NEG_INFINITY;
        }
        let sum: i32 = places.iter().map(|place| i32::from(self.weights[usize::from(*place)] as i8)).sum();
        self.bias + self.scale * sum as f32 / (places.len() as f32).sqrt()
    }

    /// Whether the score reaches the model's threshold.
    pub fn says(&self, text: &str) -> bool {
        self.score(text) >= self.threshold
    }
}

/// Places of the runs of words in a text's beginning, each once, in no order.
pub fn features(text: &str) -> Vec<u16> {
    thread_local! {
        static SEEN: RefCell<Vec<u64>> = RefCell::new(vec![0; PLACES / 64]);
    }
    let text = &text[..text.floor_char_boundary(READ)];
    let mut places: Vec<u16> = Vec::with_capacity(text.len() / 2);
    SEEN.with_borrow_mut(|seen| {
        let mut add = |place: u16| {
            let (word, bit) = (usize::from(place) / 64, 1 << (place % 64));
            if seen[word] & bit == 0 {
                seen[word] |= bit;
                places.push(place);
            }
        };
        runs(text, &mut add);
        places.iter().for_each(|place| seen[usize::from(*place) / 64] = 0);
    });
    places
}

fn apostrophe(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2019}')
}

/// Calls `add` with the place of each run.
fn runs(text: &str, add: &mut impl FnMut(u16)) {
    let mut words = 0;
    // Hashes of the runs that end in the word before.
    let mut runs: [Option<u32>; RUN - 1] = [None; RUN - 1];
    split::words(
        text,
        |letter| letter.is_alphanumeric() || apostrophe(letter),
        |word| {
            let word = word.trim_matches(apostrophe);
            if word.is_empty() {
                return;
            }
            let one = hash(0x811c_9dc5, word);
            add(place(one));
            words += 1;
            if words <= OPENING {
                add(place(hash(0x51ed_270b, word)));
            }
            let mut next = [Some(one), None];
            for (length, run) in runs.iter().enumerate() {
                let Some(run) = run else { break };
                // A run is the mix of its words' hashes.
                let longer = (*run ^ 0x9e37_79b9).wrapping_mul(0x85eb_ca6b).rotate_left(13) ^ one;
                add(place(longer));
                if words <= OPENING {
                    add(place(longer ^ 0x51ed_270b));
                }
                if let Some(slot) = next.get_mut(length + 1) {
                    *slot = Some(longer);
                }
            }
            runs = next;
        },
    );
}

/// FNV-1a over small letters; every digit is alike, and so is every apostrophe.
fn hash(start: u32, word: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    if word.is_ascii() {
        let plain = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() };
        return word.bytes().map(plain).fold(start, step);
    }
    let mut letters = [0; 4];
    word.chars().flat_map(char::to_lowercase).fold(start, |hash, letter| {
        let letter = match letter {
            '\u{2019}' => '\'',
            letter if letter.is_ascii_digit() => '0',
            letter => letter,
        };
        letter.encode_utf8(&mut letters).bytes().fold(hash, step)
    })
}

fn place(hash: u32) -> u16 {
    (hash ^ hash >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_runs_of_one_to_three_words() {
        assert_eq!(features("I can\u{2019}t help").len(), 2 * (3 + 2 + 1), "and again as the opening");
        let sorted = |text: &str| {
            let mut places = features(text);
            places.sort_unstable();
            places
        };
        assert_eq!(sorted("I can't HELP 12"), sorted("i can\u{2019}t, help: 34"));
        assert!(features("").is_empty() && features("!?").is_empty());
        assert_eq!(features(&"é".repeat(READ)).len(), 2);
    }

    #[test]
    fn a_file_of_another_length_is_no_model() {
        assert!(Linear::read(&[0; 12]).is_none());
    }
}
