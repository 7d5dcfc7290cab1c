//! Words in a stream of bytes, cut into chunks anywhere.
//!
//! A word is a maximal run of characters that are `char::is_alphanumeric`, each lower-cased by `char::to_lowercase`. Invalid UTF-8
//! ends a word as a space does, and its offset is kept. What the words are does not depend on where the stream is cut.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Offsets that [`Invalid`] keeps: enough to find the fault, few enough for a file that is no text at all.
const KEPT: usize = 8;

/// Where a stream was no UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    places: u64,
    first: Vec<u64>,
}

impl Invalid {
    /// How many sequences were invalid: as many as `String::from_utf8_lossy` would replace.
    pub fn places(&self) -> u64 {
        self.places
    }

    /// The offsets of the first of them, in bytes from the beginning of the stream.
    pub fn first(&self) -> &[u64] {
        &self.first
    }

    /// Whether all was valid.
    pub fn is_empty(&self) -> bool {
        self.places == 0
    }

    fn note(&mut self, offset: u64) {
        self.places += 1;
        if self.first.len() < KEPT {
            self.first.push(offset);
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.first.split_first() else {
            return f.write_str("valid UTF-8");
        };
        write!(f, "invalid UTF-8 at byte {first}")?;
        for offset in others {
            write!(f, ", {offset}")?;
        }
        match self.places.saturating_sub(self.first.len() as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more places"),
        }
    }
}

/// Takes chunks of a stream and gives its words.
#[derive(Debug, Default)]
pub struct Words {
    /// The word that the last chunk may have cut.
    word: String,
    /// The bytes of a character that the last chunk has cut: at most three.
    cut: Vec<u8>,
    /// The length of all chunks so far.
    taken: u64,
    invalid: Invalid,
}

impl Words {
    /// The next chunk; `each` gets the words that end in it.
    pub fn take(&mut self, chunk: &[u8], each: &mut impl FnMut(&str)) {
        let end = self.taken + chunk.len() as u64;
        let mut rest = self.mend(chunk, each);
        while !rest.is_empty() {
            let error = match str::from_utf8(rest) {
                Ok(text) => {
                    self.read(text, each);
                    break;
                }
                Err(error) => error,
            };
            let (valid, faulty) = rest.split_at(error.valid_up_to());
            self.read(str::from_utf8(valid).expect("it is valid up to there"), each);
            let Some(length) = error.error_len() else {
                self.cut.extend_from_slice(faulty);
                break;
            };
            self.fault(end - faulty.len() as u64, each);
            rest = &faulty[length..];
        }
        self.taken = end;
    }

    /// The stream has ended; `each` gets the last word, and the next chunk begins another stream.
    pub fn finish(&mut self, each: &mut impl FnMut(&str)) -> Invalid {
        if !self.cut.is_empty() {
            self.fault(self.taken - self.cut.len() as u64, each);
            self.cut.clear();
        }
        self.end_word(each);
        self.taken = 0;
        std::mem::take(&mut self.invalid)
    }

