//! Named points at which a fault run kills, stops or holds up the process. Only in builds with debug assertions; the
//! variable `LEEWAY_TEST_FAULT` lists `name=abort`, `name=pause:SECONDS` or `name=stop:N` (stopped by SIGSTOP at the
//! Nth pass), split by commas.

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn point(_name: &str) {}

#[cfg(debug_assertions)]
pub fn point(name: &str) {
    let Some(action) = action(name) else { return };
    if action == "abort" {
        std::process::abort();
    }
    if let Some(seconds) = action.strip_prefix("pause:").and_then(|text| text.parse().ok()) {
        std::thread::sleep(std::time::Duration::from_secs_f64(seconds));
    }
    if let Some(pass) = action.strip_prefix("stop:").and_then(|text| text.parse::<u64>().ok())
        && passes(name) == pass
    {
        let stopped = std::process::Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
        // The signal reaches this thread after the command's end.
        std::thread::sleep(std::time::Duration::from_millis(100));
        say(&format!("stopped at {name}: {stopped:?}"));
    }
}

/// At once, whatever the log's level: the next thing may be a SIGKILL.
#[cfg(debug_assertions)]
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// How often a point was passed, this time included.
#[cfg(debug_assertions)]
fn passes(name: &str) -> u64 {
    static PASSES: std::sync::Mutex<std::collections::BTreeMap<String, u64>> =
        std::sync::Mutex::new(std::collections::BTreeMap::new());
    PASSES.lock().map_or(0, |mut passes| {
        let count = passes.entry(name.to_owned()).or_default();
        *count += 1;
        *count
    })
}

/// Aborts on a message that holds the text after `message=`: what a crash in a parser looks like. `panic=` panics there,
/// with all of the message in its words.
#[cfg(debug_assertions)]
pub fn poison(message: &[u8]) {
    if let Some(needle) = action("panic")
        && message.windows(needle.len()).any(|window| window == needle.as_bytes())
    {
        std::panic::panic_any(String::from_utf8_lossy(message).into_owned());
    }
    if let Some(needle) = action("message")
        && message.windows(needle.len()).any(|window| window == needle.as_bytes())
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn poison(_message: &[u8]) {}

/// With `reads=tell`, says what was read, so that a run can prove what was read again.
#[cfg(debug_assertions)]
pub fn read(topic: &str, partition: i32, offset: i64) {
    if action("reads") == Some("tell") {
        say(&format!("read {topic}/{partition}@{offset}"));
    }
}

#[cfg(not(debug_assertions))]
pub fn read(_topic: &str, _partition: i32, _offset: i64) {}

/// Whether a consumer gets nothing although there is something, until it is replaced: `fetch=starve`.
#[cfg(debug_assertions)]
pub fn starved(consumers_before: usize) -> bool {
    consumers_before == 0 && action("fetch") == Some("starve")
}

#[cfg(not(debug_assertions))]
pub fn starved(_consumers_before: usize) -> bool {
    false
}

/// Whether quiet partitions follow their messages alone, never the clock, so that a story of the past is told at any
/// speed: `clock=off`.
#[cfg(debug_assertions)]
pub fn without_clock() -> bool {
    action("clock") == Some("off")
}

#[cfg(not(debug_assertions))]
pub fn without_clock() -> bool {
    false
}

#[cfg(debug_assertions)]
fn action(name: &str) -> Option<&'static str> {
    static FAULTS: std::sync::OnceLock<Vec<(String, String)>> = std::sync::OnceLock::new();
    let read = || {
        let list = std::env::var("LEEWAY_TEST_FAULT").unwrap_or_default();
        let pairs = list.split(',').filter_map(|fault| fault.split_once('='));
        pairs.map(|(name, action)| (name.to_owned(), action.to_owned())).collect()
    };
    FAULTS.get_or_init(read).iter().find(|(known, _)| known == name).map(|(_, action)| action.as_str())
}
