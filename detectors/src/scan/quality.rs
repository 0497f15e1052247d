//! Qualities of a call's texts that need no model: each is a line of [`MEASURES`] and a function of the texts.
//!
//! None of them says whether an answer is right. Lexical groundedness and overlap are shares of words, so a paraphrase
//! lowers them and a copy raises them: they are trends to compare with themselves, under one prompt and one model.

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;

use foldhash::fast::RandomState;
use leeway_core::event::{Call, Part, Status};
use leeway_core::fnv;
use leeway_core::quality::Quality;
use lz4_flex::block::{compress_into, get_maximum_output_size};

use super::{split, texts};

/// Bytes of a part that are looked at.
const READ: usize = 64 << 10;
/// Shortest answer whose compression says anything, bytes.
const COMPRESSED_FROM: usize = 256;
/// Shortest text whose language is told, letters, and as many bytes as are looked at.
const LANGUAGE_FROM: usize = 40;
const LANGUAGE_READ: usize = 200;
/// Shortest word and shortest quotation that count, characters.
const WORD: usize = 4;
const QUOTE: usize = 20;
/// Quotations of an answer that are looked for.
const QUOTES: usize = 32;
/// Fewest words of which a share is taken.
const WORDS: usize = 3;
/// `finish_reason` of a tool's call, by its place.
const TOOL_CALL: u8 = 2;

/// Texts of a call, as the measures need them.
struct Texts<'c> {
    answer: String,
    answers: Vec<&'c str>,
    question: String,
    /// Id and text of each document.
    documents: Vec<(&'c str, &'c str)>,
    /// Words of the answer, once somebody asked.
    said: OnceCell<Words>,
}

impl Texts<'_> {
    fn said(&self) -> &Words {
        self.said.get_or_init(|| words(&self.answer))
    }
}

