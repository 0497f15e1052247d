//! Content-free mode: what people wrote goes no further than the decoder, also where it stands in the telemetry itself.
//! Labels, names and records keep words; a word that may hold a value, or is a text, is withheld. Ids stay comparable as
//! hashes under the key of users.

use leeway_core::call_key::CallKey;
use leeway_core::event::Record;
use leeway_core::pane::Numbers;
use leeway_core::scan::Entity;
use leeway_detectors::scan::find;
use leeway_formats::UserKey;
use serde_json::Value as Json;

/// What stands in the place of a word.
pub const WITHHELD: &str = "withheld";
/// What is longer is a text: characters, words, letters of scripts that have no blanks between words.
const LONGEST: usize = 80;
const WORDS: usize = 5;
const LETTERS: usize = 12;
/// Digits of a number that may be somebody's.
const DIGITS: usize = 8;

/// Fields that hold an id of something: always a hash.
const IDS: [&str; 14] = [
    "id",
    "trace_id",
    "span_id",
    "response_id",
    "call_id",
    "conversation",
    "session",
    "task",
    "identifier",
    "adjudicates",
    "rollback_of",
    "cause_change",
    "baseline_run",
    "ticket",
];

/// Whether a word under a name may not be kept: it is a text, or something of it may be a value, also with less evidence
/// than counts.
pub fn tells(name: &str, word: &str) -> bool {
    let foreign = word.chars().filter(|letter| letter.is_alphabetic() && !letter.is_ascii()).count();
    let text = word.chars().count() > LONGEST || word.split_whitespace().count() > WORDS || foreign > LETTERS;
    // Versions look like addresses of machines.
    let version = name.contains("version") || name.contains("release") || matches!(name, "from" | "to");
    let value = |text: &str| find(text.as_bytes()).iter().any(|found| !(version && found.entity == Entity::Ip));
    text || value(word) || value(&format!("{name}: {word}"))
}

/// A call's name as a hash that nobody can make without the key.
pub fn name(key: CallKey, secret: &UserKey) -> CallKey {
    secret.digest(&key)
}

/// Withholds names of scores and of moderation that tell something.
pub fn names(numbers: &mut Numbers) {
    let clean = |name: &mut Box<str>| {
        if tells("name", name) {
            *name = WITHHELD.into();
        }
    };
    numbers.scores.iter_mut().for_each(|(name, _)| clean(name));
    if let Some(moderated) = &mut numbers.moderated {
        moderated.raised.iter_mut().for_each(clean);
        moderated.judged.iter_mut().for_each(|judged| clean(&mut judged.source));
    }
}

/// Withholds what a record's words tell; the number of a call that it is about stays the same for all who know the key.
pub fn record(record: &mut Record, secret: &UserKey) {
    for (name, word) in [("name", &mut record.name), ("app", &mut record.app)] {
        if tells(name, word) {
            *word = WITHHELD.to_owned();
        }
    }
    record.id = secret.hash(&record.id);
    if let Some(label) = &mut record.label {
        for key in [&mut label.target, &mut label.trace].into_iter().flatten() {
            *key = name(*key, secret);
        }
    }
    // A body that is no JSON does not exist: the decoder wrote it.
    if let Ok(mut body) = serde_json::from_str::<Json>(&record.body) {
        withhold("", &mut body, secret);
        record.body = body.to_string();
    }
}

/// Times are numbers of many digits, and nobody's.
fn time(name: &str) -> bool {
    name.ends_with("_at") || matches!(name, "time" | "from" | "to")
}

fn withhold(name: &str, json: &mut Json, secret: &UserKey) {
    match json {
        Json::String(id) if IDS.contains(&name) => *json = secret.hash(id).into(),
        Json::String(text) if tells(name, text) => *json = WITHHELD.into(),
        Json::Number(number) if !time(name) => {
            let text = number.to_string();
            if text.bytes().filter(u8::is_ascii_digit).count() > DIGITS && !text.contains('.') || tells(name, &text) {
                *json = WITHHELD.into();
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| withhold(name, item, secret)),
        Json::Object(fields) => {
            let told: Vec<String> = fields.keys().filter(|key| tells("", key)).cloned().collect();
            told.iter().for_each(|key| drop(fields.remove(key)));
            fields.iter_mut().for_each(|(key, value)| withhold(key, value, secret));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_core::event::RecordKind;

    #[test]
    fn words_stay_and_values_and_texts_go() {
        for (name, word) in [
            ("app", "support-bot"),
            ("release", "2026.11.21.3"),
            ("model", "claude-sonnet-4-5-20250929"),
            ("name", "thumbs"),
            ("to", "rag v2 with rerank"),
            ("environment", "prod"),
        ] {
            assert!(!tells(name, word), "{name}: {word}");
        }
        for (name, word) in [
            ("route", "jane@acme.io"),
            ("route", "my son Tim has leukemia since May"),
            ("route", "我的儿子从五月开始患有白血病请帮帮我"),
            ("ssn", "536-90-4399"),
            ("note", "81.2.69.160 says no"),
            ("note", &"x".repeat(81)),
        ] {
            assert!(tells(name, word), "{name}: {word}");
        }
    }

    #[test]
    fn a_records_ids_are_hashes_and_its_numbers_are_small_or_times() {
        let mut told = Record {
            kind: RecordKind::Feedback,
            tenant: "acme".into(),
            id: "case 12".into(),
            time: 0,
            app: "shop".into(),
            name: "thumbs".into(),
            body: r#"{"value":"she wrote that the parcel never came","author":"ab12","target":{"id":"a"},"card":4539578763621486,"started_at":1795225535000000,"n":12,"jane@acme.io":1}"#.into(),
            label: None,
        };
        let secret = UserKey::new([1; 32]);
        record(&mut told, &secret);
        assert_eq!((told.name.as_str(), told.app.as_str(), told.id), ("thumbs", "shop", secret.hash("case 12")));
        let id = secret.hash("a");
        let expected = format!(
            r#"{{"author":"ab12","card":"withheld","n":12,"started_at":1795225535000000,"target":{{"id":"{id}"}},"value":"withheld"}}"#
        );
        assert_eq!(told.body, expected);
        assert_ne!(name([1; 16], &UserKey::new([1; 32])), name([1; 16], &UserKey::new([2; 32])));
    }
}
