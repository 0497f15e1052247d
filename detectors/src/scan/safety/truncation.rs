//! Answers that stop in the middle: the last sentence, bracket, fence or table has no end.

/// Whether the text stops before its end.
pub fn cut(text: &str) -> bool {
    let text = text.trim_end();
    let Some(last) = text.chars().next_back() else { return false };
    if text.matches("```").count() % 2 == 1 {
        return true;
    }
    let json = ["{\"", "{ \"", "{\n", "[{", "[\"", "[\n"].iter().any(|start| text.starts_with(start))
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err();
    // Short answers and last lines of lists, headings and addresses need no full stop, unless the others have one.
    let mut lines = text.lines().rev();
    let line = lines.next().unwrap_or_default().trim_start();
    let mark = |line: &str| {
        line.starts_with(['-', '*', '|', '#', '>']) || line.starts_with(|letter: char| letter.is_ascii_digit())
    };
    let stopped = |line: &str| line.ends_with(['.', '!', '?']);
    let listed = mark(line) && !lines.next().is_some_and(|line| mark(line.trim_start()) && stopped(line.trim_end()));
    let sentences = text.contains(". ") || text.contains(".\n");
    let long = sentences || text.split_whitespace().count() >= 12;
    let comma = matches!(last, ',' | ';' | '(' | '[' | '{');
    json || comma || (last.is_ascii_alphanumeric() || last == '-') && long && !listed
}