/// `None` where there is nothing to measure; millionths.
type Measured = fn(&Texts<'_>) -> Option<u64>;

const MEASURES: [(Quality, Measured); 8] = [
    (Quality::Compression, compression),
    (Quality::JsonValid, json_valid),
    (Quality::Grounded, grounded),
    (Quality::Overlap, overlap),
    (Quality::CitationsValid, |texts| Some(cited(texts)?.valid)),
    (Quality::CitationsRepeated, |texts| Some(cited(texts)?.repeated)),
    (Quality::CitationPosition, |texts| cited(texts)?.position),
    (Quality::QuotesFound, quotes_found),
];

/// Everything that the texts of an answered call let measure. To tell `languages` costs more than all else.
pub fn measure(call: &Call<'_>, languages: bool) -> Vec<(Quality, u64)> {
    let together = |part: Part| {
        let mut all = String::new();
        for text in texts(call, part) {
            all.push_str(head(text, READ.saturating_sub(all.len())));
            all.push('\n');
        }
        all
    };
    let documents = call.texts.iter().filter(|text| text.part == Part::Document);
    let mut room = READ;
    let documents = documents
        .map(|text| {
            let read = head(&text.text, room);
            room -= read.len();
            (text.id, read)
        })
        .collect();
    let answers = texts(call, Part::Output).collect();
    let texts = Texts {
        answer: together(Part::Output),
        answers,
        question: together(Part::Input),
        documents,
        said: OnceCell::new(),
    };
    let told = languages.then_some((Quality::LanguageMatch, language_match as Measured));
    let measures = MEASURES.into_iter().chain(told);
    measures.filter_map(|(quality, measured)| Some((quality, measured(&texts)?))).collect()
}

/// What needs no answer's text: whether there was one, and what the application found.
pub fn beside(call: &Call<'_>) -> Vec<(Quality, u64)> {
    let asked = texts(call, Part::Input).next().is_some() && !call.incomplete && call.status == Status::Ok;
    let silent = call.finish_reasons.contains(&TOOL_CALL) || !matches!(call.operation, "chat" | "completion");
    // An answer that was not captured is not an empty one.
    let mut answers = call.texts.iter().filter(|text| text.part == Part::Output).peekable();
    let captured = answers.peek().is_some() || call.tokens.output == Some(0);
    let blank = answers.all(|text| text.text.trim().is_empty());
    let empty = (asked && !silent && captured).then_some((Quality::Empty, yes(blank)));
    let schema = call.schema_valid.map(|valid| (Quality::SchemaValid, yes(valid)));
    empty.into_iter().chain(schema).collect()
}

fn yes(is: bool) -> u64 {
    u64::from(is) * 1_000_000
}

fn share(part: usize, whole: usize) -> Option<u64> {
    (whole > 0).then(|| part as u64 * 1_000_000 / whole as u64)
}

fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn compression(texts: &Texts<'_>) -> Option<u64> {
    let bytes = texts.answer.trim().as_bytes();
    if bytes.len() < COMPRESSED_FROM {
        return None;
    }
    thread_local! {
        static OUT: RefCell<Vec<u8>> = RefCell::new(vec![0; get_maximum_output_size(READ + 1)]);
    }
    OUT.with_borrow_mut(|out| share(compress_into(bytes, out).ok()?, bytes.len()))
}

/// Of the answers that begin as JSON, those that are.
fn json_valid(texts: &Texts<'_>) -> Option<u64> {
    let told: Vec<bool> = texts.answers.iter().filter_map(|answer| json(answer.trim())).collect();
    share(told.iter().filter(|valid| **valid).count(), told.len())
}

/// An answer that is one JSON object or list, or one fence with it.
fn json(answer: &str) -> Option<bool> {
    let fenced = answer.strip_prefix("```json").map(|rest| rest.trim_end().strip_suffix("```").unwrap_or(rest));
    let json = fenced.unwrap_or(answer).trim();
    let begins = json.starts_with("{\"")
        || json.starts_with(['{', '[']) && json[1..].trim_start().starts_with(['"', '{', '}', ']']);
    begins.then(|| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok())
}

fn language_match(texts: &Texts<'_>) -> Option<u64> {
    let of = |text: &str| {
        let text = head(text, LANGUAGE_READ);
        let letters = text.chars().filter(|letter| letter.is_alphabetic()).take(LANGUAGE_FROM).count();
        let told = whatlang::detect(text).filter(whatlang::Info::is_reliable);
        told.filter(|_| letters == LANGUAGE_FROM).map(|info| info.lang())
    };
    Some(yes(of(&texts.question)? == of(&texts.answer)?))
}

/// Hashes of words: of two that share one among some thousands of 64 bits chance knows nothing.
type Words = HashSet<u64, RandomState>;

/// Words of four letters and more, and numbers, in lower case.
fn words(text: &str) -> Words {
    let mut found = Words::default();
    split::words(text, char::is_alphanumeric, |word| {
        let letters = if word.is_ascii() { word.len() } else { word.chars().count() };
        if letters < WORD && !word.starts_with(|first: char| first.is_ascii_digit()) {
            return;
        }
        found.insert(if word.is_ascii() {
            fnv::hash(word.bytes().map(|byte| byte.to_ascii_lowercase()))
        } else {
            fnv::hash(word.to_lowercase().bytes())
        });
    });
    found
}

fn contained(part: &Words, whole: &Words) -> Option<u64> {
    (part.len() >= WORDS).then(|| share(part.iter().filter(|word| whole.contains(*word)).count(), part.len()))?
}

fn grounded(texts: &Texts<'_>) -> Option<u64> {
    if texts.documents.is_empty() {
        return None;
    }
    let held: Words = texts.documents.iter().flat_map(|(_, text)| words(text)).collect();
    contained(texts.said(), &held)
}

fn overlap(texts: &Texts<'_>) -> Option<u64> {
    contained(&words(&texts.question), texts.said())
}

struct Cited {
    valid: u64,
    repeated: u64,
    /// `None` where fewer than two documents could have been cited, or none was.
    position: Option<u64>,
}

/// Citations of an answer as `[1]`, `[^1]`, `[doc-id]`, `【1†source】`: by number from one, or by a document's id.
fn cited(texts: &Texts<'_>) -> Option<Cited> {
    let documents = &texts.documents;
    if documents.is_empty() {
        return None;
    }
    let by_id = |name: &str| documents.iter().position(|(id, _)| !id.is_empty() && *id == name);
    let by_number = |name: &str| {
        let number = name.trim_start_matches('^').parse::<usize>().ok()?;
        Some(number.checked_sub(1).filter(|place| *place < documents.len()))
    };
    let (mut n, mut valid, mut repeated, mut places) = (0, 0, 0, Vec::new());
    for name in names(&texts.answer) {
        // In brackets stands much that is no citation: an id that exists, or a number.
        let place = match (by_id(name), by_number(name)) {
            (Some(place), _) => Some(place),
            (None, Some(place)) => place,
            (None, None) => continue,
        };
        n += 1;
        if let Some(place) = place {
            valid += 1;
            repeated += usize::from(places.contains(&place));
            places.push(place);
        }
    }
    let last = documents.len() - 1;
    let position = if last > 0 { share(places.iter().sum(), places.len() * last) } else { None };
    Some(Cited { valid: share(valid, n)?, repeated: share(repeated, n)?, position })
}

/// What stands in brackets that may be a citation. `[text](address)` is a link.
fn names(answer: &str) -> impl Iterator<Item = &str> {
    const LONGEST: usize = 64;
    let pairs = [('[', ']'), ('【', '】')];
    pairs.into_iter().flat_map(move |(open, close)| {
        answer.match_indices(open).filter_map(move |(at, _)| {
            let inner = &answer[at + open.len_utf8()..];
            let end = head(inner, LONGEST).find(close)?;
            let link = inner[end + close.len_utf8()..].starts_with('(');
            let name = inner[..end].split('†').next().unwrap_or_default().trim();
            (!link && !name.is_empty()).then_some(name)
        })
    })
}

/// Quotations of twenty characters and more, of which some stand in a document, spaces and case aside.
fn quotes_found(texts: &Texts<'_>) -> Option<u64> {
    if texts.documents.is_empty() {
        return None;
    }
    let plain = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ");
    let held: Vec<String> = texts.documents.iter().map(|(_, text)| plain(text)).collect();
    let mut quotes = Vec::new();
    for (open, close) in [('"', '"'), ('“', '”'), ('«', '»')] {
        let mut rest = texts.answer.as_str();
        while let Some((_, inner)) = rest.split_once(open) {
            let Some((quote, after)) = inner.split_once(close) else { break };
            if quote.chars().count() >= QUOTE && !quote.contains('\n') && quotes.len() < QUOTES {
                quotes.push(plain(quote.trim_end_matches(['.', ',', '…'])));
            }
            rest = after;
        }
    }
    share(quotes.iter().filter(|quote| held.iter().any(|text| text.contains(*quote))).count(), quotes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::event::Text;

    fn of(
        question: &'static str,
        answer: &'static str,
        documents: &[(&'static str, &'static str)],
    ) -> Vec<(Quality, f64)> {
        let mut texts = vec![Text::new(Part::Input, question), Text::new(Part::Output, answer)];
        texts.extend(documents.iter().map(|(id, text)| Text { id, ..Text::new(Part::Document, *text) }));
        let call = Call { texts, operation: "chat", status: Status::Ok, ..Call::default() };
        let all = measure(&call, true).into_iter().chain(beside(&call));
        all.map(|(quality, micro)| (quality, micro as f64 / 1e6)).collect()
    }

    fn one(quality: Quality, measured: &[(Quality, f64)]) -> Option<f64> {
        measured.iter().find(|(known, _)| *known == quality).map(|(_, value)| *value)
    }

    #[test]
    fn citations_are_checked_against_the_documents_that_were_there() {
        let documents = [("faq-1", "Refunds take five working days."), ("faq-2", "Shipping is free."), ("faq-3", "x")];
        let answer = r#"Refunds take five days [1][faq-3], "refunds take five working days." [1] see [4] and [the page](http://x.io), "shipping costs ten euros today"."#;
        let measured = of("How long do refunds take?", answer, &documents);
        assert_eq!(one(Quality::CitationsValid, &measured), Some(0.75), "[4] is no document");
        assert_eq!(one(Quality::CitationsRepeated, &measured), Some(0.25));
        assert_eq!(one(Quality::CitationPosition, &measured), Some(0.333_333), "0, 1 and 0 of 0 to 1");
        assert_eq!(one(Quality::QuotesFound, &measured), Some(0.5));
        assert_eq!(one(Quality::CitationsValid, &of("q", "an answer [1]", &[])), None, "nothing was retrieved");
        assert_eq!(one(Quality::CitationsValid, &of("q", "no citation [sic]", &documents)), None);
    }

    #[test]
    fn words_of_the_answer_are_looked_for_in_documents_and_those_of_the_question_in_the_answer() {
        let measured = of(
            "When does the museum open on Sundays?",
            "The museum opens on Sundays at noon",
            &[("", "On Sundays the museum opens at ten.")],
        );
        // museum, opens, sundays, noon.
        assert_eq!(one(Quality::Grounded, &measured), Some(0.75));
        // when, does, museum, open, sundays.
        assert_eq!(one(Quality::Overlap, &measured), Some(0.4));
        assert_eq!(one(Quality::Grounded, &of("q", "no documents here at all", &[])), None);
    }

    #[test]
    fn json_languages_and_empty_answers() {
        let json = |answer| one(Quality::JsonValid, &of("q", answer, &[]));
        assert_eq!(
            [json("{\"a\": [1, 2]}"), json("{\"a\": [1, 2"), json("[sic] is a word")],
            [Some(1.0), Some(0.0), None]
        );
        assert_eq!(json("```json\n{\"a\": 1}\n```"), Some(1.0));
        let (english, german) = (
            "Could you please tell me when the next train to the city leaves in the morning?",
            "Der nächste Zug in die Stadt fährt morgen früh um sieben Uhr von Gleis drei ab.",
        );
        assert_eq!(one(Quality::LanguageMatch, &of(english, german, &[])), Some(0.0));
        assert_eq!(one(Quality::LanguageMatch, &of(german, german, &[])), Some(1.0));
        assert_eq!(one(Quality::LanguageMatch, &of("ok?", german, &[])), None, "too little to tell");
        assert_eq!(one(Quality::Empty, &of("hello there", "", &[])), Some(1.0));
        assert_eq!(one(Quality::Empty, &of("hello there", "hi", &[])), Some(0.0));
        let two = ["{\"a\": 1}", "{\"a\""].map(|answer| Text::new(Part::Output, answer)).to_vec();
        assert!(measure(&Call { texts: two, ..Call::default() }, false).contains(&(Quality::JsonValid, 500_000)));
        let silent = vec![Text::new(Part::Input, "hello there")];
        assert_eq!(beside(&Call { texts: silent, operation: "chat", status: Status::Ok, ..Call::default() }), []);
        let tool = Call { finish_reasons: vec![TOOL_CALL], operation: "chat", status: Status::Ok, ..Call::default() };
        assert_eq!(beside(&tool), []);
    }

    #[test]
    fn repetition_compresses() {
        let (same, other) =
            ("the same words again. ".repeat(40), (0..200).map(|n| format!("{} ", n * 7_919)).collect::<String>());
        let of = |text: String| {
            let texts = Texts {
                answer: text,
                answers: Vec::new(),
                question: String::new(),
                documents: Vec::new(),
                said: OnceCell::new(),
            };
            compression(&texts).unwrap()
        };
        assert!(of(same) < 100_000 && of(other) > 400_000);
    }
}
