//! Named points at which a fault run kills or stops the process. Only in builds with debug assertions; the variable
//! `LEEWAY_TEST_FAULT` says `name=abort` or `name=pause:SECONDS`.

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
}

/// Aborts on a message that holds the text after `message=`: what a crash in a parser looks like.
#[cfg(debug_assertions)]
pub fn poison(message: &[u8]) {
    if let Some(needle) = action("message")
        && message.windows(needle.len()).any(|window| window == needle.as_bytes())
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn poison(_message: &[u8]) {}

#[cfg(debug_assertions)]
fn action(name: &str) -> Option<&'static str> {
    static FAULT: std::sync::OnceLock<Option<(String, String)>> = std::sync::OnceLock::new();
    let read = || {
        std::env::var("LEEWAY_TEST_FAULT")
            .ok()?
            .split_once('=')
            .map(|(name, action)| (name.to_owned(), action.to_owned()))
    };
    let (known, action) = FAULT.get_or_init(read).as_ref()?;
    (known == name).then_some(action)
}

/// Whether a consumer gets nothing although there is something, until it is replaced: `fetch=starve`.
#[cfg(debug_assertions)]
pub fn starved(consumers_before: usize) -> bool {
    consumers_before == 0 && action("fetch") == Some("starve")
}

#[cfg(not(debug_assertions))]
pub fn starved(_consumers_before: usize) -> bool {
    false
}