    /// Completes the character that the last chunk has cut; gives what is left of this one.
    fn mend<'a>(&mut self, chunk: &'a [u8], each: &mut impl FnMut(&str)) -> &'a [u8] {
        if self.cut.is_empty() {
            return chunk;
        }
        let begin = self.taken - self.cut.len() as u64;
        for (at, &byte) in chunk.iter().enumerate() {
            self.cut.push(byte);
            let error = match str::from_utf8(&self.cut) {
                Ok(text) => {
                    let character = text.chars().next();
                    self.cut.clear();
                    character.into_iter().for_each(|character| self.letter(character, each));
                    return &chunk[at + 1..];
                }
                Err(error) => error,
            };
            if error.error_len().is_some() {
                // The bytes before this one are the fault; this one may begin a character of its own.
                self.cut.clear();
                self.fault(begin, each);
                return &chunk[at..];
            }
        }
        &[]
    }

    fn read(&mut self, text: &str, each: &mut impl FnMut(&str)) {
        for character in text.chars() {
            self.letter(character, each);
        }
    }

    fn letter(&mut self, character: char, each: &mut impl FnMut(&str)) {
        if character.is_ascii_alphanumeric() {
            self.word.push(character.to_ascii_lowercase());
        } else if !character.is_ascii() && character.is_alphanumeric() {
            self.word.extend(character.to_lowercase());
        } else {
            self.end_word(each);
        }
    }

    fn fault(&mut self, offset: u64, each: &mut impl FnMut(&str)) {
        self.end_word(each);
        self.invalid.note(offset);
    }

    fn end_word(&mut self, each: &mut impl FnMut(&str)) {
        if !self.word.is_empty() {
            each(&self.word);
            self.word.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Invalid) {
        let (mut words, mut found) = (Words::default(), Vec::new());
        let mut each = |word: &str| found.push(word.to_owned());
        for chunk in chunks {
            words.take(chunk, &mut each);
        }
        let invalid = words.finish(&mut each);
        (found, invalid)
    }

    /// The definition, on the whole stream at once.
    fn defined(bytes: &[u8]) -> Vec<String> {
        String::from_utf8_lossy(bytes)
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| word.chars().flat_map(char::to_lowercase).collect())
            .collect()
    }

    #[test]
    fn a_word_is_a_run_of_letters_and_digits_in_lower_case() {
        let (found, invalid) = words(["It's 2 Ärzte, ΣΑΣ_x — 中文½".as_bytes()]);
        assert_eq!(found, ["it", "s", "2", "ärzte", "σασ", "x", "中文½"]);
        assert!(invalid.is_empty());
    }

    #[test]
    fn a_word_goes_on_in_the_next_chunk() {
        assert_eq!(words([&b"wo"[..], b"", b"rd wo", b"rk"]).0, ["word", "work"]);
    }

    #[test]
    fn a_character_goes_on_in_the_next_chunks() {
        let bytes = "x😀𝔸y".as_bytes();
        let (found, invalid) = words(bytes.chunks(1));
        assert_eq!(found, ["x", "𝔸y"]);
        assert!(invalid.is_empty());
    }

    #[test]
    fn invalid_bytes_part_words_and_are_reported_with_their_offset() {
        let (found, invalid) = words([&b"ab\xffcd \xe4\xb8"[..], b"ef\xf0\x9f"]);
        assert_eq!(found, ["ab", "cd", "ef"]);
        assert_eq!(invalid.first(), [2, 6, 10]);
        assert_eq!(invalid.to_string(), "invalid UTF-8 at byte 2, 6, 10");
    }

    #[test]
    fn a_file_that_is_no_text_is_reported_in_one_line() {
        let (_, invalid) = words([&[0xff; 1000][..]]);
        assert_eq!(invalid.places(), 1000);
        assert_eq!(
            invalid.to_string(),
            "invalid UTF-8 at byte 0, 1, 2, 3, 4, 5, 6, 7 and 992 more places"
        );
    }

    #[test]
    fn after_its_end_another_stream_begins() {
        let mut words = Words::default();
        let mut found = Vec::new();
        let mut each = |word: &str| found.push(word.to_owned());
        words.take(b"one\xe4", &mut each);
        assert_eq!(words.finish(&mut each).first(), [3]);
        words.take(b"two\xff", &mut each);
        assert_eq!(words.finish(&mut each).first(), [3]);
        assert_eq!(found, ["one", "two"]);
    }

    /// Text with faults in it: whole characters of every length, and bytes that do not belong together.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
            4 => "[a-zA-Z0-9 ]{1,8}".prop_map(String::into_bytes),
            2 => "[äÖßİΣ中😀𝔸]{1,3}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 1..4),
            1 => prop::sample::select(vec![&b"\xf0\x9f"[..], b"\xe4", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80"])
                .prop_map(<[u8]>::to_vec),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_cutting_makes_no_difference(
            bytes in streams(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let chunks = at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
            let cut = words(chunks);
            prop_assert_eq!(&cut, &words([&bytes[..]]));
            prop_assert_eq!(&cut, &words(bytes.chunks(1)));
        }

        #[test]
        fn the_words_are_those_of_the_definition(bytes in streams()) {
            let (found, invalid) = words(bytes.chunks(3));
            prop_assert_eq!(found, defined(&bytes));
            let faults: Vec<_> = bytes.utf8_chunks().scan(0, |at, chunk| {
                let fault = *at + chunk.valid().len() as u64;
                *at = fault + chunk.invalid().len() as u64;
                Some((!chunk.invalid().is_empty()).then_some(fault))
            }).flatten().collect();
            prop_assert_eq!(invalid.places(), faults.len() as u64);
            prop_assert_eq!(invalid.first(), &faults[..faults.len().min(KEPT)]);
        }
    }
}
