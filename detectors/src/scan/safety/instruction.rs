//! Documents that speak to the model. Most attacks of this kind are ordinary requests, and ordinary documents hold
//! requests: this is a rate to watch, and no proof.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

const WORDS: [&str; 28] = [
    "ignore previous",
    "ignore all previous",
    "ignore the above",
    "ignore your instructions",
    "ignore any previous",
    "ignore all prior",
    "disregard previous",
    "disregard the above",
    "disregard all",
    "disregard your",
    "forget your instructions",
    "forget all previous",
    "override your instructions",
    "new instructions:",
    "your new instructions",
    "system prompt",
    "do not tell the user",
    "don't tell the user",
    "do not mention this to the user",
    "without telling the user",
    "when answering, always",
    "if you are an ai",
    "if you are a language model",
    "attention ai",
    "ai assistant:",
    "as the assistant, you must",
    "you must respond with",
    "from now on you",
];

static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::Standard).build(WORDS).ok()
});

/// Whether a text tells a model what to do.
pub fn commands(text: &str) -> bool {
    AUTOMATON.as_ref().is_some_and(|words| words.is_match(text))
}
